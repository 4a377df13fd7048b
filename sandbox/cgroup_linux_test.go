package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// Facts about limits that a cgroup holds. They need a machine with cgroup v2 and a subtree that is the
// caller's: testing/vm is one.

// inCgroup gives a Spec a cgroup of its own, with limits.
func inCgroup(t testing.TB, limits Limits) func(*Spec) {
	t.Helper()
	sandboxtest.Need(t, sandboxtest.CgroupV2())
	change := func(spec *Spec) {
		spec.Cgroup.Always, spec.Cgroup.MoveCaller = true, true
		spec.Limits = limits
	}
	// Found before anything runs beside it: the caller's cgroup can be divided when it is alone in it.
	spec := Spec{}
	change(&spec)
	if where, err := place(t.Context(), &spec); err != nil || where.cause != nil {
		t.Fatal(err, where.cause)
	}
	return change
}

// by returns the mechanism that a Result names for a feature.
func by(r *Result, feature Feature) string {
	for _, e := range r.Enforced {
		if e.Feature == feature {
			return e.By
		}
	}
	return ""
}

func TestCgroupOfMemoryBomb(t *testing.T) {
	const limit = 48 << 20
	bounded := inCgroup(t, Limits{MemoryMax: limit})
	beside := make(chan *Result)
	go func() {
		spec := Spec{Args: []string{"sh", "-c", "sleep 3"}}
		bounded(&spec)
		r, err := Run(t.Context(), spec)
		if err != nil {
			t.Error(err)
		}
		beside <- r
	}()
	for name, act := range map[string]string{"anonymous": "touch:256", "tmpfs": "fill:/dev/shm/x"} {
		r, o := forbidden(t, act, bounded)
		if r.Ended != OutOfMemory || r.Signal != unix.SIGKILL || r.ExitCode != -1 {
			t.Errorf("%s: %v, %v, want out of memory", name, r, o)
		}
		if got := by(r, MemoryLimit); got != "cgroup memory.max" {
			t.Errorf("%s: enforced by %q", name, got)
		}
		if peak := r.Usage.MemoryPeak; peak < limit/2 || peak > limit+1<<20 { // charges come in batches
			t.Errorf("%s: a peak of %d bytes with a limit of %d", name, peak, limit)
		}
	}
	if r := <-beside; r.Ended != Exited || r.ExitCode != 0 {
		t.Errorf("the one beside it: %v", r)
	}
	if r, o := forbidden(t, "touch:32", bounded); r.Ended != Exited || o == nil || o.Err != "" {
		t.Errorf("one that keeps its limit: %v, %v", r, o)
	}
}

// A signal from somewhere else is no want of memory, whatever its number.
func TestCgroupTellsAKillFromWantOfMemory(t *testing.T) {
	limit := inCgroup(t, Limits{MemoryMax: 64 << 20})
	if r := runScript(t, "kill -KILL $$", limit); r.Ended != Signaled || r.Signal != unix.SIGKILL {
		t.Errorf("SIGKILL of its own: %v", r)
	}
	if r := runScript(t, "exit 137", limit); r.Ended != Exited || r.ExitCode != 137 {
		t.Errorf("exit 137: %v", r)
	}
	spec := Spec{Args: []string{"sleep", "60"}}
	limit(&spec)
	c := Command(t.Context(), spec)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(c.Pid(), unix.SIGKILL); err != nil {
		t.Error(err)
	}
	if r, err := c.Wait(); err != nil || r.Ended != Signaled || r.Signal != unix.SIGKILL {
		t.Errorf("SIGKILL from outside: %v, %v", r, err)
	}
}

func TestCgroupStopsAForkBomb(t *testing.T) {
	const limit = 10
	// Each child says so; the shell is one of the ten.
	script := "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do sleep 30 & done 2>/dev/null; ls /proc | grep -c '^[0-9]' >&2; kill -9 -1"
	var errs bytes.Buffer
	r := runScript(t, script, inCgroup(t, Limits{PidsMax: limit, WallTime: 30 * time.Second}), func(s *Spec) { s.Stderr = &errs })
	if r.Usage.PidsMaxEvents < 1 || r.Usage.PidsPeak < limit || r.Usage.PidsPeak > limit+1 {
		t.Errorf("%v: refused %d times, at most %d at a time, want %d", r, r.Usage.PidsMaxEvents, r.Usage.PidsPeak, limit)
	}
	if got := by(r, PidsLimit); got != "cgroup pids.max" {
		t.Errorf("enforced by %q", got)
	}
	one := runScript(t, "exit 0", inCgroup(t, Limits{PidsMax: 1}))
	if one.Ended != Exited || one.ExitCode != 0 || one.Usage.PidsMaxEvents != 0 {
		t.Errorf("one process of one: %v, refused %d times", one, one.Usage.PidsMaxEvents)
	}
}

func TestCgroupHoldsCPUMax(t *testing.T) {
	const share, window = 0.2, 2 * time.Second
	spec := Spec{Args: []string{"sh", "-c", "while :; do :; done"}}
	inCgroup(t, Limits{CPUMax: share})(&spec)
	c := Command(t.Context(), spec)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	began, before := time.Now(), stats(t, c)
	time.Sleep(window) // what is measured is a rate
	after, took := stats(t, c), time.Since(began)
	_ = c.Kill()
	r, err := c.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if got := float64(after.User+after.System-before.User-before.System) / float64(took); got < share-0.03 || got > share+0.03 {
		t.Errorf("%.3f of a processor in %v, want %v", got, took, share)
	}
	if r.Usage.Throttled <= 0 || by(r, CPULimit) != "cgroup cpu.max" {
		t.Errorf("never held back: %+v, %v", r.Usage, r.Enforced)
	}
}

func stats(t testing.TB, c *Cmd) *Stats {
	t.Helper()
	s, err := c.Stats()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCgroupCountsCPUTimeOfAll(t *testing.T) {
	const limit = 500 * time.Millisecond
	// Ten at once, none of which waits for its children, and all of which ignore their ends.
	script := "trap '' CHLD; i=0; while [ $i -lt 10 ]; do (while :; do :; done) & i=$((i+1)); done; sleep 60"
	r := runScript(t, script, inCgroup(t, Limits{CPUTime: limit, WallTime: time.Minute}))
	used := r.Usage.User + r.Usage.System
	if r.Ended != OutOfCPUTime || used < limit || used > limit+sandboxtest.Slow(300*time.Millisecond) {
		t.Errorf("%v after %v, want out of CPU time after %v", r, used, limit)
	}
	if got := by(r, CPUTimeLimit); got != "cgroup cpu.stat" {
		t.Errorf("enforced by %q", got)
	}
}

func TestCgroupIsTheRootOfAllInside(t *testing.T) {
	const limit = 96 << 20
	out := shell(t, inCgroup(t, Limits{MemoryMax: limit, PidsMax: 20}),
		"cat /sys/fs/cgroup/memory.max; cat /proc/self/cgroup; echo 1 > /sys/fs/cgroup/memory.max || echo refused; mkdir /sys/fs/cgroup/x || echo refused")
	if want := fmt.Sprintf("%d\n0::/\nrefused\nrefused\n", limit); out != want {
		t.Errorf("inside: %q, want %q", out, want)
	}
}

func TestCgroupPauseStopsTime(t *testing.T) {
	spec := Spec{Args: []string{"sh", "-c", "while :; do :; done"}}
	inCgroup(t, Limits{})(&spec)
	c := Command(t.Context(), spec)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	used := func() time.Duration {
		s := stats(t, c)
		return s.User + s.System
	}
	if err := c.Pause(); err != nil {
		t.Fatal(err)
	}
	before := used()
	time.Sleep(300 * time.Millisecond) // what is to be seen is that nothing happens
	if after := used(); after != before {
		t.Errorf("paused at %v, and at %v later", before, after)
	}
	if err := c.Resume(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); used() <= before; {
		if time.Now().After(deadline) {
			t.Fatal("it does not go on")
		}
	}
	// What is paused can be ended.
	if err := c.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if r, err := c.Wait(); err != nil || r.Ended != Canceled {
		t.Errorf("killed while paused: %v, %v", r, err)
	}
	if took := time.Since(began); took > stopGrace {
		t.Errorf("it took %v to end what was paused", took)
	}
	if _, err := c.Stats(); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("Stats after the end: %v", err)
	}
	if err := c.Pause(); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("Pause after the end: %v", err)
	}
}

// Whoever stood still goes on as if nothing had been, the witness of refused calls too.
func TestCgroupResumedRunEndsAsItsOwn(t *testing.T) {
	spec := Spec{Args: []string{"sh", "-c", "read x; exit 7"}}
	inCgroup(t, Limits{})(&spec)
	c := Command(t.Context(), spec)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if err := c.Pause(); err != nil {
		t.Error(err)
	}
	if err := c.Resume(); err != nil {
		t.Error(err)
	}
	in.Close()
	if r, err := c.Wait(); err != nil || r.Ended != Exited || r.ExitCode != 7 {
		t.Errorf("%v, %v, want exit code 7", r, err)
	}
}

func TestCgroupLimitsCanChange(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	spec := Spec{Args: []string{"sh", "-c", "read x; cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max"}, Stdin: r}
	var out bytes.Buffer
	spec.Stdout = &out
	inCgroup(t, Limits{MemoryMax: 64 << 20})(&spec)
	c := Command(t.Context(), spec)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if err := c.Update(Limits{MemoryMax: 80 << 20, PidsMax: 7}); err != nil {
		t.Error(err)
	}
	if err := c.Update(Limits{WallTime: time.Second}); err == nil {
		t.Error("WallTime is changed")
	}
	if err := c.Update(Limits{MemoryMax: -1}); err == nil {
		t.Error("a negative limit is set")
	}
	fmt.Fprintln(w)
	w.Close()
	if res, err := c.Wait(); err != nil || res.ExitCode != 0 {
		t.Errorf("%v, %v", res, err)
	}
	if want := fmt.Sprintf("%d\n%d\n", 80<<20, 7+c.cell.overhead); out.String() != want {
		t.Errorf("inside: %q, want %q", out.String(), want)
	}
}

// leaves lists the cgroups of sandboxes.
func leaves(t testing.TB, r *Result) []string {
	t.Helper()
	parts := strings.Split(by(r, Cgroup), ", ")
	if len(parts) < 2 {
		t.Fatalf("where the cgroup was is not told: %v", r.Enforced)
	}
	all, err := filepath.Glob(filepath.Join(parts[1], "ringfence-"+strconv.Itoa(os.Getpid())+"-*"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestCgroupOfManyRunsIsGone(t *testing.T) {
	limit := inCgroup(t, Limits{MemoryMax: 64 << 20, PidsMax: 10})
	runs := 1000
	if sandboxtest.Slow(time.Second) > time.Second {
		runs = 100
	}
	var last *Result
	for range runs {
		last = runScript(t, "exit 0", limit)
	}
	// The next one's may be there already, which ReleaseCgroups gives back.
	if left := leaves(t, last); len(left) > 1 {
		t.Errorf("left: %v", left)
	}
	// Nor of those that never started.
	spec := Spec{Args: []string{"no-such-command"}}
	limit(&spec)
	if _, err := Run(t.Context(), spec); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v, want %v", err, ErrNotFound)
	}
	if left := leaves(t, last); len(left) > 1 {
		t.Errorf("left of a start that failed: %v", left)
	}
	if err := ReleaseCgroups(t.Context()); err != nil {
		t.Error(err)
	}
	if left := leaves(t, last); len(left) > 0 {
		t.Errorf("left after all were given back: %v", left)
	}
}

func TestCgroupMissingIsAnErrorWithARemedy(t *testing.T) {
	spec := Spec{Args: []string{"true"}, Cgroup: CgroupOptions{Path: t.TempDir()}}
	_, err := Run(t.Context(), spec)
	var u *UnsupportedError
	if !errors.As(err, &u) || u.Feature != Cgroup || u.Err == nil {
		t.Fatalf("%v, want an *UnsupportedError", err)
	}
	spec.AllowMissing = []Feature{Cgroup}
	if r, err := Run(t.Context(), spec); err != nil || r.ExitCode != 0 {
		t.Errorf("%v, %v, want success without one", r, err)
	}
	c := Command(t.Context(), Spec{Args: []string{"sleep", "60"}})
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Stats(); !errors.As(err, &u) || u.Remedy == "" {
		t.Errorf("Stats without a cgroup: %v", err)
	}
	_ = c.Kill()
	_, _ = c.Wait()
}

// Runtimes that size themselves by what they may use are told the limits.
func TestCgroupLimitsAreSeenByRuntimes(t *testing.T) {
	limit := inCgroup(t, Limits{MemoryMax: 200 << 20, CPUMax: 1})
	// Go takes two for a limit below two.
	const least = 2
	if runtime.NumCPU() > least {
		if got := inside(t, limit, "processors").of("processors").Detail; got != strconv.Itoa(least) {
			t.Errorf("Go uses %s processors, want %d", got, least)
		}
	}
	const java = "java -XshowSettings:system -version 2>&1"
	if r := runScript(t, "command -v java"); r.ExitCode != 0 {
		return // not on every machine
	}
	if out := shell(t, limit, java); !strings.Contains(out, "Memory Limit: 200.00M") || !strings.Contains(out, "Effective CPU Count: 1") {
		t.Errorf("Java sees\n%s", out)
	}
}
