package sandbox

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/cgroup"
	"github.com/ringfence-go/ringfence/internal/launch"
	"github.com/ringfence-go/ringfence/internal/plan"
)

func TestCandidates(t *testing.T) {
	for _, tt := range []struct {
		name, path string
		want       []string
	}{
		{"x", "/usr/bin:/bin", []string{"/usr/bin/x", "/bin/x"}},
		{"x", "/bin:/bin/:/bin", []string{"/bin/x"}},
		{"x", ":/bin", []string{"./x", "/bin/x"}},
		{"x", "/", []string{"/x"}},
		{"./x", "/bin", []string{"./x"}},
		{"/a/x", "/bin", []string{"/a/x"}},
	} {
		if got := candidates(tt.name, tt.path); !slices.Equal(got, tt.want) {
			t.Errorf("candidates(%q, %q) = %q, want %q", tt.name, tt.path, got, tt.want)
		}
	}
}

func TestDedupEnv(t *testing.T) {
	got := dedupEnv([]string{"A=1", "B=2", "A=3", "PATH=/x"})
	if want := []string{"B=2", "A=3", "PATH=/x"}; !slices.Equal(got, want) {
		t.Errorf("dedupEnv = %q, want %q", got, want)
	}
	if got := lookupPath(got); got != "/x" {
		t.Errorf("lookupPath = %q", got)
	}
	if got := lookupPath(nil); got != cpath {
		t.Errorf("lookupPath(nil) = %q, want %q", got, cpath)
	}
}

func TestParentID(t *testing.T) {
	const ranges = "         0       1000          1\n         1     100000      65536\n"
	for _, tt := range []struct{ id, want int }{{0, 1000}, {1, 100000}, {65536, 165535}, {65537, -1}, {-1, -1}} {
		got, ok := parentID(ranges, tt.id)
		if !ok {
			got = -1
		}
		if got != tt.want {
			t.Errorf("parentID(%d) = %d, want %d", tt.id, got, tt.want)
		}
	}
	if _, ok := parentID("nonsense\n1 2\n", 1); ok {
		t.Error("an ID was found in lines that are no ranges")
	}
}

func TestParseTicks(t *testing.T) {
	const rest = " S 1 2 2 0 -1 4194560 100 200 0 0 3 4 5 6 20 0 1 0 9000 1 2"
	for _, tt := range []struct {
		stat string
		want int64
	}{
		{"7 (sh)" + rest, 18},
		{"7 (a) R 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9)" + rest, 18}, // a process may choose its name
		{"7 (sh) S 1", 0},
		{"", 0},
	} {
		if got := parseTicks([]byte(tt.stat)); got != tt.want {
			t.Errorf("parseTicks(%q) = %d, want %d", tt.stat, got, tt.want)
		}
	}
}

func TestVerdict(t *testing.T) {
	exited := func(code int) unix.WaitStatus { return unix.WaitStatus(code << 8) }
	killed := unix.WaitStatus(unix.SIGKILL)
	for _, tt := range []struct {
		name  string
		exit  launch.Exit
		cause Ending
		want  Result
		fails bool
		oom   cgroup.OOM
	}{
		{"exit", launch.Exit{Reported: true, Status: exited(3)}, 0, Result{Ended: Exited, ExitCode: 3}, false, cgroup.NoOOM},
		{"exit before the limit acted", launch.Exit{Reported: true, Status: exited(0)}, TimedOut, Result{Ended: Exited}, false, cgroup.NoOOM},
		{"signal", launch.Exit{Reported: true, Status: unix.WaitStatus(unix.SIGTERM)}, 0, Result{Ended: Signaled, ExitCode: -1, Signal: unix.SIGTERM}, false, cgroup.NoOOM},
		{"signal before the limit acted", launch.Exit{Reported: true, Status: unix.WaitStatus(unix.SIGSEGV)}, TimedOut, Result{Ended: Signaled, ExitCode: -1, Signal: unix.SIGSEGV}, false, cgroup.NoOOM},
		{"SIGKILL of its own", launch.Exit{Reported: true, Status: killed}, 0, Result{Ended: Signaled, ExitCode: -1, Signal: unix.SIGKILL}, false, cgroup.NoOOM},
		{"killed by a limit", launch.Exit{Reported: true, Status: killed}, OutOfCPUTime, Result{Ended: OutOfCPUTime, ExitCode: -1, Signal: unix.SIGKILL}, false, cgroup.NoOOM},
		{"PID 1 had to be killed", launch.Exit{Init: killed}, Canceled, Result{Ended: Canceled, ExitCode: -1, Signal: unix.SIGKILL}, false, cgroup.NoOOM},
		{"PID 1 killed by somebody", launch.Exit{Init: killed}, 0, Result{Ended: Signaled, ExitCode: -1, Signal: unix.SIGKILL}, false, cgroup.NoOOM},
		{"too much output, then exit", launch.Exit{Reported: true, Status: exited(0)}, OutputExceeded, Result{Ended: OutputExceeded, ExitCode: -1}, false, cgroup.NoOOM},
		{"PID 1 lost", launch.Exit{Init: exited(1)}, 0, Result{ExitCode: -1}, true, cgroup.NoOOM},
		{"out of memory", launch.Exit{Init: killed}, 0, Result{Ended: OutOfMemory, ExitCode: -1, Signal: unix.SIGKILL}, false, cgroup.OOMByLimit},
		{"out of memory at the time limit", launch.Exit{Init: killed}, TimedOut, Result{Ended: OutOfMemory, ExitCode: -1, Signal: unix.SIGKILL}, false, cgroup.OOMByLimit},
		{"the host out of memory", launch.Exit{Init: killed}, 0, Result{Ended: Signaled, ExitCode: -1, Signal: unix.SIGKILL}, false, cgroup.OOMByHost},
		{"exit, whatever was killed", launch.Exit{Reported: true, Status: exited(0)}, 0, Result{Ended: Exited}, false, cgroup.OOMByLimit},
		{"forbidden", launch.Exit{Reported: true, Status: killed, Refused: &plan.Refusal{}}, 0, Result{Ended: Forbidden, ExitCode: -1, Signal: unix.SIGSYS}, false, cgroup.NoOOM},
		{"forbidden, then exit", launch.Exit{Reported: true, Status: exited(0), Refused: &plan.Refusal{}}, TimedOut, Result{Ended: Forbidden, ExitCode: -1, Signal: unix.SIGSYS}, false, cgroup.NoOOM},
		{"forbidden by a supervisor", launch.Exit{Reported: true, Status: killed}, Forbidden, Result{Ended: Forbidden, ExitCode: -1, Signal: unix.SIGSYS}, false, cgroup.NoOOM},
	} {
		got, err := verdict(&tt.exit, tt.cause, tt.oom)
		if got.Ended != tt.want.Ended || got.ExitCode != tt.want.ExitCode || got.Signal != tt.want.Signal || (err != nil) != tt.fails {
			t.Errorf("%s: %+v, %v, want %+v", tt.name, got, err, tt.want)
		}
	}
}

func TestUsageIsInTheUnitsOfTheResult(t *testing.T) {
	began := time.Unix(100, 0)
	exit := launch.Exit{Ended: began.Add(3 * time.Second), Counted: true}
	exit.Usage.Utime = unix.NsecToTimeval(int64(2 * time.Second))
	exit.Usage.Maxrss = 5
	u := usage(&exit, began, began.Add(time.Second))
	if u.Setup != time.Second || u.Wall != 2*time.Second || u.User != 2*time.Second || u.MemoryPeak != 5<<10 || u.PidsPeak != -1 {
		t.Errorf("usage = %+v", u)
	}
	exit.Counted = false
	if u := usage(&exit, began, began.Add(time.Second)); u.User != -1 || u.System != -1 || u.MemoryPeak != -1 {
		t.Errorf("usage of a sandbox whose PID 1 was killed = %+v, want -1", u)
	}
}

func TestNamespaceThatTheKernelLacks(t *testing.T) {
	for _, tt := range []struct {
		kind    string
		feature Feature
		flag    string
		without bool // it can be done without
	}{
		{"cgroup", CgroupNamespace, "CLONE_NEWCGROUP", true},
		{"ipc", IPCNamespace, "CLONE_NEWIPC", true},
		{"uts", UTSNamespace, "CLONE_NEWUTS", true},
		{"net", NetworkNamespace, "CLONE_NEWNET", true},
		{"user", UserNamespace, "CLONE_NEWUSER", false},
		{"mnt", MountNamespace, "CLONE_NEWNS", false},
		{"pid", PIDNamespace, "CLONE_NEWPID", false},
	} {
		host := pretendHost("amd64", 1000)
		spec := Spec{Args: []string{"true"}}
		if p, err := Compile(spec, host); err != nil || !strings.Contains(p.String(), tt.flag) {
			t.Errorf("the control: %s is not in the plan, %v", tt.flag, err)
		}
		host.facts.Namespaces = slices.DeleteFunc(host.facts.Namespaces, func(s string) bool { return s == tt.kind })
		var u *UnsupportedError
		if _, err := Compile(spec, host); !errors.As(err, &u) || u.Feature != tt.feature {
			t.Errorf("without %s: %v, want an *UnsupportedError", tt.kind, err)
		}
		spec.AllowMissing = []Feature{tt.feature}
		p, err := Compile(spec, host)
		if !tt.without {
			if !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("without %s, allowed: %v, want an error all the same", tt.kind, err)
			}
			continue
		}
		if err != nil || strings.Contains(p.String(), tt.flag) || !slices.Equal(p.resolved.missing, spec.AllowMissing) {
			t.Errorf("without %s, allowed: %v", tt.kind, err)
		}
	}
}

// Files of /proc are covered with the null device. A host without one gets no /proc, and is told why.
func TestHostWithoutANullDevice(t *testing.T) {
	host := pretendHost("amd64", 1000)
	host.facts.Devices = nil
	var missing *UnsupportedError
	if p, err := Compile(Spec{Args: []string{"true"}}, host); !errors.As(err, &missing) || missing.Feature != NewProc || missing.Remedy == "" {
		t.Errorf("%v, %v", p, err)
	}
	p, err := Compile(Spec{Args: []string{"true"}, AllowMissing: []Feature{NewProc}}, host)
	if err != nil || !slices.Equal(p.resolved.missing, []Feature{NewProc}) {
		t.Errorf("%v, %v", p, err)
	}
}
