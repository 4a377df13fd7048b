package launch

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A program without a PID namespace: its command leads a process group, which the kernel kills as one when the
// lifeline is cut. For that somebody must have the far end open. The program's own processes do; that this one does
// too is for the case that somebody has killed these.

// groupPatience is how long such a program may take to end when its lifeline is cut, before its reaper is killed. The
// reaper is out of the command's reach, and it alone can see to it that nothing is left when it has ended, and count
// what was used: it is not hurried by many processes, or by large ones, or by one that the kernel holds.
const groupPatience = time.Minute

// cut kills the processes of a program without a PID namespace. The kernel knows the group, and not its number, which
// may be that of another one by now.
func (p *Process) cut() {
	if p.group {
		p.lifeline.Close() // it may be closed
	}
}

// adoptCommand takes the command by its ID, once all else of the start was told. The guard tells of the end before
// anybody reaps the command: if it has not when the pidfd is open, the ID was the command's.
//
// NOTE: somebody outside may have killed the guard meanwhile, and all other IDs may have been used since then by who
// leads a group. No test has shown that.
func (p *Process) adoptCommand(pid int) error {
	if p.early != nil {
		return nil // it has ended
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	group, err := unix.Getpgid(pid)
	if leads := err == nil && group == pid; !leads || p.report.waits() {
		unix.Close(fd)
		return nil
	}
	p.watch(fd)
	return nil
}

// killGroup is Kill of such a program: its reaper is left to end by itself. p.mu is held.
func (p *Process) killGroup() error {
	if err := send(p.init, unix.SIGCONT); err != nil {
		return err
	}
	p.wakeGuard()
	if p.last == nil {
		p.last = time.AfterFunc(groupPatience, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			_ = send(p.init, unix.SIGKILL) // it may have ended
		})
	}
	return nil
}

// wakeGuard lets the guard go on, if somebody outside has stopped it. It is among the children of the reaper; the
// others are killed.
func (p *Process) wakeGuard() {
	children, err := childrenOf(p.pid)
	if err != nil {
		return // the host hides it: then the reaper's end is the guard's
	}
	reaper := member{pid: p.pid, fd: p.init}
	for _, pid := range children {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue // it has ended, or as above
		}
		if child := (member{pid: pid, fd: fd}); isChildOf(pid, reaper.pid) && child.isThere() && reaper.isThere() {
			_ = send(fd, unix.SIGCONT) // it may have ended
		}
		unix.Close(fd)
	}
}

// reapGroup waits for what a reaper that was killed has left to this program, if orphans come to it: the guard, which
// has the stub's group, and then the command's group. See waitForGroup.
func (p *Process) reapGroup(reaper unix.WaitStatus) {
	if !p.group || !reaper.Signaled() {
		return
	}
	for _, group := range []int{p.stub, p.leader} {
		if group > 0 {
			waitForGroup(group)
		}
	}
}

// killedGuard is the end of a program whose reaper has ended by itself, as it is to, and whose guard has not told of
// the command's end: then somebody has killed that, and with it the group.
const killedGuard = unix.WaitStatus(unix.SIGKILL)

// duplicate returns another descriptor of f.
func duplicate(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
