package sandbox

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Facts about processes: what the command is, and that the sandbox's init is out of its reach.

func TestPayloadCannotReadItsInit(t *testing.T) {
	t.Parallel()
	var acts []string
	for _, file := range []string{"mem", "environ", "maps", "smaps", "auxv", "pagemap", "stack", "syscall", "personality", "io"} {
		acts = append(acts, "read:/proc/1/"+file)
	}
	for _, dir := range []string{"fd", "fdinfo", "map_files", "cwd/", "root/", "ns/"} {
		acts = append(acts, "list:/proc/1/"+dir)
	}
	for _, link := range []string{"exe", "cwd", "root", "ns/user", "ns/mnt", "fd/3"} {
		acts = append(acts, "readlink:/proc/1/"+link, "open:/proc/1/"+link)
	}
	for _, file := range []string{"mem", "oom_score_adj", "clear_refs", "comm", "timerslack_ns", "coredump_filter", "autogroup", "uid_map", "setgroups", "loginuid", "sched"} {
		acts = append(acts, "openw:/proc/1/"+file)
	}
	got := inside(t, noFilter, acts...)
	own := make([]string, len(acts))
	for i, act := range acts {
		own[i] = strings.Replace(act, "/proc/1/", "/proc/self/", 1)
	}
	control := inside(t, nil, own...)
	proved := 0
	for i, act := range acts {
		// The timer slack's file opens for everybody and asks at the write.
		if got.of(act).OK() && !strings.HasSuffix(act, "timerslack_ns") && !strings.HasSuffix(act, "list:/proc/1/ns/") {
			t.Errorf("%s: %v", act, got.of(act))
		}
		if control.of(own[i]).OK() {
			proved++
		}
	}
	if proved < 15 {
		t.Errorf("only %d of these can be done to a process of one's own", proved)
	}
}

func TestPayloadCannotTraceOrChangeItsInit(t *testing.T) {
	t.Parallel()
	acts := []string{"attach:1", "seize:1", "vmread:1", "prlimit:1", "renice:1", "reniceuser", "ioprio:1", "ioprioidle:0", "affinity:1", "scheduler:1"}
	got := inside(t, nil, acts...)
	for _, act := range acts {
		got.want(act, "EPERM")
	}
	// Tracing is refused by the kernel too. The rest is the filter's: init has the same user.
	// Until PID 1 has dropped its capabilities they keep whoever has none away: see TestPayloadHasNoPrivilege.
	ready := func(s *Spec) {
		noFilter(s)
		s.Stdin = strings.NewReader("x")
	}
	control := inside(t, ready, append([]string{"await"}, acts...)...)
	for _, act := range acts[:3] {
		control.want(act, "EPERM")
	}
	control.want("renice:1", "ok")
	control.want("ioprio:1", "ok")
	control.want("affinity:1", "ok")
}

func TestPayloadCannotEndItsInit(t *testing.T) {
	t.Parallel()
	var acts []string
	for sig := 1; sig < 32; sig++ {
		acts = append(acts, fmt.Sprintf("kill:1,%d", sig), fmt.Sprintf("pidfdkill:1,%d", sig))
	}
	for _, sig := range []int{34, 50, 64} {
		acts = append(acts, fmt.Sprintf("kill:1,%d", sig))
	}
	got := inside(t, nil, append(acts, "print:alive")...)
	got.want("print:alive", "ok")
	got.want("kill:1,9", "ok") // the kernel takes it and drops it
}

func TestPayloadCannotHoldItsInitUpWithSignals(t *testing.T) {
	t.Parallel()
	flood := fmt.Sprintf("sigqueue:1,%d,20000", unix.SIGIO)
	inside(t, nil, flood, flood, "print:alive").want("print:alive", "ok")
	// Also while the command ends, by a process that outlives it.
	for range 5 {
		shell(t, nil, "(while :; do kill -IO 1; done) & (while :; do kill -IO 1; done) & exit 0")
	}
}

func TestCommandIsNeverPID1AndLeadsItsSession(t *testing.T) {
	t.Parallel()
	if o := inside(t, nil, "session").of("session"); o.Detail != "pid 2 sid 2 pgid 2" {
		t.Error(o)
	}
	sid, err := unix.Getsid(0)
	if err != nil {
		t.Fatal(err)
	}
	if o := outside(t, "session").of("session"); !strings.Contains(o.Detail, fmt.Sprintf("sid %d", sid)) {
		t.Errorf("outside: %v, want the session %d of the caller", o, sid)
	}
}

func TestPayloadSeesAndSignalsNobodyOutside(t *testing.T) {
	t.Parallel()
	self := strconv.Itoa(os.Getpid())
	acts := []string{"countprocs", "read:/proc/" + self + "/status", "kill:" + self + ",0"}
	got := inside(t, nil, acts...)
	if o := got.of("countprocs"); o.Detail != "2" {
		t.Errorf("%v processes are seen, want init and itself", o)
	}
	got.want(acts[1], "ENOENT")
	got.want(acts[2], "ESRCH")
	control := outside(t, acts...)
	control.want(acts[1], "ok")
	control.want(acts[2], "ok")
}

func TestPayloadHasNoPrivilege(t *testing.T) {
	t.Parallel()
	const status = "read:/proc/self/status"
	for _, act := range []string{status, "read:/proc/1/status"} {
		// PID 1 drops its own while the command starts, and is done when that may read.
		got := inside(t, func(s *Spec) { s.Stdin = strings.NewReader("x") }, "await", act).of(act).Detail
		for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
			if !strings.Contains(got, set+":\t0000000000000000\n") {
				t.Errorf("%s: %s is not empty", act, set)
			}
		}
	}
	if strings.Contains(outside(t, status).of(status).Detail, "CapBnd:\t0000000000000000\n") {
		t.Error("the bounding set is empty outside: this proves nothing")
	}
	got := inside(t, nil, "setuid:0", "setgroups:0", "ids")
	got.want("setuid:0", "EINVAL", "EPERM")
	got.want("setgroups:0", "EPERM")
}

func TestCoreFilesAreOff(t *testing.T) {
	t.Parallel()
	act := fmt.Sprintf("rlimit:%d", unix.RLIMIT_CORE)
	if o := inside(t, nil, act).of(act); o.Detail != "0 0" {
		t.Error(o)
	}
	with := func(s *Spec) { s.Limits.Rlimits = []Rlimit{{"RLIMIT_CORE", 0, 4096}, {"RLIMIT_NOFILE", 64, 100}} }
	nofile := fmt.Sprintf("rlimit:%d", unix.RLIMIT_NOFILE)
	got := inside(t, with, act)
	if o := got.of(act); o.Detail != "0 4096" {
		t.Error(o)
	}
	if o := shell(t, with, "ulimit -Sn; ulimit -Hn"); o != "64\n100\n" {
		t.Errorf("%s: %q", nofile, o)
	}
}
