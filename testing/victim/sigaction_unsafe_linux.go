package victim

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// withoutRestart takes SA_RESTART from the handler that a signal has.
func withoutRestart(sig unix.Signal) error {
	// The kernel's struct sigaction: handler, flags, restorer where there is one, mask.
	var act [4]uint64
	const restart, maskSize = 0x10000000, 8 // asm-generic/signal-defs.h
	if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), 0, uintptr(unsafe.Pointer(&act)), maskSize, 0, 0); errno != 0 {
		return errno
	}
	act[1] &^= restart
	if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&act)), 0, maskSize, 0, 0); errno != 0 {
		return errno
	}
	return nil
}
