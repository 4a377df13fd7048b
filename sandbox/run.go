//go:build linux

package sandbox

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/cgroup"
	"github.com/ringfence-go/ringfence/internal/image"
	"github.com/ringfence-go/ringfence/internal/launch"
)

// Run runs a command in a sandbox and waits for its end.
//
// The Result is not nil if and only if the command was started. How it ended, be it an exit code, a
// signal or a limit, is in the Result and no error. The error tells that the command was not started
// (*SpecError, *UnsupportedError, *OpError, joined if there are several), or that ctx ended it (it
// matches ctx.Err()), or that a reader or writer of the Spec failed, or that something of Spec.Collect could
// not be had (*CollectError).
func Run(ctx context.Context, spec Spec) (*Result, error) {
	c := Command(ctx, spec)
	if err := c.Start(); err != nil {
		return nil, err
	}
	return c.Wait()
}

// Output runs a command and returns what it wrote to its standard output. An ending other than exit code
// 0 is an *ExitError, with the start of the standard error if the Spec has no Stderr and no Terminal.
func Output(ctx context.Context, spec Spec) ([]byte, error) {
	if spec.Stdout != nil {
		return nil, &SpecError{Field: "Stdout", Reason: "set, but Output collects it"}
	}
	var stdout bytes.Buffer
	spec.Stdout = &stdout
	var stderr *prefix
	if spec.Stderr == nil && spec.Terminal == nil {
		stderr = &prefix{}
		spec.Stderr = stderr
	}
	r, err := Run(ctx, spec)
	if err != nil {
		return stdout.Bytes(), err
	}
	err = r.Err()
	var exit *ExitError
	if stderr != nil && errors.As(err, &exit) {
		exit.Stderr = stderr.Bytes()
	}
	return stdout.Bytes(), err
}

// prefix keeps the start of what is written to it.
type prefix struct{ bytes.Buffer }

// maxPrefix is how much of the standard error an ExitError holds.
const maxPrefix = 64 << 10

func (p *prefix) Write(b []byte) (int, error) {
	if room := maxPrefix - p.Len(); room > 0 {
		p.Buffer.Write(b[:min(room, len(b))])
	}
	return len(b), nil
}

// launch starts p's program with these files, in a cgroup if there is one, and for a joiner with the
// namespaces.
func (p *Plan) launch(ctx context.Context, files []*os.File, in *cell, joins []*os.File) (*launch.Process, error) {
	img, err := image.Build(p.program)
	if err != nil {
		return nil, &OpError{Index: -1, Op: "build the set-up image", Err: err}
	}
	return p.launchImage(ctx, img, files, in, joins)
}

// launchImage is launch of an image that was built before.
func (p *Plan) launchImage(ctx context.Context, img []byte, files []*os.File, in *cell, joins []*os.File) (*launch.Process, error) {
	cfg := launch.Config{Image: img, Group: p.resolved.bare != nil, Waits: p.resolved.waits, Keeps: p.resolved.lives, Files: files, Listens: p.resolved.listens(), Scratch: os.TempDir()}
	cfg.Extra, cfg.Joins = p.resolved.extras(), joins
	born := in != nil && !p.resolved.placement.moved()
	if in != nil && !born {
		cfg.Enter = func(pid int) error { return in.leaf.Enter(ctx, pid) }
	}
	if i := p.resolved.ids; i.byCaller && !p.resolved.joins {
		cfg.MapIDs = func(pid int) error { return i.apply(ctx, pid) }
	}
	var process *launch.Process
	var err error
	if !born {
		process, err = launch.Start(ctx, cfg)
	} else {
		err = in.leaf.Born(func(fd int) (err error) {
			cfg.UseCgroupFD, cfg.CgroupFD = true, fd
			process, err = launch.Start(ctx, cfg)
			return err
		})
	}
	switch {
	case err == nil:
		return process, nil
	case errors.Is(err, cgroup.ErrRemoved): // by ReleaseCgroups, a moment ago
		return nil, cgroupError("start in the sandbox's cgroup", err)
	}
	return nil, p.startError(ctx, err)
}

// moreStarts is how often a start is made again: each may find one more thing that again knows of.
const moreStarts = 3

// again reports whether a start failed for something that the next plan does without, or has anew. Many may
// fail of the same at once.
func (p *Plan) again(err error, allowed []Feature) bool {
	if errors.Is(err, cgroup.ErrRemoved) {
		trees.drop(p.resolved.placement.tree)
		return true
	}
	var u *UnsupportedError
	if !errors.As(err, &u) {
		return false
	}
	switch {
	case u.Feature == NewProc && p.resolved.newProc && slices.Contains(allowed, NewProc):
		thisHost.note(func(h *Host) { h.noProc = true })
	case u.Feature == InotifyLimit && p.resolved.shares:
		thisHost.note(func(h *Host) { h.unshared = u })
	case u.Feature == SeccompNotify && !p.resolved.filter.supervised():
		// What is lost is the name of a call that ends the command, and no protection.
		thisHost.note(func(h *Host) { h.listened = true })
	case u.Feature == UserNamespace && p.resolved.bare == nil && slices.Contains(allowed, UserNamespace) && p.lacksUsers(u):
		thisHost.note(func(h *Host) { h.refusal = u })
	default:
		return false
	}
	return true
}

// lacksUsers reports whether the host gives no user namespaces. That others have used them up is no reason to do
// without: it would be for anybody to bring about.
func (p *Plan) lacksUsers(u *UnsupportedError) bool {
	return !usedUp(u) || slices.Contains(p.resolved.facts.Forbidden, "user")
}

// usage completes a Usage. What the kernel has counted for nobody is not known.
func usage(exit *launch.Exit, began, started time.Time) Usage {
	u := unknownUsage()
	u.Wall, u.Setup = exit.Ended.Sub(started), started.Sub(began)
	if exit.Counted {
		u.User = time.Duration(exit.Usage.Utime.Nano())
		u.System = time.Duration(exit.Usage.Stime.Nano())
		u.MemoryPeak = int64(exit.Usage.Maxrss) << 10 // getrusage(2): kilobytes
	}
	return u
}

// verdict tells how a command ended, from what its init reported and what this library did to it.
//
// To end a sandbox is to kill its command. One that was reported to end in another way ended by itself,
// whatever was on the way.
func verdict(exit *launch.Exit, cause Ending, oom cgroup.OOM) (Result, error) {
	r := Result{ExitCode: -1}
	switch {
	case exit.Refused != nil:
		r.Ended, r.Signal, r.Syscall = Forbidden, unix.SIGSYS, callName(exit.Refused.Arch, exit.Refused.Number)
		return r, nil
	case cause == Forbidden: // by a Supervisor
		r.Ended, r.Signal = Forbidden, unix.SIGSYS
		return r, nil
	case oom == cgroup.OOMByLimit && !(exit.Reported && exit.Status.Exited()):
		// All are killed together (memory.oom.group), PID 1 too.
		r.Ended, r.Signal = OutOfMemory, unix.SIGKILL
		return r, nil
	case cause == OutputExceeded:
		r.Ended = OutputExceeded
	case exit.Reported && exit.Status.Exited():
		r.Ended, r.ExitCode = Exited, exit.Status.ExitStatus()
	case exit.Reported && (cause == 0 || exit.Status.Signal() != unix.SIGKILL):
		r.Ended, r.Signal = Signaled, exit.Status.Signal()
	case cause != 0:
		r.Ended = cause
	case exit.Init.Signaled():
		r.Ended, r.Signal = Signaled, exit.Init.Signal() // somebody outside killed the sandbox as a whole
	default:
		return r, &OpError{Index: -1, Op: "wait for the sandbox", Err: errors.New("PID 1 ended without a report"),
			Remedy: "this is a fault of the library: please report it"}
	}
	if exit.Reported && exit.Status.Signaled() {
		r.Signal = exit.Status.Signal()
	} else if !exit.Reported && exit.Init.Signaled() {
		r.Signal = exit.Init.Signal()
	}
	return r, nil
}
