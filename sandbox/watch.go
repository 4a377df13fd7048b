//go:build linux

package sandbox

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/cgroup"
	"github.com/ringfence-go/ringfence/internal/launch"
)

// What ends a sandbox before its command ends by itself.

// watch starts everything that may end the sandbox before the command ends by itself.
func (c *Cmd) watch() {
	limits := &c.spec.Limits
	var timeout <-chan time.Time
	timer := (*time.Timer)(nil)
	if limits.WallTime > 0 && !c.keeps {
		timer = time.NewTimer(limits.WallTime - time.Since(c.process.Started))
		timeout = timer.C
	}
	if timer != nil || c.ctx.Done() != nil {
		c.watchers.Go(func() {
			select {
			case <-c.ctx.Done():
				c.cancel(timeout)
			case <-timeout:
				c.stop(TimedOut)
			case <-c.ended:
			}
			if timer != nil {
				timer.Stop()
			}
		})
	}
	if c.plan.resolved.watchCPU {
		w := cpuWatch{proc: c.process.Extra()[0], limit: limits.CPUTime}
		c.watchers.Go(func() {
			if w.exceeded(c.ended) {
				c.stop(OutOfCPUTime)
			}
		})
	}
	c.watchCell()
	if listener := c.process.Listener(); listener != nil {
		s := &supervision{listener: listener, policy: c.plan.resolved.filter.policy, arch: c.plan.resolved.facts.Arch, answer: c.spec.Supervisor, forbid: c.forbid, outlived: c.in != nil}
		// The command is killed before its Supervisors hear of the caller's end: what they answer then must
		// not let it go on, and end as if nothing had been.
		ctx, cancel := context.WithCancel(context.WithoutCancel(c.ctx))
		c.watchers.Go(func() {
			defer cancel()
			select {
			case <-c.killed:
			case <-c.ended:
			}
		})
		c.watchers.Go(func() {
			if err := s.serve(ctx, c.ended); err != nil {
				c.fail("receive a call", err)
			}
		})
	}
}

// watchCell watches what the sandbox's cgroup counts.
func (c *Cmd) watchCell() {
	if c.cell == nil {
		return
	}
	c.watchers.Go(func() { c.cell.sample(c.life) })
	if limit := c.spec.Limits.CPUTime; limit > 0 {
		c.watchers.Go(func() {
			switch err := c.cell.leaf.AwaitCPUTime(c.life, limit); {
			case err == nil:
				c.stop(OutOfCPUTime)
			case c.life.Err() == nil && !errors.Is(err, cgroup.ErrRemoved):
				c.fail("watch the processor time", err)
			}
		})
	}
}

// fail ends the sandbox since it cannot be held any more as the Spec says.
func (c *Cmd) fail(op string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.claim(Canceled) {
		if !c.asked {
			c.failure = &OpError{Index: -1, Op: op, Err: err}
		}
		c.end()
	}
}

// forbid ends the sandbox for a call.
func (c *Cmd) forbid(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.claim(Forbidden) {
		c.cause, c.refused = Forbidden, name // of a command that was asked to end, too
		c.end()
	}
}

// stopGrace is how long PID 1 has to kill everything and to count what was used, once the command was
// killed. After that it is killed too, and what was used is not known.
const stopGrace = time.Second

// stop ends the sandbox for a reason; the first one counts. Output may be too much before Start has
// returned: what is not running yet is ended by begin.
func (c *Cmd) stop(cause Ending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.claim(cause) {
		c.end()
	}
}

// begin says that the sandbox runs.
func (c *Cmd) begin(p *launch.Process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = p
	if c.cause != 0 {
		c.end()
	}
}

// end ends what runs. c.mu is held.
func (c *Cmd) end() {
	if c.running == nil {
		return
	}
	p := c.running
	c.killing = true
	defer close(c.killed)
	if c.keeps {
		_ = p.Kill() // it may have ended
		return
	}
	if c.paused {
		// PID 1 stands still too, and would not count.
		_ = c.cell.leaf.Kill(context.Background()) // or else PID 1 is killed below
	}
	c.force = time.AfterFunc(stopGrace, func() { _ = p.Kill() })
	if err := p.Signal(unix.SIGKILL); err != nil && !errors.Is(err, launch.ErrEnded) {
		_ = p.Kill() // the host hides the command, in a /proc with hidepid: end all, and count nothing
	}
}

// over says that nothing runs any more, and returns why the sandbox was ended; 0 if it was not.
func (c *Cmd) over() Ending {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.force != nil {
		c.force.Stop()
	}
	return c.cause
}
