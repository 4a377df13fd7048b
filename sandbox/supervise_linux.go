package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/launch"
	"github.com/ringfence-go/ringfence/seccomp"
)

// supervision answers the calls of one sandbox that its filter asks about.
type supervision struct {
	listener *launch.Listener
	policy   *seccomp.Policy // as the Spec has it, where a kill is one
	arch     string
	answer   Supervisor
	// forbid ends the sandbox for a call.
	forbid func(name string)
	// outlived says that the sandbox does not end with its command: who made a forbidden call is killed too.
	outlived bool
}

// maxAnswers is how many calls of a sandbox are with its Supervisor at a time; more wait.
const maxAnswers = 64

// serve answers until the last process has ended, or ended is closed. It returns when every answer was
// given; the error says that it could not go on, while somebody may wait for an answer.
func (s *supervision) serve(ctx context.Context, ended <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	var answers sync.WaitGroup
	defer answers.Wait()
	defer cancel()
	answers.Go(func() {
		select {
		case <-ended:
		case <-ctx.Done():
		}
		cancel() // also of those that wait for it while serve waits for one of them
		_ = s.listener.Stop()
	})
	room := make(chan struct{}, maxAnswers)
	for {
		received, err := s.listener.Receive()
		switch {
		case errors.Is(err, io.EOF), ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		n := s.notification(&received)
		if kills(s.policy.Decide(n.Call, s.arch)) {
			s.forbid(n.Name)
			if s.outlived {
				_ = s.listener.KillCaller(&received) // it may have ended
			}
			continue
		}
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		answers.Go(func() {
			defer func() { <-room }()
			s.give(n, s.answer(ctx, n))
		})
	}
}

func (s *supervision) notification(n *launch.Notification) *Notification {
	return &Notification{
		PID: int(n.PID), Name: callName(n.Arch, n.Number),
		Call: seccomp.Data{Nr: n.Number, Arch: n.Arch, InstructionPointer: n.Instruction, Args: n.Args},
		id:   n.ID, source: s,
	}
}

// give sends an answer. That nobody waits for it any more is no error; nor is what else the kernel says,
// which it says only of an answer that it cannot carry out: then the call is refused.
func (s *supervision) give(n *Notification, a Answer) {
	var err error
	switch a.kind {
	case answerContinue:
		err = s.listener.Continue(n.id)
	case answerReturn:
		err = s.listener.Return(n.id, a.value)
	case answerFile:
		if a.file == nil {
			err = syscall.EBADF
			break
		}
		err = s.listener.ReturnFile(n.id, a.file, !a.keeps)
		a.file.Close()
	case answerEnd:
		s.forbid(n.Name)
		return
	default:
		err = s.listener.Refuse(n.id, errno(a.value))
	}
	if err != nil && !errors.Is(err, launch.ErrEnded) {
		refusal := unix.EPERM
		var number syscall.Errno
		if errors.As(err, &number) {
			refusal = number // EMFILE: the process has no descriptor left
		}
		_ = s.listener.Refuse(n.id, refusal) // it has ended meanwhile, or nothing can be said to it
	}
}

// errno bounds an error number as the kernel does not: it would take 0 for success.
func errno(value int64) unix.Errno {
	const maxErrno = 4095 // MAX_ERRNO of linux/err.h
	if value < 1 || value > maxErrno {
		return unix.EPERM
	}
	return unix.Errno(value)
}

func (s *supervision) valid(id uint64) bool { return s.listener.Valid(id) }

// read uses process_vm_readv(2), which needs no descriptor and no path below /proc.
func (s *supervision) read(pid int, b []byte, addr uint64) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	local := []unix.Iovec{{Base: &b[0]}}
	local[0].SetLen(len(b))
	n, err := unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: uintptr(addr), Len: len(b)}}, 0)
	if err != nil {
		return 0, fmt.Errorf("read memory of the sandbox at %#x: %w", addr, os.NewSyscallError("process_vm_readv", err))
	}
	return n, nil
}
