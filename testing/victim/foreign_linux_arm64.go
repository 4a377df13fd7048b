package victim

import (
	"errors"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// ForeignABIs says whether this architecture has others beside its own: that of 32 bits is for programs of
// 32 bits alone, and no instruction of the others leads to it.
const ForeignABIs = false

//go:noescape // the assembly keeps nothing
func forkSyscall(flags, number uint32, args *[6]uintptr) (pid int64)

// shared are the flags of a child that makes one call: its memory is its own, since no alarm ends it here.
const shared = 0

// gates are the ways into the kernel.
var gates = []gate{{Native, kernel.ARM64, forkSyscall}}

func forkCall(kernel.Arch, uint32, []uintptr) (int, error) { return 0, errors.ErrUnsupported }
