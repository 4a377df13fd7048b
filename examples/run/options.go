package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/moby/sys/capability"

	"github.com/ringfence-go/ringfence/sandbox"
)

// options is a parsed command line. Nothing in it has been compared with the host.
type options struct {
	command []string

	root         string
	rootWritable bool
	mounts       []sandbox.Mount // a File has in Source where to read its contents, "-" is stdin
	collect      []collection

	dir      string
	env      []string // "KEY=VALUE", or "KEY" for the caller's value
	clearEnv bool
	hostname string
	uid, gid *int // nil: the library's choice
	subID    int  // how many; 0: none
	user     *sandbox.User
	userSet  bool // by --user, not only by --group
	caps     []capability.Cap

	tty          bool // the command has a terminal
	interactive  bool // and standard input is typed at it
	stopSignal   syscall.Signal
	stopTimeout  time.Duration
	shareNet     bool
	limits       sandbox.Limits
	cgroup       sandbox.CgroupOptions
	stats        bool
	allowMissing []sandbox.Feature
	seccomp      string // a file; "" is the default policy
	learn        string // a file; "" learns nothing

	explain, json, help, version, doctor bool
	jsonFile                             string // "": standard error
}

// option is one option of the command line.
type option struct {
	name string // without dashes
	arg  string // what --help calls its arguments: a word for each; "[=X]" for one that may be left out
	help string
	set  func(o *options, args []string) error
}

// section is a part of the list that --help prints.
type section struct {
	title   string
	options []option
}

// sections returns all options. It is the only list: parse and --help both read it.
func sections() []section {
	return []section{
		{"Files", []option{
			{"ro-bind", "SRC DST", "show the host's file or directory SRC as DST, read-only", bind(false)},
			{"bind", "SRC DST", "the same, and let the command write there", bind(true)},
			{"tmpfs", "DST[:SIZE]", "put an empty, writable directory in memory at DST", setTmpfs},
			{"file", "SRC DST", "put a read-only copy of the file SRC at DST; - is standard input", setFile},
			{"collect", "PATH=FILE", "at the end write the file PATH to FILE, or an archive to X.tar", setCollect},
			{"root", "DIR", "use the directory DIR as /, read-only, in place of the base system",
				func(o *options, a []string) error { o.root = a[0]; return nil }},
			{"root-writable", "", "let the command write to the --root",
				func(o *options, _ []string) error { o.rootWritable = true; return nil }},
		}},
		{"The command", []option{
			{"dir", "DIR", "start in DIR; default /", func(o *options, a []string) error { o.dir = a[0]; return nil }},
			{"env", "KEY[=VALUE]", "set KEY, or copy the caller's KEY if it has one", setEnv},
			{"clear-env", "", "begin with no environment in place of PATH, HOME and LANG",
				func(o *options, _ []string) error { o.clearEnv = true; return nil }},
			{"hostname", "NAME", "name of the machine inside; default sandbox",
				func(o *options, a []string) error { o.hostname = a[0]; return nil }},
			{"uid", "ID", "user ID inside; default the caller's own, 1000 for root", id(func(o *options) **int { return &o.uid })},
			{"gid", "ID", "group ID inside", id(func(o *options) **int { return &o.gid })},
			{"subid", "[=N]", "give it N users and groups that no other sandbox has; default 65536", setSubID},
			{"user", "UID[:GID]", "run as this user and group of those inside; default 0:0 with --subid", setUser},
			{"group", "GID", "also be in this group; needs --subid, or to be root", setGroup},
			{"cap", "NAME", "keep a capability, such as net_raw, within the sandbox", setCap},
			{"tty", "", "give the command a terminal, which is shown on standard output; or -t",
				func(o *options, _ []string) error { o.tty = true; return nil }},
			{"interactive", "", "type standard input at that terminal; or -i, and both is -it",
				func(o *options, _ []string) error { o.interactive = true; return nil }},
			{"stop-signal", "SIGNAL", "pass SIGINT and SIGTERM on to it as SIGNAL, in place of killing it", setStopSignal},
			{"stop-timeout", "TIME", "kill it if it has not ended TIME after that; default 10s",
				duration(func(o *options) *time.Duration { return &o.stopTimeout })},
			{"share-net", "", "use the caller's network in place of none",
				func(o *options, _ []string) error { o.shareNet = true; return nil }},
		}},
		{"Limits", []option{
			{"timeout", "TIME", "end it after TIME by the clock",
				duration(func(o *options) *time.Duration { return &o.limits.WallTime })},
			{"cpu-time", "TIME", "end it after TIME of all its processes on processors",
				duration(func(o *options) *time.Duration { return &o.limits.CPUTime })},
			{"output-max", "SIZE", "end it after SIZE bytes on stdout, or on stderr", setOutputMax},
			{"memory", "SIZE", "end it beyond SIZE of memory, files in /tmp included",
				size(func(o *options) *int64 { return &o.limits.MemoryMax })},
			{"memory-swap", "SIZE", "let it use SIZE of swap beside --memory; default none",
				size(func(o *options) *int64 { return &o.limits.MemorySwapMax })},
			{"pids", "N", "let it have at most N processes and threads", setPids},
			{"cpus", "N", "let it use N processors at a time, such as 0.5", setCPUs},
			{"cpuset", "LIST", "let it use these processors, such as 0-3,8",
				func(o *options, a []string) error { o.limits.CPUSet = a[0]; return nil }},
			{"io", "PATH:KEY=N[,…]", "bound the disk of PATH: rbps, wbps, riops, wiops a second", setIO},
			{"cgroup", "DIR", "make its cgroup in DIR, which is delegated to you",
				func(o *options, a []string) error { o.cgroup.Path = a[0]; return named(a[0]) }},
			{"rlimit", "NAME=SOFT[:HARD]", "set a resource limit, as nofile=64; HARD is SOFT if not given", setRlimit},
		}},
		{"System calls", []option{
			{"seccomp", "FILE", "allow the system calls that the profile FILE allows, JSON as of Docker",
				func(o *options, a []string) error { o.seccomp = a[0]; return named(a[0]) }},
			{"learn", "FILE", "write to FILE the smallest profile that allows what the command did",
				func(o *options, a []string) error { o.learn = a[0]; return named(a[0]) }},
		}},
		{"What run does", []option{
			{"allow-missing", "FEATURE", "go on where the host lacks FEATURE, such as cgroup-namespace", setAllowMissing},
			{"without-user-namespaces", "", "go on behind Landlock where the host gives no user namespaces",
				func(o *options, _ []string) error {
					o.allowMissing = append(o.allowMissing, sandbox.WithoutUserNamespaces()...)
					return nil
				}},
			{"explain", "", "print what would be done, system call by system call, and do nothing",
				func(o *options, _ []string) error { o.explain = true; return nil }},
			{"doctor", "", "say what works on this machine, and how to get the rest; or as --json",
				func(o *options, _ []string) error { o.doctor = true; return nil }},
			{"stats", "", "write to stderr what it used", setStats},
			{"json", "[=FILE]", "write how it ended as a line of JSON to FILE, or to stderr at the end", setJSON},
			{"help", "", "print this text", func(o *options, _ []string) error { o.help = true; return nil }},
			{"version", "", "print the version", func(o *options, _ []string) error { o.version = true; return nil }},
		}},
	}
}

func bind(writable bool) func(*options, []string) error {
	return func(o *options, a []string) error {
		o.mounts = append(o.mounts, sandbox.Mount{Source: a[0], Target: a[1], Writable: writable})
		return nil
	}
}

func setTmpfs(o *options, a []string) error {
	m := sandbox.Mount{Type: sandbox.Tmpfs, Target: a[0]}
	if i := strings.LastIndexByte(a[0], ':'); i >= 0 {
		var err error
		if m.Size, err = parseSize(a[0][i+1:]); err != nil {
			return err
		}
		m.Target = a[0][:i]
	}
	o.mounts = append(o.mounts, m)
	return nil
}

func setFile(o *options, a []string) error {
	o.mounts = append(o.mounts, sandbox.Mount{Type: sandbox.File, Source: a[0], Target: a[1]})
	return nil
}

func setEnv(o *options, a []string) error {
	if key, _, _ := strings.Cut(a[0], "="); key == "" {
		return errors.New("a variable needs a name")
	}
	o.env = append(o.env, a[0])
	return nil
}

func id(field func(*options) **int) func(*options, []string) error {
	return func(o *options, a []string) error {
		n, err := parseID(a[0])
		if err == nil {
			*field(o) = &n
		}
		return err
	}
}

func parseID(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("%q is not an ID", s)
	}
	return int(n), nil
}

func duration(field func(*options) *time.Duration) func(*options, []string) error {
	return func(o *options, a []string) (err error) {
		*field(o), err = parseDuration(a[0])
		return err
	}
}

func setOutputMax(o *options, a []string) (err error) {
	o.limits.OutputMax, err = parseSize(a[0])
	return err
}

func setRlimit(o *options, a []string) error {
	name, values, ok := strings.Cut(a[0], "=")
	if !ok {
		return fmt.Errorf("%q is not of the form NAME=SOFT[:HARD]", a[0])
	}
	soft, hard, two := strings.Cut(values, ":")
	if !two {
		hard = soft
	}
	l := sandbox.Rlimit{Type: strings.ToUpper(name)}
	if !strings.HasPrefix(l.Type, "RLIMIT_") {
		l.Type = "RLIMIT_" + l.Type
	}
	var err error
	if l.Soft, err = parseLimit(soft); err != nil {
		return err
	}
	if l.Hard, err = parseLimit(hard); err != nil {
		return err
	}
	o.limits.Rlimits = append(o.limits.Rlimits, l)
	return nil
}

// setAllowMissing takes a hyphen for a space: no feature has one in its name.
func setAllowMissing(o *options, a []string) error {
	o.allowMissing = append(o.allowMissing, sandbox.Feature(strings.ReplaceAll(a[0], "-", " ")))
	return nil
}

func setJSON(o *options, a []string) error {
	o.json = true
	o.jsonFile = ""
	if len(a) == 0 {
		return nil
	}
	o.jsonFile = a[0]
	return named(a[0])
}

func named(file string) error {
	if file == "" {
		return errors.New("a file needs a name")
	}
	return nil
}
