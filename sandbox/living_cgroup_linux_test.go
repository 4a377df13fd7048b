package sandbox

import (
	"strings"
	"testing"
	"time"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
	"github.com/ringfence-go/ringfence/testing/victim"
)

// livingVictims returns a sandbox in which the victim is, and the arguments that start it.
func livingVictims(t *testing.T, limits Limits) (*Sandbox, func(acts ...string) Spec) {
	t.Helper()
	spec := victimSpec(t, "nothing")
	spec.Args = nil
	inCgroup(t, limits)(&spec)
	return living(t, spec), func(acts ...string) Spec { return Spec{Args: append([]string{victim.Path}, acts...)} }
}

// All commands of a sandbox have its memory together, and end together when it is used up.
func TestCgroupOfALivingSandboxHoldsAllItsCommands(t *testing.T) {
	s, run := livingVictims(t, Limits{MemoryMax: 64 << 20})
	beside := s.Command(t.Context(), Spec{Args: []string{"sleep", "60"}})
	if err := beside.Start(); err != nil {
		t.Fatal(err)
	}
	if stats, err := s.Stats(); err != nil || stats.Pids < 1 || stats.Memory < 1 {
		t.Errorf("%+v, %v", stats, err)
	}
	r, err := s.Run(t.Context(), run("touch:256"))
	if err != nil || r.Ended != OutOfMemory {
		t.Errorf("%v, %v, want out of memory", r, err)
	}
	if r, err = beside.Wait(); err != nil || r.Ended != OutOfMemory {
		t.Errorf("the one beside it: %v, %v, want out of memory", r, err)
	}
	select {
	case <-s.Done():
	case <-time.After(10 * time.Second):
		t.Error("the sandbox goes on without a PID 1")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestCgroupPausesALivingSandbox(t *testing.T) {
	s, _ := livingVictims(t, Limits{})
	c := s.Command(t.Context(), Spec{Args: []string{"sh", "-c", "sleep 0.3; exit 5"}})
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Stats(); err == nil || !strings.Contains(err.Error(), "Sandbox") {
		t.Errorf("Stats of a command: %v, want a word about the Sandbox's", err)
	}
	ended := make(chan *Result)
	go func() {
		r, err := c.Wait()
		if err != nil {
			t.Error(err)
		}
		ended <- r
	}()
	select {
	case r := <-ended:
		t.Fatalf("a command ended while all was paused: %v", r)
	case <-time.After(time.Second):
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	if r := <-ended; r.ExitCode != 5 {
		t.Errorf("%v", r)
	}
	if err := s.Pause(); err != nil { // Close ends what is paused too
		t.Fatal(err)
	}
}

func TestCgroupBoundsTheProcessorTimeOfALivingSandbox(t *testing.T) {
	s, _ := livingVictims(t, Limits{CPUTime: 500 * time.Millisecond})
	r, err := s.Run(t.Context(), Spec{Args: []string{"sh", "-c", "while :; do :; done"}})
	if err != nil || r.Ended != OutOfCPUTime {
		t.Errorf("%v, %v, want out of CPU time", r, err)
	}
}

func TestCgroupOfAPool(t *testing.T) {
	spec := victimSpec(t, "nothing")
	spec.Args = nil
	inCgroup(t, Limits{MemoryMax: 48 << 20, PidsMax: 20})(&spec)
	p := pool(t, spec, PoolOptions{Size: 2})
	for act, want := range map[string]Ending{"touch:256": OutOfMemory, "touch:8": Exited} {
		r, err := p.Run(t.Context(), Spec{Args: []string{victim.Path, act}})
		if err != nil || r.Ended != want {
			t.Errorf("%s: %v, %v, want %v", act, r, err, want)
			continue
		}
		if r.Usage.MemoryPeak <= 0 {
			t.Errorf("%s: a peak of %d bytes", act, r.Usage.MemoryPeak)
		}
	}
}

// Without a cgroup, what it would be needed for is an error that says so.
func TestLivingSandboxWithoutACgroup(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	s := living(t, Spec{})
	if err := s.Pause(); err == nil || !strings.Contains(err.Error(), "cgroup") {
		t.Errorf("Pause: %v", err)
	}
	r, err := living(t, Spec{Limits: Limits{CPUTime: 200 * time.Millisecond}, AllowMissing: []Feature{CPUTimeLimit}}).
		Run(t.Context(), Spec{Args: []string{"sh", "-c", "while :; do :; done"}})
	if err != nil || r.Ended != OutOfCPUTime {
		t.Errorf("%v, %v, want out of CPU time", r, err)
	}
}
