package sandbox

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// Facts about the end of cgroups: who gives them back, and what is left of whom.

// ReleaseCgroups beside starts: each of these is as if it had come before or after, and what runs is killed.
func TestCgroupReleasedBesideStarts(t *testing.T) {
	limit := inCgroup(t, Limits{PidsMax: 10, MemoryMax: 32 << 20})
	const callers, runs = 3, 15
	begun := make(chan struct{})
	var all sync.WaitGroup
	var untouched atomic.Int32
	for range callers {
		all.Go(func() {
			for range runs {
				spec := Spec{Args: []string{"true"}}
				limit(&spec)
				begun <- struct{}{}
				r, err := Run(context.Background(), spec)
				switch {
				case err == nil && r.Ended == Exited && r.ExitCode == 0: // before or after
					untouched.Add(1)
				case err == nil && r.Ended == Signaled && r.Signal == unix.SIGKILL: // in between
				case err != nil && r == nil && errors.Is(err, os.ErrProcessDone): // in between, twice
				default:
					t.Errorf("%v, %v", r, err)
				}
			}
		})
	}
	go func() { all.Wait(); close(begun) }()
	for range begun {
		if err := ReleaseCgroups(t.Context()); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d of %d runs were not touched", untouched.Load(), callers*runs)
	r := runScript(t, "exit 0", limit)
	if err := ReleaseCgroups(t.Context()); err != nil {
		t.Error(err)
	}
	if left := leaves(t, r); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// The kernel keeps no peak before Linux 5.19, and what is told instead knows which limit it was that was
// reached.
func TestCgroupPeakIsThatOfTheLimitItWasReachedUnder(t *testing.T) {
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	spec := Spec{Args: []string{"sh", "-c", "dd if=/dev/zero of=/dev/shm/x bs=1M count=24 2>/dev/null; echo; read x"}, Stdin: in}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	spec.Stdout = w
	inCgroup(t, Limits{MemoryMax: 64 << 20, PidsMax: 8})(&spec)
	c := Command(t.Context(), spec)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if _, err := r.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
	if err := c.Update(Limits{MemoryMax: 256 << 20, PidsMax: 100}); err != nil {
		t.Error(err)
	}
	out.Close()
	res, err := c.Wait()
	if err != nil || res.Ended != Exited {
		t.Fatal(res, err)
	}
	if peak := res.Usage.MemoryPeak; peak < 24<<20 || peak > 64<<20 {
		t.Errorf("a peak of %d bytes (sampled: %v)", peak, res.Usage.Sampled)
	}
	if peak := res.Usage.PidsPeak; peak < 1 || peak > 8+1 {
		t.Errorf("a peak of %d processes (sampled: %v)", peak, res.Usage.Sampled)
	}
}
