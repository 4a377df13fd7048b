package sandbox

import (
	"bytes"
	"context"
	"flag"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/sys/capability"

	"github.com/ringfence-go/ringfence/idmap"
	"github.com/ringfence-go/ringfence/internal/plan"
	"github.com/ringfence-go/ringfence/internal/probe"
	"github.com/ringfence-go/ringfence/seccomp"
)

var update = flag.Bool("update", false, "write the golden plans anew")

// pretendFile is what a file of a host that does not exist is.
type pretendFile struct{ dir bool }

func (pretendFile) Name() string       { return "" }
func (pretendFile) Size() int64        { return 0 }
func (pretendFile) ModTime() time.Time { return time.Time{} }
func (pretendFile) Sys() any           { return nil }
func (f pretendFile) IsDir() bool      { return f.dir }
func (f pretendFile) Mode() fs.FileMode {
	if f.dir {
		return fs.ModeDir | 0o755
	}
	return 0o644
}

// pretendHost is a small host on which plans are compiled without a look at the real one. A path of it is
// a file if it ends in ".txt", and a directory otherwise.
func pretendHost(arch string, uid int) *Host {
	facts := &probe.Facts{
		Arch: arch, Major: 6, Minor: 1, LastCap: 40,
		Caller:     probe.Caller{UID: uid, GID: uid, UIDRanges: "0 0 4294967295\n", GIDRanges: "0 0 4294967295\n", Setgroups: true},
		Namespaces: []string{"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"},
		System:     []probe.Entry{{Path: "/usr", Dir: true}, {Path: "/bin", Link: "usr/bin"}, {Path: "/lib64", Dir: true}},
		Config:     []probe.Entry{{Path: "/etc/alternatives", Dir: true}, {Path: "/etc/ld.so.cache"}, {Path: "/etc/ssl/certs", Dir: true}},
		Resolv:     true, InotifyInstances: 128, InotifyWatches: 65536,
		Devices:    []string{"null", "tty"},
		ProcMasked: []probe.Entry{{Path: "/proc/acpi", Dir: true}, {Path: "/proc/kcore"}},
		ProcReadOnly: []probe.Entry{
			{Path: "/proc/sys", Dir: true}, {Path: "/proc/sysrq-trigger"},
		},
	}
	return &Host{
		facts:       facts,
		stat:        func(path string) (fs.FileInfo, error) { return pretendFile{dir: !strings.HasSuffix(path, ".txt")}, nil },
		real:        itself,
		filesystem:  ext4,
		subordinate: func() (int, int, bool) { return 100000, 100000, true },
		ofCaller:    pretendSubordinates,
	}
}

// secret is the value of an environment variable: no plan may show it.
const secret = "hunter2"

// goldenSpecs are the Specs whose plans are kept; own maps the IDs of a host's caller.
func goldenSpecs(own idmap.Map) map[string]Spec {
	with := func(change func(*Spec)) Spec {
		s := Spec{Args: []string{"sh", "-c", "id"}, Env: []string{"PATH=/usr/bin:/bin", "TOKEN=" + secret}}
		change(&s)
		return s
	}
	return map[string]Spec{
		"zero": {Args: []string{"echo", "hi"}},
		"bind": with(func(s *Spec) {
			s.Mounts = []Mount{{Source: "/srv/in", Target: "/in"}, {Source: "/srv/notes.txt", Target: "/a/b/notes.txt"}, {Source: "/srv/out", Target: "/out", Writable: true}}
		}),
		"tmpfs": with(func(s *Spec) {
			s.Mounts = []Mount{{Type: Tmpfs, Target: "/scratch"}, {Type: Tmpfs, Target: "/small", Size: 1 << 20, Mode: 0o700}}
		}),
		"file": with(func(s *Spec) {
			s.Mounts = []Mount{{Type: File, Target: "/etc/app.conf", Data: []byte("contents")}, {Type: File, Target: "/empty", Mode: 0o600, Writable: true}}
		}),
		"kernel-mounts": with(func(s *Spec) {
			s.Mounts = []Mount{{Type: Proc, Target: "/p"}, {Type: Devpts, Target: "/pts"}, {Type: Mqueue, Target: "/dev/mqueue"}}
		}),
		"root":          with(func(s *Spec) { s.Root.Path = "/srv/tree" }),
		"root-writable": with(func(s *Spec) { s.Root.Path, s.Root.Writable, s.Hostname = "/srv/tree", true, "box" }),
		"host-network":  with(func(s *Spec) { s.Network = HostNetwork{} }),
		"dir":           with(func(s *Spec) { s.Dir, s.Args = "/usr/share", []string{"/bin/pwd"} }),
		"user": with(func(s *Spec) {
			s.UIDs, s.GIDs = own, own
			s.User = &User{UID: own[0].ContainerID + own[0].Size - 1, GID: own[0].ContainerID + own[0].Size - 1}
			if own[0].Size > 1 {
				s.User.Groups = []int{own[0].ContainerID + 1}
			}
		}),
		"capabilities": with(func(s *Spec) {
			s.UIDs, s.GIDs = own, own
			s.User = &User{UID: own[0].ContainerID + own[0].Size - 1, GID: own[0].ContainerID}
			s.Capabilities = []capability.Cap{capability.CAP_NET_RAW, capability.CAP_BPF}
		}),
		"ranges": with(func(s *Spec) {
			s.UIDs = idmap.Map{{ContainerID: 0, HostID: 100000, Size: 1000}, {ContainerID: 1000, HostID: 1000, Size: 1}}
			s.GIDs, s.User = s.UIDs, &User{UID: 33, GID: 34, Groups: []int{0, 40}}
		}),
		"extra-files": with(func(s *Spec) { s.ExtraFiles = []*os.File{nil, os.Stdin, nil, os.Stdout} }),
		"limits": with(func(s *Spec) {
			s.Limits.CPUTime = time.Second
			s.Limits.Rlimits = []Rlimit{{Type: "RLIMIT_NOFILE", Soft: 64, Hard: 128}, {Type: "RLIMIT_CORE", Soft: 0, Hard: RlimInfinity}}
		}),
		"cgroup":     with(func(s *Spec) { s.Limits.MemoryMax, s.Limits.PidsMax = 64<<20, 10 }),
		"one-execve": with(func(s *Spec) { s.Seccomp = seccomp.Strict(seccomp.StrictOptions{Exec: seccomp.LaunchWindow}) }),
		"supervisor": with(func(s *Spec) {
			s.Seccomp = &seccomp.Policy{Default: seccomp.Allow, Rules: []seccomp.Rule{{Names: []string{"mkdirat"}, Action: seccomp.Notify}}}
			s.Supervisor = func(context.Context, *Notification) Answer { return Answer{} }
			s.Limits.CPUTime = time.Second
		}),
		"collect": with(func(s *Spec) { s.Collect = []Collect{{Path: "/tmp", Tar: io.Discard}}; s.Limits.CPUTime = time.Second }),
		"terminal": with(func(s *Spec) {
			s.Terminal = &Terminal{Rows: 50}
			s.Limits.CPUTime = time.Second
			s.UIDs, s.GIDs = own, own
			s.User = &User{UID: own[0].ContainerID + own[0].Size - 1, GID: own[0].ContainerID}
		}),
		"no-new-proc": with(func(s *Spec) { s.AllowMissing = []Feature{NewProc} }),
	}
}

// eachGolden compiles every golden plan.
func eachGolden(t *testing.T, do func(t *testing.T, file string, p *Plan)) {
	for _, arch := range []string{"amd64", "arm64"} {
		for _, h := range pretendHosts {
			own := idmap.Map{{ContainerID: 7, HostID: h.uid, Size: 1}}
			if h.uid == 0 {
				own = idmap.Map{{ContainerID: 7, HostID: 100000, Size: 10}}
			}
			for name, spec := range goldenSpecs(own) {
				file := name + "." + h.name + "." + arch + ".txt"
				t.Run(file, func(t *testing.T) {
					host := pretendHost(arch, h.uid)
					if slices.Contains(spec.AllowMissing, NewProc) {
						host.facts.ProcCovered = []string{"/proc/sys"}
					}
					p, err := Compile(spec, host)
					if err != nil {
						t.Fatal(err)
					}
					do(t, file, p)
				})
			}
			eachLiving(t, arch, h.name, h.uid, do)
			eachBare(t, arch, h.name, h.uid, do)
		}
	}
}

// TestPlansAreGolden compares plans with testdata/plans. Most differ little between architectures and
// callers, so not every combination is kept.
func TestPlansAreGolden(t *testing.T) {
	wanted := map[string]bool{}
	eachGolden(t, func(t *testing.T, file string, p *Plan) {
		if strings.Contains(p.String(), secret) {
			t.Error("the plan shows a value of the environment")
		}
		if !strings.HasPrefix(file, "zero.") && !strings.HasSuffix(file, ".user.amd64.txt") && !strings.HasSuffix(file, ".root.arm64.txt") {
			return
		}
		wanted[file] = true
		path, got := filepath.Join("testdata", "plans", file), []byte(p.String())
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatalf("%v (go test -run TestPlansAreGolden -update writes it)", err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("the plan is another one; -update accepts it:\n%s", firstDifference(string(got), string(want)))
		}
	})
	files, err := os.ReadDir(filepath.Join("testdata", "plans"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !wanted[f.Name()] && !t.Failed() {
			t.Errorf("testdata/plans/%s is the plan of nothing", f.Name())
		}
	}
}

// firstDifference returns the first lines that differ, without their numbers.
func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	line := func(lines []string, i int) string {
		if i < len(lines) {
			return lines[i]
		}
		return "(the end)"
	}
	for i := range max(len(g), len(w)) {
		if line(g, i) != line(w, i) {
			return "got  " + line(g, i) + "\nwant " + line(w, i)
		}
	}
	return "nothing"
}

// Compiling is pure: the same Spec on the same Host gives the same plan.
func TestCompileIsDeterministic(t *testing.T) {
	first := map[string]string{}
	eachGolden(t, func(_ *testing.T, file string, p *Plan) { first[file] = p.String() })
	eachGolden(t, func(t *testing.T, file string, p *Plan) {
		if p.String() != first[file] {
			t.Errorf("another plan:\n%s", firstDifference(p.String(), first[file]))
		}
	})
}

// Without any one op, a plan is either found wrong or does less for the command, and never confines it
// less: those that may go are listed here, by the beginning of their label.
func TestNoStepThatConfinesCanBeLost(t *testing.T) {
	mayGo := []string{
		"create ", "link ", "name the machine ", "bring the loopback ", "set the usual file mode",
		"change directory", "look for ", "execute ", "close what is done", "become ", "join groups", "make a ", "write /etc/", "put a file on /etc/app.conf: write it", "put the files on top",
		// A plan cannot tell which mount the Spec wants read-only, nor whether all that is to be masked of /proc is: the
		// golden plans, and the facts, hold these. It can that every mount is put somewhere.
		"open a terminal: give it", "put what came on", "change to the directory", "execute candidate", "sum up", "set RLIMIT", "create files with", "open", "allow the use of ",
	}
	eachGolden(t, func(t *testing.T, _ string, p *Plan) {
		for i, op := range p.program.Ops {
			if slices.ContainsFunc(mayGo, func(l string) bool { return strings.HasPrefix(op.Label, l) }) &&
				!strings.HasSuffix(op.Label, ": restrict it") && !strings.Contains(op.Label, ": set size") && !strings.Contains(op.Label, ": set nr_inodes") {
				continue
			}
			if err := plan.Check(withoutOp(p.program, i)); err == nil {
				t.Errorf("nobody misses step %d, %s", i, op.Label)
			}
		}
	})
}

// reasons maps labels, as regular expressions, to the tests that show why such a step is there: without it
// one of them fails.
var reasons = []struct{ label, test string }{
	{`close every descriptor that was not handed in|let the execution close (the report and everything above it|a hole)`, "TestPayloadInheritsNoDescriptor"},
	{`let every signal through`, "TestCallersSignalsDoNotReachIntoTheCommand"},
	{`create files with the modes that are asked for|set the usual file mode mask`, "TestFileModeMaskIsTheUsualOne"},
	{`(block|let) the lifeline's signal .*|start the witness of refused calls|end the witness|drop every capability of the witness`, "TestWitnessOutlivesWhatThePayloadDoes"},
	{`open a counter for the witness.*|tell PID 1 that the witness is ready|wait until the (witness of refused calls is ready|command runs)|let the witness of refused calls begin`, "TestForkBombIsNoStartError"},
	{`wait for a call that ends the sandbox|kill everything`, "TestForbiddenCallIsNamed"},
	{`look whether any process is left`, "TestEndThatNobodyForbade"},
	{`start PID 1 in namespaces of its own`, "TestPayloadSeesAndSignalsNobodyOutside"},
	{`tell the caller of (PID 1|the start|the end)|end the (stub|sandbox)|reap until PID 2 ends`, "TestExitCodeIsTheCommandsOwn"},
	{`(kill|reap) what is left`, "TestGrandchildThatHoldsAPipeDoesNotHoldWaitUp"},
	{`wait for the caller to map IDs|leave the caller's groups|become (user|group) \d+ of the sandbox`, "TestRootCallerRunsAsSomebodyElse"},
	{`(open|write) (setgroups|uid_map|gid_map)`, "TestOnlyTheCallersOwnIDExistsInside"},
	{`join groups .*|become (user|group) \d+(, as the command is)?`, "TestIDsInsideMayHaveOtherNumbers"},
	{`keep mounts from propagating`, "TestRootNoMountGoesFromTheHostIntoTheSandboxOrBack"},
	{`end when the caller does: .*|check that the caller is (still )?alive`, "TestKilledCallerLeavesNothing"},
	{`put the new root on top of the old|go to the new root|make it the root|take the host's tree away|forget the way back`, "TestNothingOfTheHostIsAboveTheRoot"},
	{`use /srv/tree as the root(: restrict it)?`, "TestTreeIsReadOnlyAndNosuid"},
	{`make the root read-only|make a tmpfs for the root.*`, "TestBaseSystemIsReadOnlyOnceSetUp"},
	{`(bind|create|open|restrict) /dev/.*|link /dev/.*|make a tmpfs for /dev(:.*)?|(create|open|mount tmpfs on) /dev|make /dev read-only`, "TestDevIsTheSandboxesOwn"},
	{`make a (devpts|tmpfs) for /dev/(pts|shm).*|mount (devpts|tmpfs) on /dev/(pts|shm)`, "TestSandboxesShareNoChannel"},
	{`(open|set) max_inotify_.*`, "TestPayloadLeavesOthersInotifyAndTerminals"},
	{`make a proc for .*|create /proc|mount proc on .*`, "TestPayloadSeesAndSignalsNobodyOutside"},
	{`make a tmpfs for the mask of .*|mask .*|open (/dev/null for )?/(proc|p)/.*|make /(proc|p)/.* read-only|cover .* with itself, read-only`, "TestProcTellsNothingOfTheHost"},
	{`(bind|create) /(usr|lib64)( on .*)?(: restrict it)?|link /bin to .*`, "TestBaseSystemHoldsNothingElseOfTheHost"},
	{`(bind|create|open|write) /etc.*`, "TestEtcKnowsTheSandboxAndNobodyElse"},
	{`(create|open) /(run|var)|link /var/.*`, "TestVarRunLeadsToRun"},
	{`make a tmpfs for (/tmp|/home/sandbox|/scratch|/small).*|(create|open|mount tmpfs on) (/tmp|/home.*|/scratch|/small)`, "TestTmpfsIsBounded"},
	{`bind /srv/.* on .*|(create|open) /(in|out|a.*)`, "TestBindIsReadOnlyUnlessWritable"},
	{`put a file on .*|put the files on top of the root|make a tmpfs for files.*|(create|open) /empty`, "TestFileIsACopy"},
	{`make a (devpts|mqueue) for .*|mount (devpts|mqueue) on .*|(create|open) /(p|pts)`, "TestEveryMountIsNosuidNodevAndPrivate"},
	{`make a cgroup2 for .*|mount cgroup2 on .*|(create|open) /sys.*`, "TestCgroupIsTheRootOfAllInside"},
	{`name the machine .*`, "TestEtcKnowsTheSandboxAndNobodyElse"},
	{`open a socket to configure the network|bring the loopback interface up`, "TestNetworkIsLoopbackAlone"},
	{`drop CAP_[A-Z_]+ from the bounding set|drop every capability of the command`, "TestPayloadHasNoPrivilege"},
	{`drop CAP_[A-Z_]+ from the bounding set too|drop every other capability of the command|keep CAP_[A-Z_]+ over the execution`, "TestCapabilitiesAreExactlyThoseOfTheSpec"},
	{`keep capabilities over the change of user`, "TestRootCapabilitiesOfAnotherUserAreExactlyThoseOfTheSpec"},
	{`open a terminal(: .*)?|put the terminal on standard .*|set the caller's end of the terminal aside`, "TestTerminalIsTheSandboxesOwn"},
	{`let the terminal control the session`, "TestTerminalControlsTheSession"},
	{`leave the terminal to the caller`, "TestCallersEndOfTheTerminalIsNowhereInside"},
	{`forbid gaining privileges|load the seccomp filter`, "TestNoNewPrivsAndFilterAreOn"},
	{`keep PID 1 out of the command's reach( again)?|close what the set-up opened`, "TestPayloadCannotReadItsInit"},
	{`drop every capability of (PID 1|the joiner)|let (PID 1|the joiner) do nothing but wait and report`, "TestPayloadCannotTraceOrChangeItsInit"},
	{`heed signals that the caller ignores`, "TestCallersSignalsDoNotReachIntoTheCommand"},
	{`check that nothing is above the root`, "TestNothingOfTheHostIsAboveTheRoot"},
	{`go to the files|take the files off the root`, "TestNothingOfTheHostIsAboveTheRoot"},
	{`open /proc for the caller to watch`, "TestCPUTimeEndsARunOfOneOrManyProcesses"},
	{`hold the (mnt namespace|root) for the caller`, "TestCollectTakesWhatTheCommandLeaves"},
	{`start PID 2 for the command|start a session`, "TestCommandIsNeverPID1AndLeadsItsSession"},
	{`leave the command's descriptors to it`, "TestGrandchildThatHoldsAPipeDoesNotHoldWaitUp"},
	{`close what is done with`, "TestExtraFilesKeepTheirNumbersAndHolesStayClosed"},
	{`keep low addresses free|bound the stack`, "TestStrictPolicyAllowsOneExecve"},
	{`write no core file`, "TestCoreFilesAreOff"},
	{`set RLIMIT_[A-Z]+`, "TestResultSaysWhatHeldTheCommand"},
	{`hold the (user|pid|net|ipc|uts|cgroup) namespace for the caller|hold the terminals for the caller|close what the caller has now`, "TestCommandsShareASandbox"},
	{`sum up what all have used`, "TestPoolCountsWhatAllHaveUsed"},
	{`tell the caller that all is ready|wait for the command|put what came on .*|change to the directory that was told`, "TestPoolRunsEachCommandInASandboxOfItsOwn"},
	{`enter the .* namespace|close what .*`, "TestCommandsShareASandbox"},
	{`leave the commands' descriptors to them|reap whatever ends`, "TestNothingIsLeftOfCommands"},
	{`let PID 1 do nothing but wait|keep the joiner out of everybody's reach( still)?`, "TestWhoJoinsIsOutOfReach"},
	{`wait until the caller ends the sandbox`, "TestTheContextOfNewEndsEverything"},
	{`start a process for the command|wait until the command ends|reap what it has left to the joiner|end the joiner`, "TestManyCommandsAtOnce"},
	{`end with the joiner|check that the caller wants the command still`, "TestACommandEndsWithItsJoiner"},
	{`change directory to .*`, "TestDirCannotBeADescriptorOfTheCaller"},
	{`look for .*|execute .*`, "TestMissingCommandIsATypedError"},
}

// A step that no test asks for is one that nobody would miss.
func TestEveryStepIsThereForAReason(t *testing.T) {
	tests := testsHere(t)
	used := make([]bool, len(reasons))
	patterns := make([]*regexp.Regexp, len(reasons))
	for i, r := range reasons {
		patterns[i] = regexp.MustCompile("^(" + r.label + ")$")
		if !tests[r.test] {
			t.Errorf("there is no %s, which shows why %q", r.test, r.label)
		}
	}
	eachGolden(t, func(t *testing.T, _ string, p *Plan) {
		for i, op := range p.program.Ops {
			n := slices.IndexFunc(patterns, func(r *regexp.Regexp) bool { return r.MatchString(op.Label) })
			if n < 0 {
				t.Errorf("step %d, %s: no test shows why it is there", i, op.Label)
				continue
			}
			used[n] = true
		}
	})
	for i, r := range reasons {
		if !used[i] {
			t.Errorf("no plan has a step like %q", r.label)
		}
	}
}

// testsHere returns the names of the tests of this package.
func testsHere(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(src, -1) {
			names[string(m[1])] = true
		}
	}
	return names
}

// withoutOp returns a copy of p in which one op is missing.
func withoutOp(p *plan.Program, at int) *plan.Program {
	c := *p
	c.Ops = nil
	for i, op := range p.Ops {
		if i == at {
			continue
		}
		o := *op
		if o.Kind == plan.Fork && o.Child > at {
			o.Child--
		}
		c.Ops = append(c.Ops, &o)
	}
	return &c
}

func BenchmarkCheckPlan(b *testing.B) {
	p, err := Compile(Spec{Args: []string{"echo", "hi"}}, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := plan.Check(p.program); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(p.program.Ops)), "ops")
}
