package sandbox

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
	"github.com/ringfence-go/ringfence/testing/victim"
)

// Random system calls inside, by processes that make them as fast as they can: nothing of the caller's
// changes, what runs beside them goes on, nothing is left, and each Result is one that can be.
//
// RINGFENCE_FUZZ_CALLS is how long this takes ("10m"), for each of the two policies; RINGFENCE_FUZZ_SEED has
// the runs of an earlier time made again, as far as the kernel's own chances allow.

func TestRandomCallsChangeNothingOutside(t *testing.T) { randomCalls(t, 1500*time.Millisecond, nil) }

// Without a filter the walls are the kernel's alone, and stand too.
func TestRandomCallsWithoutAFilterChangeNothingOutside(t *testing.T) {
	randomCalls(t, 1500*time.Millisecond, noFilter)
}

func TestRootRandomCallsChangeNothingOutside(t *testing.T) {
	t.Run("filter", func(t *testing.T) { randomCalls(t, 500*time.Millisecond, nil) })
	t.Run("no filter", func(t *testing.T) { randomCalls(t, 500*time.Millisecond, noFilter) })
}

const fuzzCallsEnv = "RINGFENCE_FUZZ_CALLS"

// countMarks counts what random callers write, whatever else they write.
type countMarks struct {
	calls atomic.Int64
	bytes atomic.Int64
}

func (c *countMarks) Write(b []byte) (int, error) {
	c.calls.Add(100 * int64(bytes.Count(b, []byte(victim.CallsMade))))
	c.bytes.Add(int64(len(b)))
	return len(b), nil
}

func randomCalls(t *testing.T, length time.Duration, change func(*Spec)) {
	t.Helper()
	seed := rand.Uint64N(1 << 40)
	if s := os.Getenv(fuzzCallsEnv); s != "" {
		var err error
		if length, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	if s := os.Getenv("RINGFENCE_FUZZ_SEED"); s != "" {
		if _, err := fmt.Sscan(s, &seed); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("RINGFENCE_FUZZ_SEED=%d", seed)
	watched := newCanary(t)
	t.Setenv("TMPDIR", t.TempDir()) // where nobody else leaves anything
	before := holds()
	stop := bystanders(t)
	var told countMarks
	endings := map[Ending]int{}
	until := time.Now().Add(length)
	// Where processes start slowly, as under the race detector, the first calls may take longer than that.
	late := until.Add(sandboxtest.Slow(20 * time.Second))
	for ; time.Now().Before(until) || told.calls.Load() == 0 && time.Now().Before(late); seed += 1000 {
		wall := min(max(time.Until(until), sandboxtest.Slow(300*time.Millisecond)), 10*time.Second)
		r, err := Run(t.Context(), callersSpec(t, seed, watched, &told, wall, change))
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
			break
		}
		endings[r.Ended]++
		sane(t, seed, r)
	}
	stop()
	watched.check(t)
	t.Logf("%d calls at least, %d bytes written, runs by their ending: %v", told.calls.Load(), told.bytes.Load(), endings)
	if told.calls.Load() == 0 {
		t.Error("nobody said that calls were made")
	}
	var after held
	if !eventually(5*time.Second, func() bool {
		after = holds()
		return after.fds <= before.fds && after.children < before.children && after.mounts == before.mounts && after.files <= before.files
	}) {
		t.Errorf("left: %+v, before, with the canary: %+v", after, before)
	}
}

// callersSpec runs random callers, bounded by what needs no cgroup.
func callersSpec(t testing.TB, seed uint64, c *canary, out *countMarks, wall time.Duration, change func(*Spec)) Spec {
	t.Helper()
	spec := victimSpec(t, fmt.Sprintf("callers:%d,%d,2,%d,%d", seed, sandboxtest.Slow(10*time.Millisecond).Milliseconds(), c.pid, c.child.Process.Pid))
	spec.Mounts = append(spec.Mounts, Mount{Source: c.path, Target: "/canary"})
	spec.Stdout, spec.Stderr = out, out
	spec.Limits = Limits{WallTime: wall, OutputMax: 64 << 20, Rlimits: []Rlimit{
		{"RLIMIT_NPROC", 100, 100}, {"RLIMIT_NOFILE", 128, 128}, {"RLIMIT_FSIZE", 8 << 20, 8 << 20},
	}}
	if change != nil {
		change(&spec)
	}
	return spec
}

// sane checks a Result of a run that may end in any way that its Spec allows.
func sane(t testing.TB, seed uint64, r *Result) {
	t.Helper()
	ok := false
	switch r.Ended {
	case TimedOut, OutputExceeded:
		ok = r.ExitCode == -1
	case Exited:
		ok = r.ExitCode >= 0 && r.ExitCode < 256 && r.Signal == 0
	case Signaled:
		ok = r.ExitCode == -1 && r.Signal > 0 && r.Signal <= 64
	}
	if !ok || r.Syscall != "" || len(r.Missing) > 0 || by(r, SeccompBPF) == "" {
		t.Errorf("seed %d: %+v", seed, r)
	}
}
