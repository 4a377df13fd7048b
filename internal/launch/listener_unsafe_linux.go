package launch

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The requests of a listener. Each takes the address of a struct, which the kernel reads, and notifyReceive's
// also writes; none keeps it.

func notifyReceive(fd uintptr, n *Notification) error {
	return request(fd, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(n))
}

func notifySend(fd uintptr, r *response) error {
	return request(fd, ioctlNotifySend, unsafe.Pointer(r))
}

func notifyValid(fd uintptr, id uint64) error {
	return request(fd, ioctlNotifyValid, unsafe.Pointer(&id))
}

// notifyAddFD returns the error alone: the descriptor in the target is of no use here.
func notifyAddFD(fd uintptr, a *addFD) error {
	return request(fd, ioctlNotifyAddFD, unsafe.Pointer(a))
}

func request(fd, number uintptr, argument unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, number, uintptr(argument)); errno != 0 {
		return errno
	}
	return nil
}
