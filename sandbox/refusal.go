//go:build linux

package sandbox

import (
	"fmt"
	"runtime"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// callName returns what a call is called: by the kernel's name, with its ABI if that is not the
// program's own; by its number, if the tables do not have it; "" if nothing is known.
func callName(audit uint32, nr int32) string {
	if audit == 0 {
		return ""
	}
	abi, ok := abiOf(audit, nr)
	if !ok {
		return fmt.Sprintf("%d of the ABI %#x", nr, audit)
	}
	name, ok := kernel.Name(abi, int(uint32(nr)))
	if !ok {
		name = fmt.Sprintf("%d", nr)
	}
	if string(abi) != runtime.GOARCH {
		name += " (" + string(abi) + ")"
	}
	return name
}

// abiOf returns the ABI of a call. The two 64-bit ones of x86 differ in a bit of the number.
func abiOf(audit uint32, nr int32) (kernel.Arch, bool) {
	for _, a := range kernel.Archs() {
		x32 := uint32(nr) >= kernel.X32Bit && nr != -1
		if a.AuditArch() == audit && (a != kernel.AMD64 || !x32) && (a != kernel.X32 || x32) {
			return a, true
		}
	}
	return "", false
}
