package sandbox

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/plan"
)

// killedAt is a process that is killed at the step. By default one step of three is taken.
func killedAt(p *plan.Program, i int) []fault {
	name := p.Ops[i].Call.Name
	if os.Getenv("RINGFENCE_FAULTS") == "all" || p.Ops[i].Process != plan.Init || name == "clone3" || i > commandFork(p) || i%3 == 0 {
		if name != "rt_sigaction" || i%16 == 0 {
			return []fault{killed}
		}
	}
	return nil
}

// withoutCores keeps the kernel from writing core files: of a limit of 1 it takes even a pipe for refused
// (core(5)).
func withoutCores(t *testing.T) {
	t.Helper()
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &was); err != nil {
		t.Fatal(err)
	}
	low := was
	low.Cur = min(1, was.Max)
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &low); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Setrlimit(unix.RLIMIT_CORE, &was); err != nil {
			t.Error(err)
		}
	})
}

func TestWhoIsKilledAtAStepLeavesNothing(t *testing.T) {
	withoutCores(t)
	mark := markFile(t)
	s, keeper := aKeeper(t)
	all := func(int) bool { return true }
	underFaults(t, func() {
		if pl, do := runTrials(t, faultSpec(mark), mark); pl != nil {
			eachFault(t, pl.program, killedAt, all, do)
		}
		if pl, do := joinTrials(t, s, keeper, mark); pl != nil {
			eachFault(t, pl.program, killedAt, all, do)
		}
		if pl, do := poolTrials(t, mark); pl != nil {
			eachFault(t, pl.program, killedAt, lastSteps(pl.program), do)
		}
	})
	in(t, s, "true")
}

// asleep returns a process of the set-up that sleeps at a step of this kind; 0 is none.
func asleep(process plan.Process, others map[int]bool) int {
	for _, pid := range ownChildren() {
		if others[pid] {
			continue
		}
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		_, ids, _ := strings.Cut(string(status), "NSpid:")
		ids, _, _ = strings.Cut(ids, "\n")
		if inside := len(strings.Fields(ids)) > 1; inside != (process == plan.Init || process == plan.Command) && process != plan.Command {
			continue
		}
		if process == plan.Command {
			children := childrenOf(pid)
			if len(children) == 0 {
				continue
			}
			pid = children[0]
			status, _ = os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		}
		if strings.Contains(string(status), "State:\tS") {
			return pid
		}
	}
	return 0
}

// stopAndKill waits for a process that sleeps, and stops and kills it, until done is closed. That a process sleeps
// somewhere else for a moment does no harm: wherever it is killed, the same must come of it.
func stopAndKill(process plan.Process, others map[int]bool, done <-chan struct{}) {
	stopped := 0
	for {
		select {
		case <-done:
			return
		default:
		}
		if stopped == 0 {
			if stopped = asleep(process, others); stopped != 0 {
				_ = unix.Kill(stopped, unix.SIGSTOP) // it may have ended
			}
			continue
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", stopped))
		if err != nil || !strings.Contains(string(status), "State:\tS") && !strings.Contains(string(status), "State:\tR") {
			_ = unix.Kill(stopped, unix.SIGKILL) // it stands still, or has ended
			return
		}
	}
}

func TestWhoIsStoppedAndKilledAtAStepLeavesNothing(t *testing.T) {
	mark := markFile(t)
	s, keeper := aKeeper(t)
	some := func(p *plan.Program, i int) []fault {
		if p.Ops[i].Process == plan.Witness || filtered(p, i) || p.Ops[i].Kind == plan.Fork {
			return nil // a filter allows no sleep there; and a child that was not made has no program
		}
		if os.Getenv("RINGFENCE_FAULTS") == "all" || p.Ops[i].Process == plan.Command || i%12 == 0 {
			return []fault{stuck}
		}
		return nil
	}
	stop := func(p *plan.Program, do func(i int, f fault) *trial) func(i int, f fault) *trial {
		return func(i int, f fault) *trial {
			if f.name != stuck.name {
				return do(i, f)
			}
			others := map[int]bool{}
			for _, pid := range ownChildren() {
				others[pid] = true
			}
			done, gone := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(gone)
				stopAndKill(p.Ops[i].Process, others, done)
			}()
			k := do(i, f)
			close(done)
			<-gone
			k.fault.name = killed.name
			return k
		}
	}
	underFaults(t, func() {
		all := func(int) bool { return true }
		if pl, do := runTrials(t, faultSpec(mark), mark); pl != nil {
			eachFault(t, pl.program, some, all, stop(pl.program, do))
		}
		if pl, do := joinTrials(t, s, keeper, mark); pl != nil {
			eachFault(t, pl.program, some, all, stop(pl.program, do))
		}
	})
	in(t, s, "true")
}
