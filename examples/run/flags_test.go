package main

import (
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/sys/capability"

	"github.com/ringfence-go/ringfence/sandbox"
)

func TestParse(t *testing.T) {
	seven := 7
	tests := []struct {
		args string // split at spaces
		want options
	}{
		{"true", options{}},
		{"-- true", options{}},
		{"--dir /x true --dir /y", options{dir: "/x", command: []string{"true", "--dir", "/y"}}},
		{"--dir=/x true", options{dir: "/x"}},
		{"--dir= true", options{}},
		{"--dir -- -- true", options{dir: "--"}},
		{"--dir /x --dir /y true", options{dir: "/y"}},
		{"--hostname -h true", options{hostname: "-h"}},
		{"--bind a /b true", options{mounts: []sandbox.Mount{{Source: "a", Target: "/b", Writable: true}}}},
		{"--ro-bind=a:/b true", options{mounts: []sandbox.Mount{{Source: "a", Target: "/b"}}}},
		{"--ro-bind a:/b /c true", options{mounts: []sandbox.Mount{{Source: "a:/b", Target: "/c"}}}},
		{"--tmpfs /a --ro-bind b /c --tmpfs=/d:2k true", options{mounts: []sandbox.Mount{
			{Type: sandbox.Tmpfs, Target: "/a"}, {Source: "b", Target: "/c"}, {Type: sandbox.Tmpfs, Target: "/d", Size: 2048}}}},
		{"--tmpfs /a:b:1G true", options{mounts: []sandbox.Mount{{Type: sandbox.Tmpfs, Target: "/a:b", Size: 1 << 30}}}},
		{"--file - /f true", options{mounts: []sandbox.Mount{{Type: sandbox.File, Source: "-", Target: "/f"}}}},
		{"--collect /a=b --collect /c=d=e.tar true", options{collect: []collection{{"/a", "b"}, {"/c", "d=e.tar"}}}},
		{"--root r --root-writable true", options{root: "r", rootWritable: true}},
		{"--env A=b=c --env D --env=E= --clear-env true", options{env: []string{"A=b=c", "D", "E="}, clearEnv: true}},
		{"--uid 7 --gid=7 true", options{uid: &seven, gid: &seven}},
		{"--stop-signal term --stop-timeout 5 true", options{stopSignal: syscall.SIGTERM, stopTimeout: 5 * time.Second}},
		{"--stop-signal=SIGINT true", options{stopSignal: syscall.SIGINT}},
		{"--stop-signal 64 true", options{stopSignal: 64}},
		{"-t true", options{tty: true}},
		{"-it true", options{tty: true, interactive: true}},
		{"-ti true", options{tty: true, interactive: true}},
		{"-t --interactive -- true -i", options{tty: true, interactive: true, command: []string{"true", "-i"}}},
		{"--cap net_raw --cap=CAP_CHOWN --cap cap_Bpf true", options{caps: []capability.Cap{capability.CAP_NET_RAW, capability.CAP_CHOWN, capability.CAP_BPF}}},
		{"--subid true", options{subID: 65536}},
		{"--subid=10 true", options{subID: 10}},
		{"--user 5 true", options{user: &sandbox.User{UID: 5, GID: 5}, userSet: true}},
		{"--subid --group 7 --user=5:6 --group 8 true", options{subID: 65536, userSet: true, user: &sandbox.User{UID: 5, GID: 6, Groups: []int{7, 8}}}},
		{"--subid --group 7 true", options{subID: 65536, user: &sandbox.User{Groups: []int{7}}}},
		{"--share-net true", options{shareNet: true}},
		{"--timeout 10 --cpu-time 1.5s true", options{limits: sandbox.Limits{WallTime: 10 * time.Second, CPUTime: 1500 * time.Millisecond}}},
		{"--timeout .5 true", options{limits: sandbox.Limits{WallTime: time.Second / 2}}},
		{"--output-max 64K true", options{limits: sandbox.Limits{OutputMax: 64 << 10}}},
		{"--rlimit nofile=64 --rlimit RLIMIT_AS=1g:unlimited true", options{limits: sandbox.Limits{Rlimits: []sandbox.Rlimit{
			{Type: "RLIMIT_NOFILE", Soft: 64, Hard: 64}, {Type: "RLIMIT_AS", Soft: 1 << 30, Hard: sandbox.RlimInfinity}}}}},
		{"--allow-missing cgroup-namespace --allow-missing no_new_privs true", options{allowMissing: []sandbox.Feature{sandbox.CgroupNamespace, sandbox.NoNewPrivs}}},
		{"--explain true", options{explain: true}},
		{"--json true", options{json: true}},
		{"--json=f true", options{json: true, jsonFile: "f"}},
		{"--json=f --json true", options{json: true}},
		{"--help", options{help: true, command: []string{}}},
		{"-h", options{help: true, command: []string{}}},
		{"--version --dir x", options{version: true, dir: "x", command: []string{}}},
		{"-", options{command: []string{"-"}}},
	}
	for _, test := range tests {
		if test.want.command == nil {
			test.want.command = []string{"true"}
		}
		got, err := parse(strings.Fields(test.args))
		if err != nil {
			t.Errorf("%s: %v", test.args, err)
		} else if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", test.args, got, test.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for args, want := range map[string]string{
		"":                                      "there is no command to run",
		"--":                                    "there is no command to run",
		"--share-net":                           "there is no command to run",
		"--nonsense true":                       "--nonsense: there is no such option",
		"--nonsense=1 true":                     "--nonsense=1: there is no such option",
		"-x true":                               "-x: there is no such option",
		"-dir /x true":                          "-dir: there is no such option",
		"--dir":                                 "--dir: it takes DIR",
		"--bind a":                              "--bind: it takes SRC DST",
		"--bind=a true":                         "--bind: \"a\" is not of the form SRC:DST",
		"--bind=a:/b:/c true":                   "a path with a colon needs --bind SRC DST",
		"--stop-timeout 5 true":                 "--stop-timeout: there is no --stop-signal",
		"--stop-signal SIGNAL true":             `--stop-signal: "SIGNAL" is no signal (signal(7))`,
		"--stop-signal 0 true":                  `--stop-signal: "0" is no signal`,
		"-i true":                               "--interactive: there is no --tty to type at",
		"-ix true":                              "-ix: there is no such option",
		"-t=1 true":                             "-t=1: there is no such option",
		"--cap RAW true":                        `--cap: "RAW" is no capability (capabilities(7))`,
		"--share-net=yes true":                  "--share-net: it takes no value",
		"--uid x true":                          "--uid: \"x\" is not an ID",
		"--uid -1 true":                         "is not an ID",
		"--uid 2147483648 true":                 "is not an ID",
		"--subid=0 true":                        "is not a number from 1",
		"--subid=x true":                        "is not a number from 1",
		"--subid --uid 0 true":                  "--subid: its IDs are 0 and up",
		"--user x true":                         "--user: \"x\" is not an ID",
		"--user 5: true":                        "--user: \"\" is not an ID",
		"--group 5 true":                        "--group: there is no --user",
		"--timeout 0 true":                      "\"0\" is not positive",
		"--timeout -1s true":                    "is not positive",
		"--timeout 1d true":                     "is not a time",
		"--timeout= true":                       "is not a time",
		"--cpu-time inf true":                   "is not a time",
		"--tmpfs /a: true":                      "--tmpfs: \"\" is not a number",
		"--tmpfs /a:b true":                     "is not a number",
		"--tmpfs /a:0 true":                     "0 is no size",
		"--output-max 1kk true":                 "more than one suffix",
		"--output-max -1 true":                  "is not a number",
		"--output-max 9223372036854775808 true": "is too large",
		"--output-max 8388608T true":            "is too large",
		"--rlimit nofile true":                  "is not of the form NAME=SOFT[:HARD]",
		"--rlimit nofile=x true":                "is not a number",
		"--rlimit nofile=1: true":               "is not a number",
		"--rlimit as=16777216T true":            "is too large",
		"--env =x true":                         "--env: a variable needs a name",
		"--json= true":                          "--json: a file needs a name",
		"--root-writable true":                  "there is no --root",
		"--explain --json true":                 "--explain: nothing runs",
		"--file - /a --file=-:/b true":          "standard input can be read once",
	} {
		_, err := parse(strings.Fields(args))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}

// Every option is one word for the parser and has a line in --help.
func TestHelpListsEveryOption(t *testing.T) {
	text := help()
	seen := map[string]bool{}
	for _, s := range sections() {
		for _, opt := range s.options {
			if seen[opt.name] || opt.name == "" || opt.help == "" || strings.ContainsAny(opt.name, "= ") {
				t.Errorf("option %+v", opt)
			}
			seen[opt.name] = true
			if !strings.Contains(text, "\n  --"+opt.name) {
				t.Errorf("--help does not tell of --%s", opt.name)
			}
		}
	}
	for i, line := range strings.Split(text, "\n") {
		if len(line) > 100 {
			t.Errorf("line %d of --help has %d characters", i+1, len(line))
		}
	}
}

func TestEnvironment(t *testing.T) {
	lookup := func(key string) (string, bool) { return "of caller", key == "SET" }
	base := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/home/sandbox", "LANG=C.UTF-8"}
	for args, want := range map[string][]string{
		"true":                                nil,
		"--clear-env true":                    {},
		"--env A=b true":                      append(base[:3:3], "A=b"),
		"--env UNSET true":                    base,
		"--clear-env --env SET true":          {"SET=of caller"},
		"--clear-env --env UNSET true":        {},
		"--root / --env HOME=/x true":         {base[0], "HOME=/", base[2], "HOME=/x"},
		"--clear-env --env A=1 --env A= true": {"A=1", "A="},
	} {
		o, err := parse(strings.Fields(args))
		if err != nil {
			t.Fatal(err)
		}
		if got := o.environment(lookup); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q, want %q", args, got, want)
		}
	}
}
