package sandbox

import (
	"bytes"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
	"github.com/ringfence-go/ringfence/seccomp"
)

// Facts about the witness: the second thread of PID 1, which sees the calls for which the policy kills.
// Every attack is followed by such a call, which must end the run.

// attacked runs acts against the witness, and then a call for which the policy kills.
func attacked(t *testing.T, change func(*Spec), acts ...string) (*Result, outcomes) {
	t.Helper()
	spec := victimSpec(t, append(acts, "mkdir:/tmp/x", "print:alive")...)
	if change != nil {
		change(&spec)
	}
	if spec.Seccomp == nil {
		spec.Seccomp = seccomp.Default()
	}
	spec.Seccomp.Rules = append([]seccomp.Rule{{Names: []string{"mkdir", "mkdirat"}, Action: seccomp.KillProcess}}, spec.Seccomp.Rules...)
	var out bytes.Buffer
	spec.Stdout = &out
	r, err := Run(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	got := told(t, out.Bytes())
	if o, ok := got.all["print:alive"]; ok {
		t.Errorf("the victim went on: %v, %v", r, o)
	}
	if r.Ended != Forbidden || r.Signal != syscall.SIGSYS || r.Syscall != "mkdirat" && r.Syscall != "mkdir" {
		t.Errorf("%v (%v, %q), want mkdir forbidden", r, r.Signal, r.Syscall)
	}
	return r, got
}

func TestPayloadCannotSignalTheWitnessAway(t *testing.T) {
	t.Parallel()
	for name, sends := range map[string][]string{
		"tgkill": {"tgkill:$,"}, "kill": {"kill:$,"}, "siginfo": {"tgqueue:$,"},
		"all, PID 1 too": {"tgkill:$,", "tgkill:1,", "tgqueue:$,", "kill:1,", "kill:$,"},
	} {
		var acts []string
		for sig := 1; sig <= kernel.LastSignal; sig++ {
			for _, send := range sends {
				acts = append(acts, "on:"+send+strconv.Itoa(sig))
			}
		}
		// Also the one that the thread has blocked, more often than the kernel queues.
		acts = append(acts, "on:sigqueue:$,"+strconv.Itoa(int(unix.SIGIO))+",5000", "on:sigqueue:1,"+strconv.Itoa(int(unix.SIGIO))+",5000", "witness")
		_, got := attacked(t, nil, acts...)
		for _, act := range acts {
			if o := got.of(act); !o.OK() && !strings.HasPrefix(act, "on:tgqueue:") {
				t.Errorf("%s: %s: %v, want a signal that the kernel takes and drops", name, act, o)
			}
		}
	}
	// Elsewhere they end a process.
	for _, sig := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGTERM, syscall.SIGIO, syscall.SIGKILL} {
		if r := runScript(t, "kill -"+strconv.Itoa(int(sig))+" $$"); r.Ended != Signaled || r.Signal != sig {
			t.Errorf("signal %d at the command: %v", sig, r)
		}
	}
}

func TestPayloadCannotReadOrTraceTheWitness(t *testing.T) {
	t.Parallel()
	acts := []string{"on:attach:$", "on:seize:$", "on:vmread:$"}
	for _, file := range []string{"mem", "environ", "maps", "smaps", "auxv", "pagemap", "stack", "syscall", "personality", "io"} {
		acts = append(acts, "on:read:/proc/1/task/$/"+file)
	}
	for _, dir := range []string{"fd", "fdinfo", "cwd/", "root/"} {
		acts = append(acts, "on:list:/proc/1/task/$/"+dir)
	}
	for _, link := range []string{"exe", "cwd", "root", "fd/3", "fd/5"} {
		acts = append(acts, "on:open:/proc/1/task/$/"+link)
	}
	for _, file := range []string{"mem", "oom_score_adj", "oom_adj", "clear_refs", "comm", "sched", "uid_map", "loginuid"} {
		acts = append(acts, "on:openw:/proc/1/task/$/"+file, "on:openw:/proc/$/"+file)
	}
	// Without the filter it is the kernel alone that refuses: PID 1 is not dumpable.
	_, got := attacked(t, noFilter, acts...)
	proved := 0
	own := make([]string, len(acts))
	for i, act := range acts {
		if got.of(act).OK() {
			t.Errorf("%s: %v", act, got.of(act))
		}
		own[i] = strings.ReplaceAll(strings.ReplaceAll(act[len("on:"):], "/proc/1/task/$", "/proc/self"), "/proc/$", "/proc/thread-self")
	}
	control := inside(t, nil, own[3:]...)
	for _, act := range own[3:] {
		if control.of(act).OK() {
			proved++
		}
	}
	if proved < 15 {
		t.Errorf("only %d of these can be done to a process of one's own", proved)
	}
}

// The limits of a process are those of any of its threads: RLIMIT_CPU would end PID 1.
func TestPayloadCannotLimitPID1ByTheWitness(t *testing.T) {
	t.Parallel()
	var acts []string
	for _, resource := range []int{unix.RLIMIT_CPU, unix.RLIMIT_NOFILE, unix.RLIMIT_FSIZE, unix.RLIMIT_AS} {
		acts = append(acts, "on:pidlimit:$,"+strconv.Itoa(resource), "pidlimit:1,"+strconv.Itoa(resource))
	}
	_, got := attacked(t, nil, acts...)
	for _, act := range acts {
		got.want(act, "EPERM")
	}
	own := "pidlimit:0," + strconv.Itoa(unix.RLIMIT_CORE)
	inside(t, nil, own).want(own, "ok", "EPERM") // raising is the kernel's to refuse
	limit := "pidlimit:0," + strconv.Itoa(unix.RLIMIT_FSIZE)
	inside(t, nil, limit).want(limit, "ok")
	// Without the filter the kernel lets equal IDs do it.
	_, control := attacked(t, noFilter, "on:pidlimit:$,"+strconv.Itoa(unix.RLIMIT_NOFILE))
	control.want("on:pidlimit:$,"+strconv.Itoa(unix.RLIMIT_NOFILE), "ok")
}

// What belongs to a thread alone may be changed: its ID is not known beforehand, and programs change that
// of their own threads. A witness that comes last of all comes nevertheless.
func TestWitnessSeesCallsAlsoWhenItIsTheLastToRun(t *testing.T) {
	t.Parallel()
	acts := []string{"on:renice:$", "on:ioprio:$", "on:affinity:$", "on:scheduler:$"}
	// Until the witness has dropped its capabilities they keep whoever has none away.
	ready := func(s *Spec) { s.Stdin = strings.NewReader("x") }
	_, got := attacked(t, ready, append([]string{"await"}, acts...)...)
	for _, act := range acts {
		got.want(act, "ok")
	}
	script := "for i in 1 2 3 4; do taskset -c 0 sh -c 'while :; do :; done' & done; " +
		"until [ $(ls /proc/1/task | wc -l) = 2 ]; do :; done; " +
		"for tid in $(ls /proc/1/task); do renice -n 19 $tid; taskset -p -c 0 $tid; chrt -i -p 0 $tid; done; mkdir /tmp/x; sleep 60"
	if r := runScript(t, script, killFor("mkdir", "mkdirat")); r.Ended != Forbidden {
		t.Errorf("%v, want mkdir forbidden", r)
	}
}
