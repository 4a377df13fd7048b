//go:build linux

package sandbox

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/ringfence-go/ringfence/internal/cgroup"
	"github.com/ringfence-go/ringfence/internal/launch"
)

// Sandbox is a sandbox that lives: any number of commands can be started in it, one after the other and at the
// same time. They share its processes, files, network and limits: what one command leaves behind, the next one
// finds. Its methods may be called by many goroutines.
type Sandbox struct {
	keeper *Cmd // PID 1, and what holds everything: the limits, the cgroup, the context

	mu        sync.RWMutex // held for reading by who starts a command
	terminals *os.File     // its devpts
	joins     []*os.File   // the namespaces, in the order of namespaceKinds; nil once it has ended
	root      *os.File     // the directory that is / inside, with O_PATH
	joined    joinedSet    // the commands that run

	ended  chan struct{} // closed when nothing is left
	result *Result
	err    error
}

// joinedSet holds processes whose joiners have not ended yet.
type joinedSet struct {
	mu     sync.Mutex
	all    map[*launch.Process]bool
	closed bool           // nobody waits for buried any more
	buried sync.WaitGroup // joiners whose command has ended
}

func (j *joinedSet) remove(p *launch.Process) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.all, p)
}

// New makes a sandbox without a command: namespaces, file systems and cgroup, kept until Close, or until ctx
// or this program ends. Of spec the fields of a command must be zero, but for those that its commands take
// over where they have none of their own: Env, Dir, User, StopSignal and StopTimeout, and of Limits WallTime, OutputMax and Rlimits. The
// other limits are those of all commands together; each that runs counts as one process more for PidsMax.
//
// The errors are those of Run before a start. The Sandbox must be closed.
func New(ctx context.Context, spec Spec) (*Sandbox, error) {
	c := Command(ctx, spec)
	c.keeps = true
	if err := c.Start(); err != nil {
		return nil, err
	}
	s := &Sandbox{keeper: c, ended: make(chan struct{})}
	s.joined.all = map[*launch.Process]bool{}
	held := c.process.TakeExtra(c.plan.resolved.firstHeld())
	n := len(c.plan.resolved.namespaceKinds())
	s.joins, s.terminals, s.root = held[:n], held[n], held[n+1]
	c.settle = s.settle
	go s.wait() // it ends when PID 1 has, for which Close waits
	return s, nil
}

// wait sees PID 1 to its end, and closes what the sandbox has open.
func (s *Sandbox) wait() {
	s.result, s.err = s.keeper.Wait()
	s.joined.mu.Lock()
	s.joined.closed = true
	s.joined.mu.Unlock()
	s.joined.buried.Wait() // they end with what they reap
	s.mu.Lock()
	for _, f := range s.joins {
		f.Close()
	}
	s.terminals.Close()
	s.root.Close()
	s.joins = nil
	s.mu.Unlock()
	close(s.ended)
}

// settle lets the joiners tell how their commands have ended, now that all have: those are in the cgroup,
// which goes next.
func (s *Sandbox) settle() {
	s.joined.mu.Lock()
	all := slices.Collect(maps.Keys(s.joined.all))
	s.joined.mu.Unlock()
	until := time.Now().Add(stopGrace)
	for _, p := range all {
		p.AwaitEnd(time.Until(until))
	}
}

// bury sees a joiner to its end. It ends with its command, unless that has made it the parent of others.
func (s *Sandbox) bury(p *launch.Process) {
	end := func() {
		p.Bury()
		s.joined.remove(p)
	}
	s.joined.mu.Lock()
	closed := s.joined.closed
	if !closed {
		s.joined.buried.Go(end)
	}
	s.joined.mu.Unlock()
	if closed {
		end()
	}
}

// Close kills everything in the sandbox and removes it. Commands that run end as Canceled. What goes wrong
// with the removal is an *OpError; to close it again does nothing.
func (s *Sandbox) Close() error {
	s.keeper.stop(Canceled)
	<-s.ended
	if s.err != nil && s.keeper.ctx.Err() != nil && errors.Is(s.err, s.keeper.ctx.Err()) {
		return nil
	}
	return s.err
}

// Done returns a channel that is closed when the sandbox has ended, for whatever reason.
func (s *Sandbox) Done() <-chan struct{} { return s.ended }

// Run runs a command in the sandbox and waits for its end: see Command, and Run of the package.
func (s *Sandbox) Run(ctx context.Context, spec Spec) (*Result, error) {
	c := s.Command(ctx, spec)
	if err := c.Start(); err != nil {
		return nil, err
	}
	return c.Wait()
}

// Command returns the Cmd that runs a command in the sandbox. Of spec only the command's own fields may be set:
// Args, Env, Dir, Stdin, Stdout, Stderr, ExtraFiles, Terminal, User, StopSignal, StopTimeout, and of Limits WallTime,
// OutputMax and Rlimits; others are a *SpecError. Everything else is as New was told, and where a field is zero, that
// of New's Spec counts. The home directory and what Mounts make for the User stay those of New's.
//
// If ctx ends before the command does, the command is killed. What it has left behind in the sandbox goes on,
// as after its own end, until the sandbox ends; Wait does not wait for that, nor for output that it may still
// write. A call for which the filter kills ends the command and the process that made it; other processes
// that the command has left behind get ENOSYS for such a call from then on.
//
// The commands of a sandbox trust each other: what runs there may stop or kill one that is about to be executed.
// WallTime and ctx bound Start too.
//
// Start fails with ErrEnded once the sandbox has ended. Stats, Pause, Resume and Update are the Sandbox's.
func (s *Sandbox) Command(ctx context.Context, spec Spec) *Cmd {
	c := Command(ctx, spec)
	c.in = s
	return c
}

// Pause stops every process in the sandbox: see Cmd.Pause. Commands cannot be started until Resume.
func (s *Sandbox) Pause() error { return s.keeper.Pause() }

// Resume lets a paused sandbox go on.
func (s *Sandbox) Resume() error { return s.keeper.Resume() }

// Stats returns what the sandbox has used so far and uses now: see Cmd.Stats.
func (s *Sandbox) Stats() (*Stats, error) { return s.keeper.Stats() }

// Update changes the limits that the sandbox's cgroup holds: see Cmd.Update.
func (s *Sandbox) Update(limits Limits) error { return s.keeper.Update(limits) }

// left tells why a command has ended that did not end by itself: 0 if the sandbox has nothing to do with it.
func (s *Sandbox) left(exit *launch.Exit) (Ending, cgroup.OOM) {
	if exit.Reported && !(exit.Status.Signaled() && exit.Status.Signal() == killSignal) {
		return 0, cgroup.NoOOM
	}
	k := s.keeper
	k.mu.Lock()
	cause := k.cause
	k.mu.Unlock()
	if cause != 0 || k.cell == nil {
		return cause, cgroup.NoOOM
	}
	if stats, err := k.cell.leaf.Stats(); err == nil {
		return 0, stats.OOMKilled()
	}
	<-s.ended // the cgroup is gone, and PID 1 before it
	if s.result.Ended == OutOfMemory {
		return 0, cgroup.OOMByLimit
	}
	return 0, cgroup.NoOOM
}

// SignalAll sends a signal to every process of the sandbox but PID 1: see Cmd.SignalAll.
func (s *Sandbox) SignalAll(sig os.Signal) error {
	// The commands are no children of PID 1, who is given what they leave behind.
	errs := []error{s.keeper.SignalAll(sig)}
	s.joined.mu.Lock()
	defer s.joined.mu.Unlock()
	for p := range s.joined.all {
		number, ok := sig.(syscall.Signal)
		if !ok {
			break // which the first error says
		}
		if err := p.SignalAll(number); !errors.Is(err, launch.ErrEnded) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
