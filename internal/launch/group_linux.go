package launch

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A program without a PID namespace: its command leads a process group, which the kernel kills as one when the
// lifeline is cut. For that somebody must have the far end open. The program's own processes do; that this one does
// too is for the case that somebody has killed these.

// groupPatience is how long such a program may take to end when its lifeline is cut, before its reaper is killed.
// The reaper alone can see to it that nothing is left when it has ended.
const groupPatience = time.Second

// cut kills the processes of a program without a PID namespace. The kernel knows the group, and not its number, which
// may be that of another one by now.
func (p *Process) cut() {
	if p.group {
		p.lifeline.Close() // it may be closed
	}
}

// duplicate returns another descriptor of f.
func duplicate(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
