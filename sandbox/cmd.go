//go:build linux

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/cgroup"
	"github.com/ringfence-go/ringfence/internal/launch"
)

// Cmd is a command in a sandbox of its own, in the manner of exec.Cmd. It is used once, and by one
// goroutine at a time, but for Signal, SignalAll, Kill, Pid, Stats, Pause, Resume, Resize and Update, which may be called at any
// time after Start.
type Cmd struct {
	ctx     context.Context
	spec    Spec
	streams streams
	began   time.Time
	plan    *Plan
	process *launch.Process // set once, by Start
	cell    *cell           // nil: it has no cgroup of its own
	keeps   bool            // it is no command, but what keeps a Sandbox
	in      *Sandbox        // where it runs; nil is a sandbox of its own
	on      *Host           // for which the plan is; nil is this machine
	pool    *Pool           // where its sandbox comes from; nil is none
	settle  func()          // what comes before the end of its cgroup; nil is nothing
	release func()          // what comes after the end; nil is nothing

	life context.Context    // until nothing runs any more
	dead context.CancelFunc // ends life

	mu       sync.Mutex
	cause    Ending          // why the sandbox was ended; 0 if it was not
	asked    bool            // the command got its StopSignal, and may end by itself
	killing  bool            // nothing may go on
	killed   chan struct{}   // closed when all has been told to end
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
// is killed at once, unless spec has a StopSignal.
func Command(ctx context.Context, spec Spec) *Cmd {
	c := &Cmd{ctx: ctx, spec: spec, ended: make(chan struct{}), killed: make(chan struct{})}
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
		return errNilContext
	}
	c.begun = true
	err := c.start()
	c.streams.closeOurs()
	if err != nil {
		c.streams.abandon()
	}
	return err
}

var errNilContext = errors.New("sandbox: a nil Context, or a Cmd that was not made by Command")

func (c *Cmd) start() error {
	c.began = time.Now()
	if err := c.ctx.Err(); err != nil {
		return err
	}
	if err := c.validate(); err != nil {
		return err
	}
	files, err := c.streams.open(&c.spec, func() { c.stop(OutputExceeded) })
	if err != nil {
		return &OpError{Index: -1, Op: "open the streams", Err: err}
	}
	err = c.launch(files)
	for range moreStarts {
		if err == nil || c.pool != nil || c.plan == nil || !c.plan.again(err, c.spec.AllowMissing) {
			break
		}
		err = c.launch(files) // nothing has run
	}
	if errors.Is(err, context.Canceled) && c.ctx.Err() != nil {
		return c.ctx.Err() // whatever context the start had
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

func (c *Cmd) validate() error {
	switch {
	case c.in != nil:
		return c.in.complete(&c.spec)
	case c.pool != nil:
		return c.pool.complete(&c.spec)
	case c.keeps:
		return validateKeeper(&c.spec)
	}
	return validate(&c.spec)
}

func (c *Cmd) mode() resolveMode {
	if c.keeps {
		return resolveLiving
	}
	return resolveRunning
}

// launch makes the plan and the cgroup, and starts the command in it.
func (c *Cmd) launch(files []*os.File) error {
	if c.in != nil {
		return c.in.launch(c, files)
	}
	if c.pool != nil {
		return c.pool.launch(c, files)
	}
	where, err := place(c.ctx, &c.spec)
	if err != nil {
		return err
	}
	if c.plan, err = compileAt(&c.spec, c.on, where, c.mode()); err != nil {
		return err
	}
	if c.cell, err = c.plan.newCell(c.ctx); err != nil {
		return err
	}
	ctx, cancel := c.starting()
	defer cancel()
	c.process, err = c.plan.launch(ctx, files, c.cell, nil)
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

// await waits for the end of everything, and reports whether PID 1 is left to its pool, or a joiner to its
// sandbox.
func (c *Cmd) await() (exit launch.Exit, lingers bool, err error) {
	if c.pool != nil || c.in != nil {
		return c.process.WaitReported()
	}
	exit, err = c.process.Wait()
	return exit, false, err
}

// clear removes what is left of the sandbox, and returns what its cgroup has counted.
func (c *Cmd) clear(lingers bool) (cgroup.Stats, error) {
	switch {
	case lingers && c.in != nil:
		c.in.bury(c.process)
		return cgroup.Stats{}, nil
	case lingers:
		used, err := c.cell.used()
		c.pool.bury(c.process, c.cell)
		return used, err
	case c.in != nil:
		c.in.joined.remove(c.process)
	}
	c.process.Close()
	if c.cell == nil {
		return cgroup.Stats{}, nil
	}
	if c.settle != nil {
		c.settle()
	}
	return c.cell.end()
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
	if c.release != nil {
		defer c.release()
	}
	exit, lingers, err := c.await()
	cause, oom := Ending(0), cgroup.OOM(0)
	if c.in != nil {
		cause, oom = c.in.left(&exit)
	}
	close(c.ended)
	c.dead()
	copyErr := c.streams.finish()
	c.watchers.Wait()
	c.uncollected = c.collect()
	used, cellErr := c.clear(lingers)
	err = errors.Join(err, cellErr)
	if c.cell != nil {
		oom = used.OOMKilled()
	}
	if own := c.over(); own != 0 {
		cause = own
	}
	r, verdictErr := verdict(&exit, cause, oom)
	if c.wasAsked() && (r.Ended == Exited || r.Ended == Signaled) {
		r.Ended = Canceled // how it did end is in the Result still
	}
	if r.Ended == Forbidden && r.Syscall == "" {
		r.Syscall = c.refused
	}
	r.Usage = usage(&exit, c.began, c.process.Started)
	if c.cell != nil {
		c.cell.count(&r.Usage, used)
	}
	r.Enforced, r.Missing = c.plan.resolved.enforced, slices.Clone(c.plan.resolved.missing)
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
