package victim

import (
	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// ForeignABIs says whether this architecture has others beside its own: x32 and i386.
const ForeignABIs = true

//go:noescape // the assembly keeps nothing
func forkSyscall(flags, number uint32, args *[6]uintptr) (pid int64)

//go:noescape // the assembly keeps nothing
func forkInt80(flags, number uint32, args *[6]uintptr) (pid int64)

//go:noescape // the assembly keeps nothing
func forkSysenter(flags, number uint32, args *[6]uintptr) (pid int64)

//go:noescape // the assembly keeps nothing
func forkSyscall32(flags, number uint32, args *[6]uintptr) (pid int64)

//go:noescape // the assembly keeps nothing
func forkVsyscall(flags, number uint32, args *[6]uintptr) (pid int64)

// shared are the flags of a child that makes one call and shares the memory of its parent, who waits. To copy
// page tables for each took ten times as long, and more under the race detector.
const shared = unix.CLONE_VM | unix.CLONE_VFORK

// gates are the ways into the kernel.
var gates = []gate{
	{Native, kernel.AMD64, forkSyscall},
	{"x32", kernel.X32, forkSyscall},
	{"int80", kernel.I386, forkInt80},
	{"sysenter", kernel.I386, forkSysenter},
	{"syscall32", kernel.I386, forkSyscall32},
	{"vsyscall", kernel.AMD64, forkVsyscall},
}

// forkCall starts a child that makes one call and exits with its errno.
func forkCall(arch kernel.Arch, number uint32, args []uintptr) (int, error) {
	var all [6]uintptr
	copy(all[:], args)
	enter := forkSyscall
	if arch == kernel.I386 {
		enter = forkInt80
	}
	pid := enter(uint32(unix.SIGCHLD), number, &all)
	if pid < 0 {
		return 0, unix.Errno(-pid)
	}
	return int(pid), nil
}
