package kernel

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// The calls by which a process enters the namespaces of a sandbox, and by which that is kept.

// NamespaceFile is where a process finds a namespace of its own, by its name in /proc/PID/ns.
func NamespaceFile(name string) string { return "/proc/self/ns/" + name }

// Setns enters the namespace that fd stands for, which must be of this kind.
func Setns(fd int, kind CloneFlags) Call {
	return Call{Name: "setns", Args: []Arg{num(int64(fd)), {Value: int64(kind), Show: showNamespace}}}
}

func showNamespace(a Arg) string { return flags(uint64(a.Value), cloneFlags) }

// IgnoreSignal ignores sig. Of SIGCHLD it makes children leave nothing to wait for (wait(2), NOTES).
func IgnoreSignal(sig unix.Signal) Call {
	const ignore = 1 // SIG_IGN
	act := Zeroed(SizeofSigaction)
	act.put64(0, ignore)
	return Call{Name: "rt_sigaction", Args: []Arg{{Value: int64(sig), Show: showSignal}, {Mem: act, Text: "{sa_handler=SIG_IGN}"}, null(), num(8)}}
}

// AwaitHangUp waits until fd has hung up, and returns 1.
func AwaitHangUp(fd int) Call {
	m := Zeroed(8) // struct pollfd: a hang-up is told without being asked for (poll(2))
	m.put32(0, uint32(fd))
	return Call{Name: "ppoll", Args: []Arg{{Mem: m, Text: fmt.Sprintf("[{fd=%d, events=0}]", fd)}, num(1), null(), null(), num(0)}}
}
