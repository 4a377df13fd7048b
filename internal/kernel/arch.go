package kernel

// Arch names a system call ABI by its GOARCH, so that callers can pass runtime.GOARCH. X32 has no
// GOARCH and is named as the kernel names it.
type Arch string

// The ABIs whose tables are known.
const (
	AMD64 Arch = "amd64"
	I386  Arch = "386"
	X32   Arch = "x32" // shares AuditArch with AMD64, numbers carry X32Bit
	ARM64 Arch = "arm64"
	ARM   Arch = "arm"
)

// X32Bit marks the number of an x32 call (__X32_SYSCALL_BIT of asm/unistd.h). The audit
// architecture does not tell x32 from amd64, so that a filter for amd64 must look at this bit.
const X32Bit = 0x40000000

// Archs returns every ABI whose table is known, in a fixed order.
func Archs() []Arch { return []Arch{AMD64, I386, X32, ARM64, ARM} }

// ParseArch returns the ABI of a GOARCH, or false if its table is not known.
func ParseArch(s string) (Arch, bool) {
	for _, a := range Archs() {
		if string(a) == s {
			return a, true
		}
	}
	return "", false
}

// AuditArch returns the AUDIT_ARCH value (linux/audit.h) that seccomp_data.arch holds for a call
// of this ABI, or 0 for an unknown one: the ELF machine number with the flags for 64 bit
// (0x80000000) and little endian (0x40000000).
func (a Arch) AuditArch() uint32 {
	switch a {
	case AMD64, X32:
		return 0xc000003e
	case I386:
		return 0x40000003
	case ARM64:
		return 0xc00000b7
	case ARM:
		return 0x40000028
	}
	return 0
}
