package victim

import (
	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// ForeignABIs says whether this architecture has others beside its own: x32 and i386.
const ForeignABIs = true

//go:noescape // the assembly keeps nothing
func forkSyscall(number uint32, args *[6]uintptr) (pid int64)

//go:noescape // the assembly keeps nothing
func forkInt80(number uint32, args *[6]uintptr) (pid int64)

// forkCall starts a child that makes one call and exits with its errno.
func forkCall(arch kernel.Arch, number uint32, args []uintptr) (int, error) {
	var all [6]uintptr
	copy(all[:], args)
	var pid int64
	if arch == kernel.I386 {
		pid = forkInt80(number, &all)
	} else {
		pid = forkSyscall(number, &all)
	}
	if pid < 0 {
		return 0, unix.Errno(-pid)
	}
	return int(pid), nil
}
