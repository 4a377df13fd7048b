package victim

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// aioSetup makes a context of the old asynchronous input and output.
func aioSetup(events int) error {
	var context uintptr
	return call(unix.SYS_IO_SETUP, uintptr(events), uintptr(unsafe.Pointer(&context)))
}

// firstRealTime is the first real-time signal that no C library keeps for itself.
const firstRealTime = 34

// queueSignal leaves one more signal pending: a real-time one, of which each is kept.
func queueSignal(i int) error {
	if i == 0 {
		mask := uint64(1) << (firstRealTime - 1)
		if err := call(unix.SYS_RT_SIGPROCMASK, unix.SIG_BLOCK, uintptr(unsafe.Pointer(&mask)), 0, 8); err != nil {
			return err
		}
	}
	info := [16]uint64{firstRealTime, 1<<64 - 1} // si_signo, and SI_QUEUE (-1) for si_code
	return call(unix.SYS_RT_TGSIGQUEUEINFO, uintptr(os.Getpid()), uintptr(unix.Gettid()), firstRealTime, uintptr(unsafe.Pointer(&info)))
}

// queueMessages fills a new queue with two messages of a size.
func queueMessages(size int) error {
	id, _, errno := unix.Syscall(unix.SYS_MSGGET, unix.IPC_PRIVATE, unix.IPC_CREAT|0o600, 0)
	if errno != 0 {
		return errno
	}
	message := make([]byte, 8+size)
	message[0] = 1 // the type, a long
	for range 2 {
		if err := call(unix.SYS_MSGSND, id, uintptr(unsafe.Pointer(&message[0])), uintptr(size), unix.IPC_NOWAIT); err != nil {
			return err
		}
	}
	return nil
}
