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

// ReceiveFDs receives a message of at most len(m.Bytes) bytes and n descriptors, which are closed on exec, from
// the socket fd.
func ReceiveFDs(fd int, m *Memory, n int) Call {
	control := Zeroed(unix.CmsgSpace(4 * n))
	iovec := Zeroed(16)
	iovec.Refs = []Ref{{Offset: 0, To: m}}
	iovec.put64(8, uint64(len(m.Bytes)))
	msg := Zeroed(56) // struct msghdr of a 64-bit kernel
	msg.Refs = []Ref{{Offset: 16, To: iovec}, {Offset: 32, To: control}}
	msg.put64(24, 1)
	msg.put64(40, uint64(len(control.Bytes)))
	return Call{Name: "recvmsg", Args: []Arg{num(int64(fd)), {Mem: msg, Text: fmt.Sprintf("{command, SCM_RIGHTS=[%d]}", n)},
		named(unix.MSG_CMSG_CLOEXEC, "MSG_CMSG_CLOEXEC")}}
}

// At points an argument of c at a place in m, which somebody else will have filled in.
func (c Call) At(i int, m *Memory, offset int, shown string) Call {
	c.Args[i] = Arg{Mem: m, Offset: offset, Text: shown}
	return c
}
