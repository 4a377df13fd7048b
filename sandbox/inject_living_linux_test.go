package sandbox

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringfence-go/ringfence/internal/image"
	"github.com/ringfence-go/ringfence/internal/plan"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// ownChildren returns the IDs of the processes that this program has started.
func ownChildren() []int {
	var all []int
	threads, _ := os.ReadDir("/proc/self/task")
	for _, thread := range threads {
		b, _ := os.ReadFile("/proc/self/task/" + thread.Name() + "/children")
		for _, field := range strings.Fields(string(b)) {
			var pid int
			if _, err := fmt.Sscan(field, &pid); err == nil {
				all = append(all, pid)
			}
		}
	}
	return all
}

// emptied waits until PID 1 of a sandbox has no child any more.
func emptied(pid int) error {
	for until := time.Now().Add(sandboxtest.Slow(3 * time.Second)); len(childrenOf(pid)) > 0; {
		if time.Now().After(until) {
			return fmt.Errorf("PID 1 has children: %v", childrenOf(pid))
		}
	}
	return nil
}

// joinTrials returns the plan of a command that joins s, and what tries a fault of it.
func joinTrials(t *testing.T, s *Sandbox, keeper int, mark *os.File) (*Plan, func(i int, f fault) *trial) {
	spec := faultSpec(mark)
	spec.Mounts = nil
	host, err := thisHost.get()
	if err == nil {
		err = s.complete(&spec)
	}
	if err != nil {
		t.Error(err)
		return nil, nil
	}
	r, err := s.keeper.plan.resolved.join(&spec, host)
	if err != nil {
		t.Error(err)
		return nil, nil
	}
	pl := &Plan{resolved: r, program: compileJoin(r)}
	return pl, func(i int, f fault) *trial {
		ctx, cancel := contextOf(f, pl.program.Ops[i])
		defer cancel()
		c := s.Command(ctx, spec)
		c.spec = spec
		k := try(c, r, pl.program, i, f, mark, s.joins)
		if err := emptied(keeper); err != nil {
			t.Errorf("%v%v", k, err)
		}
		return k
	}
}

// aKeeper is a sandbox that lives, and the ID of its PID 1.
func aKeeper(t *testing.T) (*Sandbox, int) {
	t.Helper()
	others := ownChildren()
	s := living(t, Spec{})
	for _, pid := range ownChildren() {
		if !slices.Contains(others, pid) {
			return s, pid
		}
	}
	t.Fatal("a sandbox without PID 1")
	return nil, 0
}

func TestEveryStepOfAJoinerFails(t *testing.T) {
	s, keeper := aKeeper(t)
	mark := markFile(t)
	underFaults(t, func() {
		if pl, do := joinTrials(t, s, keeper, mark); pl != nil {
			eachFault(t, pl.program, faultsOf, func(int) bool { return true }, do)
		}
	})
	in(t, s, "true")
}

// lastSteps says which steps of a program are not those of any run.
func lastSteps(p *plan.Program) func(i int) bool {
	first := slices.IndexFunc(p.Ops, func(op *plan.Op) bool { return op.Label == "keep PID 1 out of the command's reach" })
	if os.Getenv("RINGFENCE_FAULTS") == "all" {
		first = 0
	}
	return func(i int) bool {
		// Of a pool's candidates the second is the last that is one.
		label := p.Ops[i].Label
		return i >= first && (!strings.HasPrefix(label, "execute candidate ") || label <= "execute candidate 1")
	}
}

func TestEveryStepOfASandboxThatLivesFails(t *testing.T) {
	underFaults(t, func() {
		spec := Spec{}
		if err := validateKeeper(&spec); err != nil {
			t.Error(err)
			return
		}
		pl, err := compileAt(&spec, nil, placement{}, resolveLiving)
		if err != nil {
			t.Error(err)
			return
		}
		null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer null.Close()
		eachFault(t, pl.program, faultsOf, lastSteps(pl.program), func(i int, f fault) *trial {
			ctx, cancel := contextOf(f, pl.program.Ops[i])
			defer cancel()
			k := &trial{program: pl.program, step: i, fault: f}
			process, err := (&Plan{resolved: pl.resolved, program: f.with(pl.program, i)}).launch(ctx, []*os.File{null, null, null}, nil, nil)
			if k.start = err; err == nil {
				process.Discard()
				k.result, k.ran = &Result{Ended: Exited}, true // all that a start is for
			}
			return k
		})
	})
}

// poolTrials returns the plan of a pool, and what tries a fault of one of its sandboxes.
func poolTrials(t *testing.T, mark *os.File) (*Plan, func(i int, f fault) *trial) {
	spec, options := Spec{}, PoolOptions{Size: 2}
	if err := validatePool(&spec, &options); err != nil {
		t.Error(err)
		return nil, nil
	}
	pl, err := compilePooled(&spec, nil, placement{})
	if err != nil {
		t.Error(err)
		return nil, nil
	}
	command := faultSpec(mark)
	command.Mounts = nil
	return pl, func(i int, f fault) *trial {
		k := &trial{program: pl.program, step: i, fault: f}
		ctx, cancel := contextOf(f, pl.program.Ops[i])
		defer cancel()
		p := &Pool{spec: spec, options: options, plan: pl, free: make(chan struct{}, options.Size+1), ready: make(chan *pooled, options.Size)}
		p.ctx, p.cancel = context.WithCancel(ctx)
		// What has ended before there is a command for it is thrown away: then there is another.
		for _, program := range []*plan.Program{f.with(pl.program, i), pl.program} {
			img, inbox, err := image.BuildWaiting(program)
			if err != nil {
				k.start = err
				return k
			}
			p.image, p.inbox = img, inbox
			w := p.make()
			if w.err != nil {
				k.start = w.err
				break
			}
			p.ready <- w
		}
		if k.start == nil {
			c := p.Command(ctx, command)
			if k.start = c.Start(); k.start == nil {
				k.result, k.wait = c.Wait()
			} else {
				c.dead()
			}
		}
		if err := p.Close(); err != nil {
			t.Errorf("%v%v", k, err)
		}
		k.ran = marked(mark)
		op := pl.program.Ops[i]
		k.replaced = k.start == nil && k.wait == nil && k.ran && (op.Process != plan.Command || op.Call.Name == "recvmsg")
		return k
	}
}

func TestEveryStepOfAPooledSandboxFails(t *testing.T) {
	mark := markFile(t)
	underFaults(t, func() {
		if pl, do := poolTrials(t, mark); pl != nil {
			eachFault(t, pl.program, faultsOf, lastSteps(pl.program), do)
		}
	})
}
