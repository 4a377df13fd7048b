package kernel

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// The calls of filters and their listeners.

// Seccomp loads a filter: instructions in the layout of struct sock_filter.
func Seccomp(filter []byte) Call { return seccomp(filter, num(0)) }

// SeccompAll loads a filter for every thread of the process.
func SeccompAll(filter []byte) Call {
	return seccomp(filter, named(unix.SECCOMP_FILTER_FLAG_TSYNC, "SECCOMP_FILTER_FLAG_TSYNC"))
}

// SeccompListener is Seccomp, and opens the listener of the filter (seccomp_unotify(2)), which the kernel
// makes close on exec. If patient, only a fatal signal ends a call once it was received (Linux 5.19).
func SeccompListener(filter []byte, patient bool) Call {
	if patient {
		return seccomp(filter, named(unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
			"SECCOMP_FILTER_FLAG_NEW_LISTENER|SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"))
	}
	return seccomp(filter, named(unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, "SECCOMP_FILTER_FLAG_NEW_LISTENER"))
}

func seccomp(filter []byte, how Arg) Call {
	prog := Zeroed(16) // struct sock_fprog
	prog.put32(0, uint32(len(filter)/sizeofSockFilter))
	prog.Refs = []Ref{{Offset: 8, To: &Memory{Bytes: filter}}}
	return Call{Name: "seccomp", Args: []Arg{named(unix.SECCOMP_SET_MODE_FILTER, "SECCOMP_SET_MODE_FILTER"), how, {Mem: prog, Show: showProgram}}}
}

// SizeofNotification is the size of struct seccomp_notif (linux/seccomp.h).
const SizeofNotification = 80

// ReceiveNotification waits at the listener fd for a call, which goes to the given offset of m.
func ReceiveNotification(fd int, m *Memory, at int) Call {
	return Call{Name: "ioctl", Args: []Arg{num(int64(fd)), named(unix.SECCOMP_IOCTL_NOTIF_RECV, "SECCOMP_IOCTL_NOTIF_RECV"), {Mem: m, Offset: at, Text: "&call"}}}
}

const sizeofSockFilter = 8

func showProgram(a Arg) string { return fmt.Sprintf("{len=%d}", a.Mem.uint32(0)) }

// LookForHangUp returns 1 if fd has hung up, and 0 if not, without waiting.
func LookForHangUp(fd int) Call {
	m := Zeroed(8)         // struct pollfd
	m.put32(0, uint32(fd)) // no events: a hang-up is told all the same (poll(2))
	return Call{Name: "ppoll", Args: []Arg{{Mem: m, Text: fmt.Sprintf("[{fd=%d, events=0}]", fd)}, num(1),
		{Mem: Zeroed(16), Text: "{0, 0}"}, null(), num(0)}}
}
