//go:build linux

package sandbox

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/ringfence-go/ringfence/internal/cgroup"
)

// cell is the cgroup of a running sandbox.
type cell struct {
	tree     *cgroup.Tree
	leaf     *cgroup.Leaf
	limits   cgroup.Limits // that the command has at first
	overhead int64         // tasks that are not the command's

	mu       sync.Mutex
	sampled  cgroup.Peaks    // what was seen where the kernel keeps no peaks; Unknown until that is over
	estimate cgroup.Estimate // what the limits tell of them
}

// removePatience bounds the wait for what cannot be killed at once, such as a process that waits for a
// disk. What is left then is there until ReleaseCgroups, or the first start of another program after this one.
const removePatience = 10 * time.Second

// newCell makes the cgroup of a plan; nil is none.
func (p *Plan) newCell(ctx context.Context) (*cell, error) {
	tree := p.resolved.placement.tree
	if tree == nil {
		return nil, nil
	}
	limits := p.resolved.limits
	if limits.PidsMax > 0 {
		limits.PidsMax++ // the stub
	}
	leaf, err := tree.New(ctx, limits)
	if err != nil {
		return nil, cgroupError("make the sandbox's cgroup", err)
	}
	none := cgroup.Peaks{Memory: cgroup.Unknown, Pids: cgroup.Unknown}
	return &cell{tree: tree, leaf: leaf, limits: p.resolved.limits, overhead: p.resolved.overhead(),
		sampled: none, estimate: cgroup.NewEstimate(p.resolved.limits)}, nil
}

// cgroupError is the error of an operation on the sandbox's cgroup.
func cgroupError(op string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if errors.Is(err, cgroup.ErrRemoved) {
		err = errors.Join(os.ErrProcessDone, err)
	}
	e := &OpError{Index: -1, Op: op, Err: err}
	var own *cgroup.Error
	if errors.As(err, &own) {
		e.Remedy = own.Remedy
	}
	return e
}

// started says that the set-up is over: what was there for it alone may be used no more. Whoever starts
// a second sandbox starts a third: the cgroup of that is made while this one runs.
func (c *cell) started() error {
	if c == nil {
		return nil
	}
	ahead := c.limits
	if c.limits.PidsMax > 0 {
		ahead.PidsMax++ // as in newCell
		if err := c.leaf.Update(c.limits); err != nil && !errors.Is(err, cgroup.ErrRemoved) {
			return cgroupError("limit the number of processes", err)
		}
		// Of what ReleaseCgroups has killed, Wait tells.
	}
	c.tree.Ahead(ahead)
	return nil
}

// end reads what was used and removes the cgroup, with whatever may still be in it. Of a sandbox that
// ReleaseCgroups has killed nothing is known.
func (c *cell) end() (cgroup.Stats, error) {
	stats, err := c.used()
	return stats, errors.Join(err, c.remove())
}

// used reads what was used.
func (c *cell) used() (cgroup.Stats, error) {
	if c == nil {
		return cgroup.Stats{}, nil
	}
	stats, err := c.leaf.Used()
	if errors.Is(err, cgroup.ErrRemoved) {
		err = nil
	}
	return stats, cgroupError("read the sandbox's cgroup", err)
}

// update puts other limits in force.
func (c *cell) update(limits cgroup.Limits) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, err := c.leaf.Stats()
	if err == nil {
		err = c.leaf.Update(limits)
	}
	if err != nil {
		return err
	}
	after, err := c.leaf.Stats()
	if err != nil {
		return err
	}
	c.estimate = c.estimate.Update(limits, before, after)
	return nil
}

func (c *cell) remove() error {
	if c == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), removePatience)
	defer cancel()
	return cgroupError("remove the sandbox's cgroup", c.leaf.Remove(ctx))
}

// sample looks for peaks until ctx ends, where the kernel keeps none.
func (c *cell) sample(ctx context.Context) {
	peaks := c.leaf.SamplePeaks(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sampled = peaks
}

// count puts what the cgroup has counted into a Usage. What it has not stays as it is.
func (c *cell) count(u *Usage, s cgroup.Stats) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, sampled := c.estimate.Complete(s, c.sampled)
	if s.CPU.User != cgroup.Unknown {
		u.User, u.System = s.CPU.User, s.CPU.System
	}
	if s.Memory.Peak != cgroup.Unknown {
		u.MemoryPeak = s.Memory.Peak
	}
	u.Throttled, u.SwapPeak, u.Sampled = s.CPU.Throttled, s.Memory.SwapPeak, sampled
	u.PidsPeak, u.PidsMaxEvents = c.own(s.Pids.Peak), s.Pids.MaxEvents
	io := s.TotalIO()
	u.ReadBytes, u.WriteBytes, u.ReadOps, u.WriteOps = io.ReadBytes, io.WriteBytes, io.ReadOps, io.WriteOps
	u.CPUPressure, u.MemoryPressure, u.IOPressure = s.CPUPressure.Some, s.MemoryPressure.Some, s.IOPressure.Some
}

// own takes the sandbox's own processes from a number of tasks.
func (c *cell) own(n int64) int64 {
	if n == cgroup.Unknown {
		return n
	}
	return max(n-c.overhead, 0)
}

// Stats returns what the sandbox has used so far and uses now. It needs a cgroup: see Spec.Cgroup. Without
// one the error is an *UnsupportedError; after the end it matches os.ErrProcessDone.
func (c *Cmd) Stats() (*Stats, error) {
	leaf, err := c.cgroup()
	if err != nil {
		return nil, err
	}
	s, err := leaf.Stats()
	if err != nil {
		return nil, cgroupError("read the sandbox's cgroup", err)
	}
	r := &Stats{Usage: unknownUsage(), Memory: s.Memory.Current, Swap: s.Memory.SwapCurrent, Pids: c.cell.own(s.Pids.Current)}
	r.Wall, r.Setup = time.Since(c.process.Started), c.process.Started.Sub(c.began)
	c.cell.count(&r.Usage, s)
	return r, nil
}

// Pause stops every process of the sandbox, and returns when they stand still; WallTime goes on. A call that is
// with a Supervisor is waited for: the Supervisor itself may not call Pause. The errors are those of Stats.
func (c *Cmd) Pause() error { return c.freeze("pause the sandbox", true, (*cgroup.Leaf).Pause) }

// Resume lets a paused sandbox go on. The errors are those of Stats.
func (c *Cmd) Resume() error { return c.freeze("resume the sandbox", false, (*cgroup.Leaf).Resume) }

func (c *Cmd) freeze(op string, paused bool, do func(*cgroup.Leaf, context.Context) error) error {
	leaf, err := c.cgroup()
	if err != nil {
		return err
	}
	// Noted before: what ends the sandbox meanwhile must know.
	c.mu.Lock()
	c.paused = c.paused || paused
	c.mu.Unlock()
	if err := do(leaf, c.life); err != nil {
		if c.life.Err() != nil {
			err = os.ErrProcessDone
		}
		return cgroupError(op, err)
	}
	c.mu.Lock()
	c.paused = paused
	c.mu.Unlock()
	return nil
}

// Update changes the limits that the sandbox's cgroup holds, while it runs: what is zero is no longer
// limited. The other fields of limits must be those of the Spec. The errors are those of Stats, a
// *SpecError, or an *UnsupportedError for a limit whose controller the cgroup lacks.
func (c *Cmd) Update(limits Limits) error {
	f := &faults{}
	validateLimits(f, &limits)
	own := &c.spec.Limits
	if limits.WallTime != own.WallTime || limits.CPUTime != own.CPUTime || limits.OutputMax != own.OutputMax || !slices.Equal(limits.Rlimits, own.Rlimits) {
		f.add("Limits", "WallTime, CPUTime, OutputMax and Rlimits cannot change while the command runs")
	}
	if err := f.err(); err != nil {
		return err
	}
	if _, err := c.cgroup(); err != nil {
		return err
	}
	where := c.plan.resolved.placement
	for _, l := range cgroupLimits {
		if l.asked(&limits) && !where.has(l.controller) {
			return where.unplaced(l.feature, l.controller)
		}
	}
	changed, err := limitsOf(&limits, where, c.cell.overhead)
	if err != nil {
		return err
	}
	return cgroupError("change the limits", c.cell.update(changed))
}

// cgroup returns the cgroup of what runs.
func (c *Cmd) cgroup() (*cgroup.Leaf, error) {
	switch {
	case c.process == nil:
		return nil, errors.New("sandbox: not started")
	case c.in != nil:
		return nil, errors.New("sandbox: a command in a Sandbox has no cgroup of its own: ask the Sandbox")
	case c.cell == nil:
		return nil, &UnsupportedError{Feature: Cgroup, Needs: "a sandbox with a cgroup", Remedy: "set Spec.Cgroup.Always, or a limit that needs one"}
	}
	return c.cell.leaf, nil
}
