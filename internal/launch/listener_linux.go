package launch

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Listener is the caller's end of a filter that asks (seccomp_unotify(2)). Its methods may be called by
// many goroutines, but Receive by one at a time.
type Listener struct {
	file *os.File
	conn syscall.RawConn
}

// Notification is a call that waits for an answer: struct seccomp_notif.
type Notification struct {
	ID          uint64
	PID         uint32 // of the thread, as this program sees it
	Flags       uint32
	Number      int32
	Arch        uint32 // AUDIT_ARCH_*
	Instruction uint64
	Args        [6]uint64
}

// response is struct seccomp_notif_resp.
type response struct {
	id    uint64
	value int64
	errno int32 // negative
	flags uint32
}

// addFD is struct seccomp_notif_addfd.
type addFD struct {
	id       uint64
	flags    uint32
	source   uint32
	target   uint32
	newFlags uint32
}

// Requests of seccomp_unotify(2) that x/sys lacks (linux/seccomp.h).
const (
	ioctlNotifySend  = 0xc0182101
	ioctlNotifyValid = 0x40082102
	ioctlNotifyAddFD = 0x40182103
)

// newListener takes the descriptor of a listener over.
func newListener(fd int) (*Listener, error) {
	// So that the runtime's poller takes it, and Receive waits without a thread.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	file := os.NewFile(uintptr(fd), "seccomp listener")
	conn, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &Listener{file, conn}, nil
}

// Receive waits for a call. The error is io.EOF when the last process under the filter has ended, and
// os.ErrDeadlineExceeded after Stop.
func (l *Listener) Receive() (Notification, error) {
	for {
		var n Notification
		var err error
		waitErr := l.conn.Read(func(fd uintptr) bool {
			// The request itself would block, whatever the descriptor says.
			ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			switch _, err = unix.Poll(ready, 0); {
			case err != nil:
				return true
			case ready[0].Revents&unix.POLLIN != 0:
				err = notifyReceive(fd, &n)
			case ready[0].Revents&unix.POLLHUP != 0:
				err = io.EOF
			case ready[0].Revents != 0:
				err = unix.EINTR // POLLERR: a signal came while the kernel waited for its lock
			default:
				return false
			}
			return true
		})
		switch {
		case waitErr != nil:
			return n, waitErr
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOENT):
			continue // a signal ended the call before it was received
		}
		return n, err
	}
}

// Stop makes Receive return.
func (l *Listener) Stop() error { return l.file.SetReadDeadline(time.Unix(1, 0)) }

// Valid reports whether a call still waits.
func (l *Listener) Valid(id uint64) bool {
	return l.control(func(fd uintptr) error { return notifyValid(fd, id) }) == nil
}

// KillCaller kills the process that makes a call, if the call still waits.
func (l *Listener) KillCaller(n *Notification) error {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.PID))
	if err != nil {
		return ErrEnded
	}
	group, err := strconv.Atoi(strings.TrimSpace(line(string(status), "Tgid:")))
	if err != nil {
		return err
	}
	pidfd, err := unix.PidfdOpen(group, 0)
	if err != nil {
		return ErrEnded
	}
	defer unix.Close(pidfd)
	// Looked at last: a thread that waits still has the IDs that it had before.
	if !l.Valid(n.ID) {
		return ErrEnded
	}
	return send(pidfd, unix.SIGKILL)
}

// Continue lets the kernel make the call.
func (l *Listener) Continue(id uint64) error {
	return l.send(response{id: id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE})
}

// Return makes the call return a value.
func (l *Listener) Return(id uint64, value int64) error {
	return l.send(response{id: id, value: value})
}

// Refuse makes the call fail.
func (l *Listener) Refuse(id uint64, errno unix.Errno) error {
	return l.send(response{id: id, errno: -int32(errno)})
}

// ReturnFile makes the call return a new descriptor of f.
//
// The kernel marks the call as answered, and then waits for its thread to take the descriptor. A signal to
// this program in between would leave the answer without one: the call would return 0, which is standard
// input (seccomp_notify_addfd in kernel/seccomp.c, Linux 6.18).
func (l *Listener) ReturnFile(id uint64, f *os.File, closeOnExec bool) error {
	a := addFD{id: id, flags: unix.SECCOMP_ADDFD_FLAG_SEND}
	if closeOnExec {
		a.newFlags = unix.O_CLOEXEC
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	err = conn.Control(func(source uintptr) {
		a.source = uint32(source)
		sendErr = l.control(func(fd uintptr) error {
			return withoutSignals(func() error { return notifyAddFD(fd, &a) })
		})
	})
	if err != nil {
		return err
	}
	return sendErr
}

// withoutSignals calls f in a thread that takes no signal meanwhile.
func withoutSignals(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old); err != nil {
		return os.NewSyscallError("rt_sigprocmask", err)
	}
	defer func() { _ = unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil) }() // it has just been the mask
	return f()
}

func (l *Listener) send(r response) error {
	return l.control(func(fd uintptr) error { return notifySend(fd, &r) })
}

// control makes a request, again if a signal comes between. The error is ErrEnded if the call no longer
// waits.
func (l *Listener) control(request func(fd uintptr) error) error {
	for {
		var err error
		if ctlErr := l.conn.Control(func(fd uintptr) { err = request(fd) }); ctlErr != nil {
			return ctlErr
		}
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOENT):
			return ErrEnded
		}
		return err
	}
}
