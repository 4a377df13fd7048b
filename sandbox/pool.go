//go:build linux

package sandbox

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/image"
	"github.com/ringfence-go/ringfence/internal/launch"
)

// Pool keeps sandboxes ready that were set up ahead, each for one command. Its methods may be called by many
// goroutines.
type Pool struct {
	spec    Spec
	options PoolOptions
	plan    *Plan
	image   []byte
	inbox   uint64 // its address in the image

	ctx     context.Context // of NewPool, until Close
	cancel  context.CancelFunc
	free    chan struct{} // a value for each sandbox that may be made
	ready   chan *pooled
	running chan struct{} // a value for each command that runs; nil is no limit
	makers  sync.WaitGroup

	buried sync.WaitGroup // sandboxes whose command has ended

	mu      sync.Mutex
	closed  bool
	failed  error       // to remove
	waiting int         // commands that wait for a sandbox
	parked  int         // sandboxes that are not made before the next command
	idle    *time.Timer // nil: they are kept for ever
}

// pooled is a sandbox that waits for its command, or why there is none.
type pooled struct {
	process *launch.Process
	cell    *cell
	err     error
}

// NewPool makes a pool of sandboxes for spec, whose command's fields must be zero: see New for them and for
// what commands take over. The first sandbox is made at once, so that a Spec or a host that cannot work is an
// error here, as from Run before a start. The Pool ends with ctx, and must be closed.
//
// A policy that allows one execve alone (seccomp.LaunchWindow) is a *SpecError: the path of the command must
// be known before.
func NewPool(ctx context.Context, spec Spec, options PoolOptions) (*Pool, error) {
	if ctx == nil {
		return nil, errNilContext
	}
	if err := validatePool(&spec, &options); err != nil {
		return nil, err
	}
	p := &Pool{spec: spec, options: options}
	p.ctx, p.cancel = context.WithCancel(ctx)
	meetListener(p.ctx)
	first, err := p.begin()
	for range moreStarts {
		if err == nil || p.plan == nil || !p.plan.again(err, spec.AllowMissing) {
			break
		}
		first, err = p.begin()
	}
	if err != nil {
		p.cancel()
		return nil, err
	}
	p.free, p.ready = make(chan struct{}, options.Size), make(chan *pooled, options.Size)
	if options.Running > 0 {
		p.running = make(chan struct{}, options.Running)
	}
	p.ready <- first
	for range options.Size - 1 {
		p.free <- struct{}{}
	}
	for range makers(options.Size) {
		p.makers.Go(p.fill)
	}
	if options.Idle > 0 {
		p.mu.Lock()
		p.idle = time.AfterFunc(options.Idle, p.park)
		p.mu.Unlock()
	}
	return p, nil
}

// begin makes the plan, and the first sandbox by it.
func (p *Pool) begin() (*pooled, error) {
	where, err := place(p.ctx, &p.spec)
	if err != nil {
		return nil, err
	}
	if p.plan, err = compilePooled(&p.spec, nil, where); err != nil {
		return nil, err
	}
	if p.image, p.inbox, err = image.BuildWaiting(p.plan.program); err != nil {
		return nil, &OpError{Index: -1, Op: "build the set-up image", Err: err}
	}
	first := p.make()
	return first, first.err
}

// fill makes sandboxes until the pool is closed.
func (p *Pool) fill() {
	for {
		select {
		case <-p.free:
			p.ready <- p.make() // there is room for as many as are free
		case <-p.ctx.Done():
			return
		}
	}
}

// make sets a sandbox up as far as can be done without a command.
func (p *Pool) make() *pooled {
	in, err := p.plan.newCell(p.ctx)
	if err != nil {
		return &pooled{err: err}
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return &pooled{err: errors.Join(&OpError{Index: -1, Op: "open the streams", Err: err}, in.remove())}
	}
	defer null.Close()
	process, err := p.plan.launchImage(p.ctx, p.image, []*os.File{null, null, null}, in, nil)
	if err == nil {
		if err = in.started(); err == nil {
			return &pooled{process: process, cell: in}
		}
		process.Discard()
	}
	return &pooled{err: errors.Join(err, in.remove())}
}

// discard ends a sandbox that no command was for.
func (w *pooled) discard() error {
	if w.process == nil {
		return nil
	}
	w.process.Discard()
	return w.cell.remove()
}

// take returns a sandbox that is ready, and waits until there is one and another command may run.
func (p *Pool) take(ctx context.Context) (*pooled, error) {
	ended := &OpError{Index: -1, Op: "take a sandbox from the pool", Err: ErrEnded}
	if p.ctx.Err() != nil {
		return nil, ended
	}
	if p.running != nil {
		select {
		case p.running <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-p.ctx.Done():
			return nil, ended
		}
	}
	p.wake()
	defer p.served()
	for {
		select {
		case w := <-p.ready:
			p.refill()
			if w.err == nil && w.process.AwaitEnd(0) {
				_ = w.discard() // somebody has killed it: another one will do
				continue
			}
			if w.err != nil {
				p.release()
			}
			return w, w.err
		case <-ctx.Done():
			p.release()
			return nil, ctx.Err()
		case <-p.ctx.Done():
			p.release()
			return nil, ended
		}
	}
}

// refillDelay is for how long a command has the processors for itself before another sandbox is made. What is
// made ahead is meant to be fast: on two processors the making made a short command take a third longer.
const refillDelay = time.Millisecond

// refill lets one more sandbox be made.
func (p *Pool) refill() {
	time.AfterFunc(refillDelay, func() { p.free <- struct{}{} }) // there is room for as many as were made
}

// release says that a command has ended.
func (p *Pool) release() {
	if p.running != nil {
		<-p.running
	}
}

// wake lets sandboxes be made again, and puts off when they are not any more.
func (p *Pool) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting++
	for ; p.parked > 0; p.parked-- {
		p.free <- struct{}{}
	}
	if p.idle != nil {
		p.idle.Reset(p.options.Idle)
	}
}

// served says that a command does not wait any more.
func (p *Pool) served() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting--
}

// park ends the sandboxes that were ready for too long. What is being made meanwhile is for the next time.
func (p *Pool) park() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting > 0 {
		p.idle.Reset(p.options.Idle) // those that are made are waited for
		return
	}
	for {
		select {
		case w := <-p.ready:
			_ = w.discard() // Close would not know of it either
			p.parked++
			continue
		case <-p.free:
			p.parked++
			continue
		default:
		}
		if p.parked < p.options.Size && p.ctx.Err() == nil {
			p.idle.Reset(p.options.Idle)
		}
		return
	}
}

// Close ends the sandboxes that are ready, and waits for those that have ended to be gone. Commands that run go on.
// What goes wrong with the removal is an *OpError; to close it again does nothing.
func (p *Pool) Close() error {
	p.cancel()
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.makers.Wait()
	p.buried.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.idle != nil {
		p.idle.Stop()
	}
	failed := p.failed
	p.failed = nil
	for {
		select {
		case w := <-p.ready:
			failed = errors.Join(failed, w.discard())
		default:
			return failed
		}
	}
}

// bury removes a sandbox in which nothing runs any more: to take its namespaces apart takes the kernel as long as
// the command may have taken, and nobody has to wait for that.
func (p *Pool) bury(process *launch.Process, in *cell) {
	remove := func() {
		process.Bury()
		if err := in.remove(); err != nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.failed = errors.Join(p.failed, err)
		}
	}
	p.mu.Lock()
	closed := p.closed
	if !closed {
		p.buried.Go(remove)
	}
	p.mu.Unlock()
	if closed {
		remove() // nobody else waits for it any more
	}
}

// Run runs a command in a sandbox of its own that was ready, and waits for its end: see Command, and Run of the
// package.
func (p *Pool) Run(ctx context.Context, spec Spec) (*Result, error) {
	c := p.Command(ctx, spec)
	if err := c.Start(); err != nil {
		return nil, err
	}
	return c.Wait()
}

// Command returns the Cmd that runs a command in a sandbox of its own that was ready. Start waits for one, and
// until fewer commands run than PoolOptions.Running; ErrEnded says that the pool is closed. Of spec only these
// fields may be set: Args, Env, Dir, Stdin, Stdout, Stderr, and of Limits WallTime and OutputMax; others are a
// *SpecError. Everything else, and what is left zero, is as in the Spec of the pool.
//
// Args and Env together take 64 KiB at most, with 256 strings each; Dir, and Args[0] with a slash in it, 1023
// bytes; and PATH has 12 entries at most, with 255 bytes each for the entry and Args[0]: a *SpecError says so. Any
// other way to run a command has higher bounds.
func (p *Pool) Command(ctx context.Context, spec Spec) *Cmd {
	c := Command(ctx, spec)
	c.pool = p
	return c
}

// complete checks the Spec of a command and fills in what it takes over from the pool's.
func (p *Pool) complete(spec *Spec) error {
	if err := validatePooled(spec); err != nil {
		return err
	}
	*spec = commandOf(&p.spec, spec)
	return nil
}

// launch starts a command in a sandbox that is ready.
func (p *Pool) launch(c *Cmd, files []*os.File) error {
	r := *p.plan.resolved
	r.waits, r.enforced = false, slices.Clone(r.enforced)
	if err := r.resolveCommand(&c.spec, nil); err != nil {
		return err
	}
	r.waits = true
	message, err := inboxMessage(&r, p.inbox)
	if err != nil {
		return err
	}
	r.enforceCommand(&c.spec)
	c.plan = &Plan{resolved: &r, program: p.plan.program}
	ctx, cancel := c.starting()
	defer cancel()
	for range p.options.Size + 1 { // all that are ready may have been killed
		var w *pooled
		if w, err = p.take(c.ctx); err != nil {
			return err
		}
		if err = w.process.Tell(ctx, message, files); err == nil {
			c.process, c.cell, c.release = w.process, w.cell, p.release
			return nil
		}
		p.release()
		left := w.cell.remove()
		if again := ctx.Err() == nil && wasDead(err); !again || left != nil {
			return errors.Join(c.plan.startError(ctx, err), left)
		}
	}
	return c.plan.startError(ctx, err)
}

// wasDead reports whether somebody had killed a sandbox before it executed the command: another one will do.
func wasDead(err error) bool {
	var died *launch.DiedError
	return errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) || errors.As(err, &died)
}

// compilePooled compiles a plan that waits for its command.
//
// Preconditions: validatePool found no fault in spec.
func compilePooled(spec *Spec, host *Host, where placement) (*Plan, error) {
	if host == nil {
		var err error
		if host, err = thisHost.get(); err != nil {
			return nil, err
		}
	}
	r, err := resolve(spec, host, where, resolveWaiting)
	if err != nil {
		return nil, err
	}
	if r.filter.once {
		return nil, &SpecError{Field: "Seccomp", Reason: "it allows one execve of a path that is known before, and the commands of a pool are not"}
	}
	return checked(r, compile(r))
}
