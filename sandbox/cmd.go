//go:build linux

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/cgroup"
	"github.com/ringfence-go/ringfence/internal/launch"
)

// Cmd is a command in a sandbox of its own, in the manner of exec.Cmd. It is used once, and by one
// goroutine at a time, but for Signal, Kill, Pid, Stats, Pause, Resume, Resize and Update, which may be called at any
// time after Start.
type Cmd struct {
	ctx     context.Context
	spec    Spec
	streams streams
	began   time.Time
	plan    *Plan
	process *launch.Process // set once, by Start
	cell    *cell           // nil: it has no cgroup of its own

	life context.Context    // until nothing runs any more
	dead context.CancelFunc // ends life

	mu       sync.Mutex
	cause    Ending          // why the sandbox was ended; 0 if it was not
	refused  string          // the call, where the cause is Forbidden
	failure  error           // of what held the sandbox, where that is why it was ended
	running  *launch.Process // what stop ends; nil before the start
	paused   bool            // its processes stand still
	force    *time.Timer     // ends PID 1, if it does not end by itself
	ended    chan struct{}   // closed by Wait: nothing is left to watch
	watchers sync.WaitGroup
	begun    bool // Start was called
	waited   bool // Wait was called

	uncollected error // of what Spec.Collect asks for
}

// Command returns the Cmd that runs spec. If ctx ends before the command does, everything in the sandbox
// is killed at once.
func Command(ctx context.Context, spec Spec) *Cmd {
	c := &Cmd{ctx: ctx, spec: spec, ended: make(chan struct{})}
	c.life, c.dead = context.WithCancel(context.Background())
	return c
}

// Start starts the command and returns once it was executed. An error is as from Run, and then nothing
// was started; Wait must be called if there is none.
func (c *Cmd) Start() error {
	if c.begun {
		return errors.New("sandbox: Start was called before")
	}
	if c.ctx == nil {
		return errors.New("sandbox: Start of a Cmd that was not made by Command, or with a nil Context")
	}
	c.begun = true
	err := c.start()
	c.streams.closeOurs()
	if err != nil {
		c.streams.abandon()
	}
	return err
}

func (c *Cmd) start() error {
	c.began = time.Now()
	if err := c.ctx.Err(); err != nil {
		return err
	}
	if err := validate(&c.spec); err != nil {
		return err
	}
	files, err := c.streams.open(&c.spec, func() { c.stop(OutputExceeded) })
	if err != nil {
		return &OpError{Index: -1, Op: "open the streams", Err: err}
	}
	err = c.launch(files)
	if c.plan != nil && c.plan.again(err) {
		err = c.launch(files) // nothing has run
	}
	if err != nil {
		return err
	}
	c.begin(c.process)
	if master := c.master(); master != nil {
		c.streams.attach(master, &c.spec, func() { c.stop(OutputExceeded) })
	}
	c.streams.copy()
	c.watch()
	return nil
}

// launch makes the plan and the cgroup, and starts the command in it.
func (c *Cmd) launch(files []*os.File) error {
	where, err := place(c.ctx, &c.spec)
	if err != nil {
		return err
	}
	if c.plan, err = compileAt(&c.spec, nil, where); err != nil {
		return err
	}
	if c.cell, err = c.plan.newCell(c.ctx); err != nil {
		return err
	}
	c.process, err = c.plan.launch(c.ctx, files, c.cell)
	if err == nil {
		if err = c.cell.started(); err == nil {
			return nil
		}
		_ = c.process.Kill() // it may have ended
		_, _ = c.process.Wait()
		c.process.Close()
		c.process = nil
	}
	if left := c.cell.remove(); left != nil {
		return errors.Join(err, left)
	}
	return err
}

// watch starts everything that may end the sandbox before the command ends by itself.
func (c *Cmd) watch() {
	limits := &c.spec.Limits
	var timeout <-chan time.Time
	timer := (*time.Timer)(nil)
	if limits.WallTime > 0 {
		timer = time.NewTimer(limits.WallTime - time.Since(c.process.Started))
		timeout = timer.C
	}
	if timer != nil || c.ctx.Done() != nil {
		c.watchers.Go(func() {
			select {
			case <-c.ctx.Done():
				c.stop(Canceled)
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
		s := &supervision{listener: listener, policy: c.plan.resolved.filter.policy, arch: c.plan.resolved.facts.Arch, answer: c.spec.Supervisor, forbid: c.forbid}
		// The command is killed before its Supervisors hear of the caller's end: what they answer then must
		// not let it go on, and end as if nothing had been.
		ctx, cancel := context.WithCancel(context.WithoutCancel(c.ctx))
		c.watchers.Go(func() {
			defer cancel()
			select {
			case <-c.ctx.Done():
				c.stop(Canceled)
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
	if c.cause == 0 {
		c.cause, c.failure = Canceled, &OpError{Index: -1, Op: op, Err: err}
		c.end()
	}
}

// forbid ends the sandbox for a call.
func (c *Cmd) forbid(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == 0 {
		c.cause, c.refused = Forbidden, name
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
	if c.cause == 0 {
		c.cause = cause
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

// wait is Wait, without the errors of Spec.Collect.
func (c *Cmd) wait() (*Result, error) {
	if c.process == nil {
		return nil, errors.New("sandbox: Wait without a successful Start")
	}
	if c.waited {
		return nil, errors.New("sandbox: Wait was called before")
	}
	c.waited = true
	exit, err := c.process.Wait()
	close(c.ended)
	c.dead()
	copyErr := c.streams.finish()
	c.watchers.Wait()
	c.uncollected = c.collect()
	c.process.Close()
	var used cgroup.Stats
	if c.cell != nil {
		var cellErr error
		used, cellErr = c.cell.end()
		err = errors.Join(err, cellErr)
	}
	r, verdictErr := verdict(&exit, c.over(), used.OOMKilled())
	if r.Ended == Forbidden && r.Syscall == "" {
		r.Syscall = c.refused
	}
	r.Usage = usage(&exit, c.began, c.process.Started)
	if c.cell != nil {
		c.cell.count(&r.Usage, used)
	}
	r.Enforced, r.Missing = c.plan.resolved.enforced, c.plan.resolved.missing
	switch {
	case err != nil:
		return &r, &OpError{Index: -1, Op: "wait for the sandbox", Err: err}
	case r.Ended == Canceled && c.failure != nil:
		return &r, c.failure
	case r.Ended == Canceled && c.ctx.Err() != nil:
		return &r, c.ctx.Err()
	case verdictErr != nil:
		return &r, verdictErr
	}
	return &r, copyErr
}

// Signal sends a signal to the command, and to nothing else in the sandbox. os.ErrProcessDone says that
// it has ended.
func (c *Cmd) Signal(sig os.Signal) error {
	number, ok := sig.(syscall.Signal)
	if !ok {
		return fmt.Errorf("sandbox: signal %v: %w", sig, errors.ErrUnsupported)
	}
	if c.process == nil {
		return errors.New("sandbox: Signal before a successful Start")
	}
	return c.process.Signal(unix.Signal(number))
}

// Kill ends everything in the sandbox at once. The Result's ending is Canceled.
func (c *Cmd) Kill() error {
	if c.process == nil {
		return errors.New("sandbox: Kill before a successful Start")
	}
	c.stop(Canceled)
	return nil
}

// Pid returns the command's process ID as the caller sees it; 0 before the start and after the end.
func (c *Cmd) Pid() int {
	if c.process == nil {
		return 0
	}
	return c.process.PID()
}
