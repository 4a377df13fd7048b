package launch

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrTooFast says that processes are started faster than they can be signaled.
var ErrTooFast = errors.New("processes of the sandbox are started faster than they can be signaled")

// maxRounds is how often SignalAll looks for processes that it has not seen. Each round finds everything that
// was there before it, so that only who forks without end is not through with a few.
const maxRounds = 100

// SignalAll sends a signal to every descendant of PID 1, once. The error is ErrEnded if PID 1 has ended.
//
// They are found from parent to child, and held by pidfds. Between any two looks a process may end, and its ID go
// to another, somewhere on the host: a process is one of the sandbox's if, once its pidfd is open, its parent is
// one, and both are there still after that was seen. A child of a process of the sandbox is one of the sandbox's
// too: whoever loses its parent gets another one inside.
func (p *Process) SignalAll(sig unix.Signal) error {
	first, err := p.firstMember()
	if err != nil {
		return err
	}
	e := everybody{sig: sig, seen: map[int]member{}}
	if p.group {
		if e.group = p.PID(); e.group == 0 {
			return ErrEnded
		}
	}
	defer e.close()
	defer unix.Close(first.fd)
	for range maxRounds {
		fresh, err := e.round(first)
		if err != nil || !fresh {
			return err
		}
	}
	return ErrTooFast
}

// firstMember returns PID 1, with a descriptor that Close does not close.
func (p *Process) firstMember() (member, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.init < 0 {
		return member{}, ErrEnded
	}
	fd, err := unix.FcntlInt(uintptr(p.init), unix.F_DUPFD_CLOEXEC, 0)
	return member{pid: p.pid, fd: fd}, os.NewSyscallError("fcntl", err)
}

// member is a process of the sandbox.
type member struct{ pid, fd int }

// isThere reports whether the process is not reaped yet, so that its ID is still its own.
func (m member) isThere() bool { return send(m.fd, 0) == nil }

// everybody are the processes of a sandbox that have been signaled.
type everybody struct {
	sig   unix.Signal
	group int // to which they belong; 0 is any
	seen  map[int]member
}

func (e *everybody) close() {
	for _, m := range e.seen {
		unix.Close(m.fd)
	}
}

// round signals whom it finds below first and has not seen, and reports whether there was anybody.
func (e *everybody) round(first member) (fresh bool, err error) {
	if !first.isThere() {
		return false, ErrEnded
	}
	line := []member{first}
	for i := 0; i < len(line); i++ {
		children, err := childrenOf(line[i].pid)
		if err != nil {
			if line[i].isThere() && i == 0 {
				return false, err // the host hides it
			}
			continue // it has ended
		}
		for _, pid := range children {
			m, isNew, err := e.meet(pid, line[i])
			if err != nil {
				return false, err
			}
			if m.fd >= 0 {
				line = append(line, m)
			}
			fresh = fresh || isNew
		}
	}
	return fresh, nil
}

// meet returns the child of a member with this ID, and whether it is new, and so signaled now. Without a
// descriptor it is none.
func (e *everybody) meet(pid int, parent member) (m member, isNew bool, err error) {
	if m, ok := e.seen[pid]; ok {
		if m.isThere() {
			return m, false, nil
		}
		unix.Close(m.fd) // its ID may be another's now
		delete(e.seen, pid)
	}
	none := member{fd: -1}
	fd, err := unix.PidfdOpen(pid, 0)
	switch {
	case errors.Is(err, unix.ESRCH):
		return none, false, nil
	case err != nil:
		return none, false, os.NewSyscallError("pidfd_open", err)
	}
	m = member{pid: pid, fd: fd}
	if !isChildOf(pid, parent.pid) || !m.isThere() || !parent.isThere() {
		unix.Close(fd)
		return none, false, nil
	}
	if !e.isOne(pid) {
		e.seen[pid] = m // the guard of a program without a PID namespace
		return m, false, nil
	}
	if err := send(fd, e.sig); err != nil && !errors.Is(err, ErrEnded) {
		unix.Close(fd)
		return none, false, err
	}
	e.seen[pid] = m
	return m, true, nil
}

// isOne reports whether a process, which is there, belongs to those that are signaled.
func (e *everybody) isOne(pid int) bool {
	if e.group == 0 {
		return true
	}
	group, err := unix.Getpgid(pid)
	return err == nil && group == e.group
}

// childrenOf returns the children of a process, of all its threads.
func childrenOf(pid int) ([]int, error) {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return nil, err
	}
	var all []int
	for _, t := range threads {
		list, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, t.Name()))
		if err != nil {
			continue // the thread has ended
		}
		for field := range strings.FieldsSeq(string(list)) {
			if child, err := strconv.Atoi(field); err == nil {
				all = append(all, child)
			}
		}
	}
	return all, nil
}

func isChildOf(pid, parent int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err == nil && strings.TrimSpace(line(string(status), "PPid:")) == strconv.Itoa(parent)
}
