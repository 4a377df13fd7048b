package launch

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// commandID is the process ID of the command inside: the second of its namespace.
const commandID = 2

// Signal sends a signal to the command. The error is ErrEnded if it has ended.
func (p *Process) Signal(sig unix.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.findCommand(); err != nil {
		return err
	}
	return send(p.command, sig)
}

// PID returns the process ID of the command as this program sees it; 0 if it has ended.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.findCommand() != nil || send(p.command, 0) != nil {
		return 0
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", p.command))
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(line(string(b), "Pid:"))) // 0 for what is no number, and -1 for none
	return max(pid, 0)
}

// findCommand opens the pidfd of PID 2 among the children of PID 1, the first time that it is asked for:
// most commands are never signaled. p.mu is held.
//
// A process may end, and its ID go to another, between any two looks. What is opened is therefore looked
// at again: a child of PID 1 whose innermost ID is 2 is the command and nothing else.
func (p *Process) findCommand() error {
	switch {
	case p.command >= 0:
		return nil
	case p.init < 0 || p.gone || p.group:
		return ErrEnded
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", p.pid, p.pid))
	if err != nil {
		return err
	}
	for _, field := range strings.Fields(string(children)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return err
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return os.NewSyscallError("pidfd_open", err)
		}
		if isCommand(pid, p.pid, p.joins) {
			p.command = fd
			return nil
		}
		unix.Close(fd)
	}
	return ErrEnded
}

// isCommand reports whether a process is the command of the sandbox whose PID 1 is parent, or the only child
// of that joiner.
func isCommand(pid, parent int, joins bool) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	ids := strings.Fields(line(string(status), "NSpid:"))
	return len(ids) > 0 && (joins || ids[len(ids)-1] == strconv.Itoa(commandID)) &&
		strings.TrimSpace(line(string(status), "PPid:")) == strconv.Itoa(parent)
}

// line returns what follows a key in a file of lines such as proc_pid_status(5).
func line(file, key string) string {
	for l := range strings.Lines(file) {
		if value, ok := strings.CutPrefix(l, key); ok {
			return value
		}
	}
	return ""
}
