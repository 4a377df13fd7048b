package victim

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// call makes a system call.
func call(number uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	if _, _, errno := unix.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5]); errno != 0 {
		return errno
	}
	return nil
}

// defaultAction takes the Go runtime's handler of a signal away; SIGKILL and SIGSTOP have none.
func defaultAction(sig int) error {
	if sig == int(unix.SIGKILL) || sig == int(unix.SIGSTOP) {
		return nil
	}
	var action [4]uint64 // the kernel's struct sigaction: SIG_DFL, no flags, no restorer, an empty mask
	if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// ioctlByte passes the request as 64 bits, of which the kernel takes the lower half.
func ioctlByte(fd int, request uint64, b byte) error {
	p := &[2]byte{b}
	return call(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(unsafe.Pointer(p)))
}

// unlinkQueue is mq_unlink(2).
func unlinkQueue(name string) error {
	p, err := syscall.BytePtrFromString(name)
	if err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_MQ_UNLINK, uintptr(unsafe.Pointer(p)), 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// mqOpen is mq_open(2).
func mqOpen(name string, flags int) (int, error) {
	p, err := syscall.BytePtrFromString(name)
	if err != nil {
		return -1, err
	}
	fd, _, errno := unix.Syscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(p)), uintptr(flags), 0o666, 0, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}
