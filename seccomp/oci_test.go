package seccomp

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

var linux61 = OCIHost{Arch: "amd64", Kernel: "6.1.0-13-amd64"}

func readOCI(t testing.TB, text string, host OCIHost) *Profile {
	t.Helper()
	pr, err := ReadOCI([]byte(text), host)
	if err != nil {
		t.Fatal(err)
	}
	return pr
}

// decide asks a profile about a call by name on amd64.
func decide(t testing.TB, pr *Profile, name string, args ...uint64) Action {
	t.Helper()
	d, err := Call("amd64", name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return pr.Policy.Decide(d, pr.Archs...)
}

func TestReadOCIMeaning(t *testing.T) {
	pr := readOCI(t, `{
		"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 13,
		"architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_S390X", "SCMP_ARCH_X86_64"],
		"flags": ["SECCOMP_FILTER_FLAG_LOG"], "listenerPath": "/run/l.sock", "listenerMetadata": "m",
		"syscalls": [
			{"names": ["read", "unheard_of", "read"], "action": "SCMP_ACT_ALLOW", "args": null, "comment": "x"},
			{"name": "write", "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]},
			{"name": "write", "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]},
			{"name": "getpid", "action": "SCMP_ACT_ERRNO", "errnoRet": 13},
			{"name": "getpid", "action": "SCMP_ACT_ALLOW"},
			{"name": "ioctl", "action": "SCMP_ACT_ALLOW", "args": [{"index": 1, "value": 9, "op": "SCMP_CMP_EQ"}]},
			{"name": "ioctl", "action": "SCMP_ACT_KILL"},
			{"name": "clone", "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 240, "valueTwo": 31, "op": "SCMP_CMP_MASKED_EQ"}]},
			{"name": "open", "action": "SCMP_ACT_ERRNO"},
			{"name": "open", "action": "SCMP_ACT_TRACE"},
			{"name": "close", "action": "SCMP_ACT_TRACE", "errnoRet": 300},
			{"name": "mmap", "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 18446744073709551615, "op": "SCMP_CMP_NE"},
				{"index": 1, "value": 5, "op": "SCMP_CMP_LE"}, {"index": 2, "value": 5, "op": "SCMP_CMP_GE"}]}
		]}`, linux61)
	if !slices.Equal(pr.Archs, []string{"amd64", "386"}) || pr.ListenerPath != "/run/l.sock" ||
		pr.ListenerMetadata != "m" || !slices.Equal(pr.Flags, []string{"SECCOMP_FILTER_FLAG_LOG"}) {
		t.Errorf("beside the policy: %+v", pr)
	}
	for _, tt := range []struct {
		want Action
		name string
		args []uint64
	}{
		{Allow, "read", nil},
		{Errno(13), "pread64", nil},
		{Allow, "write", []uint64{1}}, {Allow, "write", []uint64{2}}, {Errno(13), "write", []uint64{3}},
		{Allow, "getpid", nil},                                                 // the rule that says the default is left out
		{KillThread, "ioctl", []uint64{0, 9}},                                  // without conditions wins
		{Allow, "clone", []uint64{0x10}}, {Errno(13), "clone", []uint64{0x20}}, // 31 & 240 is 16
		{Trace(1), "open", nil}, // the last wins, EPERM is the number
		{Trace(300), "close", nil},
		{Allow, "mmap", []uint64{0, 5, 5}}, {Errno(13), "mmap", []uint64{^uint64(0), 5, 5}}, {Errno(13), "mmap", []uint64{0, 6, 5}},
	} {
		if got := decide(t, pr, tt.name, tt.args...); got != tt.want {
			t.Errorf("%s%x: %s, want %s", tt.name, tt.args, got, tt.want)
		}
	}
}

func TestIncludesAndExcludes(t *testing.T) {
	const profile = `{"defaultAction": "SCMP_ACT_KILL_PROCESS",
		"archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
			{"architecture": "SCMP_ARCH_MIPS64", "subArchitectures": null}],
		"syscalls": [
		{"names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": {}, "excludes": {}},
		{"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN", "CAP_SYS_CHROOT"]}},
		{"names": ["clone"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_ADMIN", "CAP_BPF"]}},
		{"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
		{"names": ["kcmp"], "action": "SCMP_ACT_ALLOW", "excludes": {"minKernel": "4.8"}},
		{"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["x86", "arm"]}},
		{"names": ["reboot"], "action": "SCMP_ACT_ALLOW", "excludes": {"arches": ["amd64"]}}
	]}`
	allowed := func(host OCIHost) (names []string) {
		pr := readOCI(t, profile, host)
		for _, name := range []string{"mount", "clone", "ptrace", "kcmp", "bpf", "reboot"} {
			d, err := Call(host.Arch, name)
			if err != nil {
				t.Fatal(err)
			}
			if pr.Policy.Decide(d, pr.Archs...) == Allow {
				names = append(names, name)
			}
		}
		return names
	}
	for _, tt := range []struct {
		host OCIHost
		want string
	}{
		{OCIHost{Arch: "amd64", Kernel: "6.1"}, "clone ptrace"},
		{OCIHost{Arch: "amd64", Kernel: "4.8.0-rc1"}, "clone ptrace"},
		{OCIHost{Arch: "amd64", Kernel: "4.7.99"}, "clone kcmp"},
		{OCIHost{Arch: "amd64", Kernel: "4.10-x"}, "clone ptrace"},
		{OCIHost{Arch: "amd64", Kernel: "6.1", Capabilities: []string{"CAP_BPF"}}, "ptrace"},
		{OCIHost{Arch: "amd64", Kernel: "6.1", Capabilities: []string{"CAP_SYS_ADMIN"}}, "ptrace"},
		{OCIHost{Arch: "amd64", Kernel: "6.1", Capabilities: []string{"CAP_SYS_CHROOT", "CAP_SYS_ADMIN"}}, "mount ptrace"},
		{OCIHost{Arch: "386", Kernel: "6.1"}, "clone ptrace bpf reboot"},
		{OCIHost{Arch: "arm64", Kernel: "6.1"}, "clone ptrace reboot"},
	} {
		if got := strings.Join(allowed(tt.host), " "); got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.host, got, tt.want)
		}
	}
	if got := readOCI(t, profile, linux61).Archs; !slices.Equal(got, []string{"amd64", "386", "x32"}) {
		t.Errorf("archMap: %v", got)
	}
}

// Bad input is an error with the path of the field.
func TestOCIFaults(t *testing.T) {
	const ok = `"defaultAction": "SCMP_ACT_ALLOW"`
	rule := func(s string) string {
		return `{` + ok + `, "syscalls": [{"name": "read", "action": "SCMP_ACT_LOG"}, {` + s + `}]}`
	}
	args := func(s string) string { return rule(`"name": "read", "action": "SCMP_ACT_LOG", "args": [` + s + `]`) }
	for _, tt := range []struct{ text, field string }{
		{``, "profile"}, {`{`, "profile"}, {`{} x`, "profile"},
		{`[]`, "profile"}, {`"x"`, "profile"}, {`{}`, "defaultAction"}, {`null`, "defaultAction"},
		{`{"defaultAction": 3}`, "defaultAction"},
		{`{"defaultAction": "ALLOW"}`, "defaultAction"},
		{`{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 5000}`, "defaultAction"},
		{`{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": -1}`, "defaultErrnoRet"},
		{`{"defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": 1}`, "defaultAction"},
		{`{` + ok + `, "DefaultAction": "SCMP_ACT_ALLOW"}`, "DefaultAction"},
		{`{` + ok + `, ` + ok + `}`, "defaultAction"},
		{`{` + ok + `, "syscall": []}`, "syscall"},
		{`{` + ok + `, "syscalls": {}}`, "syscalls"},
		{`{` + ok + `, "syscalls": [7]}`, "syscalls[0]"},
		{`{` + ok + `, "architectures": ["amd64"]}`, "architectures[0]"},
		{`{` + ok + `, "architectures": ["SCMP_ARCH_X86"], "archMap": []}`, "archMap"},
		{`{` + ok + `, "archMap": [{"architecture": "SCMP_ARCH_X86", "sub": []}]}`, "archMap[0].sub"},
		{rule(``), "syscalls[1]"},
		{rule(`"action": "SCMP_ACT_LOG"`), "syscalls[1]"},
		{rule(`"name": "read", "names": ["x"], "action": "SCMP_ACT_LOG"`), "syscalls[1]"},
		{rule(`"names": ["read", "re-ad"], "action": "SCMP_ACT_LOG"`), "syscalls[1].names[1]"},
		{rule(`"names": ["read", 3], "action": "SCMP_ACT_LOG"`), "syscalls[1].names[1]"},
		{rule(`"name": "read", "action": "SCMP_ACT_LOG", "errnoRet": 1`), "syscalls[1].action"},
		{rule(`"name": "read", "action": "SCMP_ACT_LOG", "exclude": {}`), "syscalls[1].exclude"},
		{rule(`"name": "read", "action": "SCMP_ACT_LOG", "excludes": {"minKernel": "4"}`), "syscalls[1].excludes.minKernel"},
		{rule(`"name": "read", "action": "SCMP_ACT_LOG", "includes": {"minKernel": "4.8.1"}`), "syscalls[1].includes.minKernel"},
		{rule(`"name": "read", "action": "SCMP_ACT_LOG", "includes": {"cap": []}`), "syscalls[1].includes.cap"},
		{args(`{}`), "syscalls[1].args[0]"},
		{args(`{"index": 6, "op": "SCMP_CMP_EQ"}`), "syscalls[1].args[0].index"},
		{args(`{"index": 0, "op": "=="}`), "syscalls[1].args[0].op"},
		{args(`{"index": 0, "op": "SCMP_CMP_EQ", "value": 1.5}`), "syscalls[1].args[0].value"},
		{args(`{"index": 0, "op": "SCMP_CMP_EQ", "value": 18446744073709551616}`), "syscalls[1].args[0].value"},
		{args(`{"index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": 0}`), "syscalls[1].args[0]"},
		{args(`{"index": 1, "op": "SCMP_CMP_GT", "value": 1}, {"index": 1, "op": "SCMP_CMP_LT", "value": 9}`), "syscalls[1]"},
		{`{` + ok + `, "syscalls": [
			{"name": "read", "action": "SCMP_ACT_LOG", "args": [{"index": 0, "op": "SCMP_CMP_GT", "value": 1}]},
			{"name": "read", "action": "SCMP_ACT_KILL", "args": [{"index": 0, "op": "SCMP_CMP_LT", "value": 9}]}]}`, "syscalls[1]"},
	} {
		pr, err := ReadOCI([]byte(tt.text), linux61)
		if got := fields(err); pr != nil || !slices.Contains(got, tt.field) {
			t.Errorf("%s\n\t%v, faults at %q, want %q", tt.text, pr, got, tt.field)
		}
	}
	if _, err := ReadOCI([]byte(`{`+ok+`}`), OCIHost{Arch: "vax"}); !slices.Equal(fields(err), []string{"OCIHost.Arch"}) {
		t.Errorf("unknown host: %v", err)
	}
	// What a hostile document puts into an error stays short and on one line.
	_, err := ReadOCI([]byte(`{"`+strings.Repeat("x", 1000)+`\u001b\n": 1, "defaultAction": "`+strings.Repeat("y", 1000)+`"}`), linux61)
	if err == nil || len(err.Error()) > 400 || strings.Count(err.Error(), "\n") != 1 || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("hostile strings: %q", err)
	}
	needs := rule(`"name": "read", "action": "SCMP_ACT_LOG", "includes": {"minKernel": "4.8"}`)
	if _, err := ReadOCI([]byte(needs), OCIHost{Arch: "amd64"}); err == nil || !strings.Contains(err.Error(), "OCIHost.Kernel") {
		t.Errorf("host without a kernel: %v", err)
	}
}

// Conditions with different actions are taken when they cannot meet.
func TestOCIDisjointConditions(t *testing.T) {
	pr := readOCI(t, `{"defaultAction": "SCMP_ACT_KILL", "syscalls": [
		{"name": "read", "action": "SCMP_ACT_LOG", "args": [{"index": 0, "op": "SCMP_CMP_LT", "value": 5}]},
		{"name": "read", "action": "SCMP_ACT_TRAP", "args": [{"index": 0, "op": "SCMP_CMP_EQ", "value": 5}]},
		{"name": "read", "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "op": "SCMP_CMP_GT", "value": 5}]}]}`, linux61)
	for fd, want := range map[uint64]Action{4: Log, 5: Trap, 6: Allow} {
		if got := decide(t, pr, "read", fd); got != want {
			t.Errorf("%d: %s, want %s", fd, got, want)
		}
	}
}

func TestWriteOCIRefusesWhatItCannotSay(t *testing.T) {
	eq := func(i int, v uint64) Arg { return Arg{Index: i, Op: Equal, Value: v} }
	read := []string{"read"}
	for what, tt := range map[string]struct {
		p     *Policy
		field string
	}{
		"an exception": {&Policy{Default: KillProcess, Rules: []Rule{{Names: read, Args: []Arg{eq(0, 1)}, Action: Errno(1)}, {Names: read, Action: Allow}}}, "Rules[0]"},
		"an exception to the default": {&Policy{Default: KillProcess, Rules: []Rule{{Names: read, Args: []Arg{eq(0, 1)}, Action: KillProcess},
			{Names: read, Args: []Arg{eq(1, 1)}, Action: Allow}}}, "Rules[1]"},
		"an order": {&Policy{Default: KillProcess, Rules: []Rule{{Names: read, Args: []Arg{eq(0, 1)}, Action: Log},
			{Names: read, Args: []Arg{eq(1, 1)}, Action: Allow}}}, "Rules[1]"},
		"a range":      {&Policy{Default: KillProcess, Rules: []Rule{{Names: read, Args: []Arg{eq(0, 1), eq(0, 2)}, Action: Log}}}, "Rules[0].Args[1].Index"},
		"a mask":       {&Policy{Default: KillProcess, Rules: []Rule{{Names: read, Args: []Arg{{Op: Less, Value: 1, Mask: 3}}, Action: Log}}}, "Rules[0].Args[0].Mask"},
		"unknown":      {&Policy{Default: KillProcess, Unknown: Log}, "Unknown"},
		"bad arch":     {&Policy{Default: KillProcess, BadArch: Errno(1)}, "BadArch"},
		"invalid":      {&Policy{}, "Default"},
		"the built-in": {Default(), "Rules[5]"},
	} {
		text, err := (&Profile{Policy: tt.p}).WriteOCI()
		if got := fields(err); text != nil || !slices.Contains(got, tt.field) {
			t.Errorf("%s: %s, faults at %q, want %q", what, text, got, tt.field)
		}
	}
	if _, err := (&Profile{Policy: &Policy{Default: Log}, Archs: []string{"vax"}}).WriteOCI(); !slices.Equal(fields(err), []string{"Archs[0]"}) {
		t.Errorf("an unknown architecture: %v", err)
	}
}

// What WriteOCI accepts means the same when it is read.
func TestOCIRoundTripKeepsTheMeaning(t *testing.T) {
	calls := tableNames()
	written := 0
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 5))
		p := randomPolicy(r, calls)
		p.BadArch, p.Unknown = 0, 0
		text, err := (&Profile{Policy: p, Archs: []string{"amd64", "386"}}).WriteOCI()
		if err != nil {
			continue
		}
		written++
		again := readOCI(t, string(text), linux61)
		in := newInputs(r, p)
		for range 50 {
			d := in.next()
			if a, b := p.Decide(d, "amd64", "386"), again.Policy.Decide(d, again.Archs...); a != b {
				t.Fatalf("%+v: %s, after writing and reading %s\n%s\n%s", d, a, b, p, text)
			}
		}
	}
	if written < 300 {
		t.Errorf("only %d policies could be written", written)
	}
}
