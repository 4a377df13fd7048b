package victim

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// tgQueue sends a signal of its own making to a thread of PID 1, by rt_tgsigqueueinfo(2): "thread,signal".
func tgQueue(arg string) (string, error) {
	tid, sig := twoInts(arg)
	var info unix.Siginfo
	info.Signo, info.Code = int32(sig), -1 // SI_QUEUE
	if _, _, errno := unix.Syscall6(unix.SYS_RT_TGSIGQUEUEINFO, 1, uintptr(tid), uintptr(sig), uintptr(unsafe.Pointer(&info)), 0, 0); errno != 0 {
		return "", errno
	}
	return "", nil
}
