package launch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/plan"
)

// Config is what a start needs beside the image.
type Config struct {
	Image []byte
	// Files are the descriptors of the program, 0 and up; a nil entry stays closed. The report socket
	// comes next, then the lifeline, then, with Enter or MapIDs, the pipe on which the program waits for
	// each of these to be done.
	Files []*os.File
	// UseCgroupFD says that the program is born in the cgroup whose directory is CgroupFD.
	UseCgroupFD bool
	CgroupFD    int
	// Enter, if not nil, moves the process with this ID into its cgroup.
	Enter func(pid int) error
	// MapIDs, if not nil, gives the user namespace of the process with this ID its maps.
	MapIDs func(pid int) error
	// Waits says that the program is told later what to execute: Start returns when it is ready, and Tell
	// starts the command. The socket for that comes behind the pipe of Enter and MapIDs.
	Waits bool
	// Joins are the namespaces of a sandbox that the program, a joiner's, enters: they come last of its
	// descriptors.
	Joins []*os.File
	// Keeps says that the program has no command.
	Keeps bool
	// Group says that the program has no PID namespace: what is spoken of as PID 1 is its reaper, and its
	// processes are killed when the lifeline is cut.
	Group bool
	// Extra is how many descriptors come with the start. With Joins the pidfd of the command comes after
	// them, and Listens says that the listener of the command's filter comes last.
	Extra   int
	Listens bool
	// Scratch is the directory for a private file, if the host executes no memfd.
	Scratch string
}

// Start runs the image up to the moment when its command was executed.
//
// If ctx ends before that, or anything fails, nothing is left of the program, and the Process is nil.
func Start(ctx context.Context, cfg Config) (*Process, error) {
	s := &start{cfg: cfg, p: &Process{init: -1, command: -1, keeps: cfg.Keeps, joins: len(cfg.Joins) > 0, group: cfg.Group}}
	defer s.closeTheirs()
	if err := s.open(); err != nil {
		s.p.Close()
		return nil, err
	}
	stub, err := s.execute()
	if err != nil {
		if s.word != nil {
			s.word.Close()
		}
		s.p.Close()
		return nil, err
	}
	s.closeTheirs() // so that the end of the program is the end of the report
	stop := context.AfterFunc(ctx, s.p.end)
	err = s.see(stub)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		return s.p, nil
	}
	return nil, s.failed(ctx, err)
}

// failed ends the program, and returns why it did not start.
func (s *start) failed(ctx context.Context, err error) error {
	exit := s.p.abandon()
	if errors.Is(err, io.EOF) && s.p.early != nil {
		err = &DiedError{s.p.early.Status} // of the command's process
	} else if errors.Is(err, io.EOF) {
		err = &DiedError{exit}
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return err
}

// Tell starts the command of a program that is ready. The message is what the program expects, and files are
// the command's streams. The errors are those of Start, and nothing is left of the program then. It is called
// once.
func (p *Process) Tell(ctx context.Context, message []byte, files []*os.File) error {
	s := p.waiting
	p.waiting = nil
	stop := context.AfterFunc(ctx, p.end)
	err := s.tellAll(message, files)
	if gone := errors.Is(err, unix.EPIPE); err == nil || gone {
		// Who is gone has told why, unless it was killed.
		if cause := s.follow(); !gone || cause != nil && !errors.Is(cause, io.EOF) {
			err = cause
		}
	}
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return s.failed(ctx, err)
	}
	return nil
}

// tellAll sends the message. Nobody waits for it on a socket that was just made.
func (s *start) tellAll(message []byte, files []*os.File) error {
	defer s.inbox.Close()
	fds := make([]int, len(files))
	for i, f := range files {
		fds[i] = int(f.Fd())
	}
	err := unix.Sendmsg(int(s.inbox.Fd()), message, unix.UnixRights(fds...), nil, unix.MSG_NOSIGNAL)
	runtime.KeepAlive(files)
	return os.NewSyscallError("sendmsg", err)
}

// see stays with the program from the stub's end to the command's start.
//
// The stub ends as soon as it has made init and told of it, or has failed to: then that is in the report
// already. One that failed may have made init all the same; cutting its lines is what ends it then.
func (s *start) see(stub *os.Process) error {
	pid := stub.Pid
	s.p.stub = pid
	if s.word != nil {
		defer s.word.Close()
	}
	if s.p.joins {
		if err := s.p.adoptInit(pid); err != nil {
			_ = stub.Kill() // it cannot be followed, and has executed nothing: out of descriptors
			_, _ = stub.Wait()
			return err
		}
		_ = stub.Release() // cannot fail
	}
	if s.cfg.Enter != nil {
		if err := s.tell(s.cfg.Enter(pid)); err != nil {
			s.word.Close() // which the stub waits for
			if !s.p.joins {
				_, _ = stub.Wait()
			}
			return err
		}
	}
	if s.p.joins {
		return s.follow() // it stays, and waits for the command
	}
	state, err := stub.Wait()
	if err != nil {
		_ = stub.Release() // which Wait does where it succeeds
	}
	if err != nil && !errors.Is(err, syscall.ECHILD) {
		return err
	}
	if err == nil && !state.Success() {
		s.p.lifeline.Close()
		if s.word != nil {
			s.word.Close()
		}
		err := s.follow()
		if !s.p.knowsInit() {
			waitForGroup(stub.Pid)
		}
		status, _ := state.Sys().(syscall.WaitStatus)
		if err != nil && !errors.Is(err, io.EOF) && !status.Signaled() {
			return err
		}
		// PID 1 may have missed the lifeline that was cut for it, or have started the command already, while the
		// stub stood still: it is not what went wrong.
		return &DiedError{unix.WaitStatus(status)}
	}
	if err := s.follow(); err != nil || !s.p.group {
		return err
	}
	return s.p.adoptCommand(s.p.leader)
}

// start is a Process in the making, and the ends of its channels that the program gets.
type start struct {
	cfg    Config
	p      *Process
	theirs []*os.File
	word   *os.File // the end at which the caller says when to go on
	inbox  *os.File // the end at which the caller says what to execute
}

func (s *start) open() error {
	ours, theirs, err := newReport()
	if err != nil {
		return err
	}
	s.p.report = ours
	s.theirs = append(s.theirs, theirs)
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	s.p.lifeline = w
	s.theirs = append(s.theirs, r)
	if s.cfg.Group {
		if s.p.far, err = duplicate(r); err != nil {
			return err
		}
	}
	if s.cfg.MapIDs != nil || s.cfg.Enter != nil {
		r, w, err = os.Pipe()
		if err != nil {
			return err
		}
		s.word = w
		s.theirs = append(s.theirs, r)
	}
	if !s.cfg.Waits {
		return nil
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	s.inbox = os.NewFile(uintptr(fds[0]), "inbox")
	s.p.waiting, s.p.inbox = s, s.inbox
	s.theirs = append(s.theirs, os.NewFile(uintptr(fds[1]), "inbox"))
	return nil
}

func (s *start) closeTheirs() {
	for _, f := range s.theirs {
		f.Close()
	}
	s.theirs = nil
}

// execute starts the stub, from a memfd or else from a private file.
func (s *start) execute() (*os.Process, error) {
	files := slices.Concat(s.cfg.Files, s.theirs, s.cfg.Joins)
	f, err := memfd(s.cfg.Image)
	if err == nil {
		var stub *os.Process
		if stub, err = s.start(f, files); err == nil {
			return stub, nil
		}
	}
	if !refused(err) {
		return nil, err
	}
	// vm.memfd_noexec=2 refuses at memfd_create, a security policy at execve.
	f, fileErr := privateFile(s.cfg.Scratch, s.cfg.Image)
	if fileErr != nil {
		return nil, fmt.Errorf("%w: %w, and a private file: %w", ErrImageRefused, err, fileErr)
	}
	stub, fileErr := s.start(f, files)
	if fileErr != nil && refused(fileErr) {
		return nil, fmt.Errorf("%w: %w, and a private file: %w", ErrImageRefused, err, fileErr)
	}
	return stub, fileErr
}

func refused(err error) bool {
	return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS)
}

// start starts the image in f, which it closes.
func (s *start) start(f *os.File, files []*os.File) (*os.Process, error) {
	f, err := moveAbove(f, files)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return os.StartProcess(fdPath(f), []string{"ringfence"}, &os.ProcAttr{
		Files: files,
		Env:   []string{}, // nil would be the caller's
		// Out of reach of the signals that a terminal sends to the caller's process group.
		Sys: &syscall.SysProcAttr{Setsid: true, UseCgroupFD: s.cfg.UseCgroupFD, CgroupFD: s.cfg.CgroupFD},
	})
}

// follow reads records up to the command's start. Nothing orders the stub and init: that PID 1 exists may
// be told last of all.
func (s *start) follow() error {
	var failed *FailedError
	var refused error // to take over what came: PID 1 may be told last of all, and must be known to be reaped
	for refused == nil && !s.arrived() || !s.p.knowsInit() {
		record, fds, err := s.p.report.read()
		switch {
		case err != nil && refused != nil:
			return refused
		case err != nil && failed != nil:
			return failed
		case err != nil:
			return err
		}
		if record.Kind == plan.Failed {
			// The first is the cause: without the command's filter there is no listener, and its witness
			// fails too.
			if failed == nil {
				failed = &FailedError{Index: record.Index, Result: record.Result}
			}
			closeAll(fds)
			continue
		}
		if err := s.note(record, fds); err != nil && refused == nil {
			refused = err
		}
		if failed != nil && record.Kind == plan.Started {
			failed.Notes = record.Notes
		}
	}
	if failed != nil {
		return failed
	}
	return refused
}

// arrived reports whether the program is where it was to be followed to.
func (s *start) arrived() bool {
	return !s.p.Started.IsZero() || s.p.waiting != nil && s.p.ready
}

// note takes what a record brings.
func (s *start) note(record plan.Record, fds []int) error {
	switch record.Kind {
	case plan.Cloned:
		if err := s.p.adoptInit(record.PID); err != nil {
			return err
		}
		return s.mapIDs(record.PID)
	case plan.Started:
		s.p.Started, s.p.leader = time.Now(), record.Group
		return s.take(fds)
	case plan.Ready:
		s.p.ready = true
	case plan.Ended:
		s.p.early = &record
	}
	return nil
}

// take takes over the descriptors that came with the start.
func (s *start) take(fds []int) error {
	want := s.cfg.Extra
	if s.p.joins {
		want++
	}
	if s.cfg.Listens {
		want++
	}
	if len(fds) != want {
		closeAll(fds)
		// The kernel drops descriptors for which the receiver has no room (unix(7), SCM_RIGHTS).
		return fmt.Errorf("receive a descriptor: %w", unix.EMFILE)
	}
	for _, fd := range fds[:s.cfg.Extra] {
		if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); err == nil {
			_ = unix.SetNonblock(fd, true) // a terminal can be waited for; this cannot fail on an open descriptor
		}
		s.p.extra = append(s.p.extra, os.NewFile(uintptr(fd), "from the sandbox"))
	}
	if s.p.joins {
		s.p.watch(fds[s.cfg.Extra])
	}
	if !s.cfg.Listens {
		return nil
	}
	var err error
	s.p.listener, err = newListener(fds[want-1])
	return err
}

func (s *start) mapIDs(pid int) error {
	if s.cfg.MapIDs == nil {
		return nil
	}
	return s.tell(s.cfg.MapIDs(pid))
}

// tell lets the program go on, if what it waits for was done.
func (s *start) tell(err error) error {
	if err == nil {
		_, err = s.word.Write([]byte{0})
	}
	return err
}
