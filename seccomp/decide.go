package seccomp

import (
	"slices"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// Data is what a filter sees of a call: struct seccomp_data of linux/seccomp.h.
type Data struct {
	Nr                 int32  // the number; of an x32 call with bit 30 set
	Arch               uint32 // AUDIT_ARCH_* of linux/audit.h
	InstructionPointer uint64
	Args               [6]uint64 // registers, all 64 bits; of a 32-bit ABI zero-extended
}

// Call returns the Data of a call by its name, as an architecture (a GOARCH, or "x32") makes it. It
// fails with a [*PolicyError] if the architecture or the call is not known, or more than six
// arguments are given.
func Call(arch, name string, args ...uint64) (Data, error) {
	archs, err := parseArchs([]string{arch})
	if err != nil {
		return Data{}, err
	}
	nr, ok := kernel.Number(archs[0], name)
	if !ok {
		return Data{}, &PolicyError{Field: "name", Reason: unknownNameOn(arch, name)}
	}
	d := Data{Nr: int32(nr), Arch: archs[0].AuditArch()}
	if copy(d.Args[:], args) < len(args) {
		return Data{}, &PolicyError{Field: "args", Reason: "a call has at most six arguments"}
	}
	return d, nil
}

func unknownNameOn(arch, name string) string {
	if known(name) {
		return arch + " has no system call " + name
	}
	return unknownName(name)
}

// Decide evaluates the policy itself, without compiling it: the answer that a filter compiled for
// the same architectures must give. It is slow and simple on purpose, as what the compiler is held
// against; to answer many calls use [Filter.Eval].
//
// Preconditions: p is valid. Architectures without a table count as foreign.
func (p *Policy) Decide(d Data, archs ...string) Action {
	arch, ok := abi(d, archs)
	if !ok {
		return p.badArch()
	}
	name, ok := kernel.Name(arch, int(uint32(d.Nr)))
	if !ok {
		return p.unknown()
	}
	for i := range p.Rules {
		if p.Rules[i].matches(name, &d) {
			return p.Rules[i].Action
		}
	}
	return p.Default
}

// abi returns which of the architectures made the call. Number -1 is of no ABI: a tracer sets it to
// skip a call, and no kernel has it.
func abi(d Data, archs []string) (kernel.Arch, bool) {
	x32 := uint32(d.Nr) >= kernel.X32Bit && d.Nr != -1
	for _, name := range archs {
		a, ok := kernel.ParseArch(name)
		if !ok || a.AuditArch() != d.Arch {
			continue
		}
		// The two ABIs of x86-64 share an architecture and halve the numbers at bit 30.
		if a == kernel.AMD64 && x32 || a == kernel.X32 && !x32 && d.Nr != -1 {
			continue
		}
		return a, true
	}
	return "", false
}

func (r *Rule) matches(name string, d *Data) bool {
	if !slices.Contains(r.Names, name) {
		return false
	}
	for i := range r.Args {
		if !r.Args[i].holds(d) {
			return false
		}
	}
	return true
}

func (a *Arg) holds(d *Data) bool {
	if a.Index < 0 || a.Index >= len(d.Args) {
		return false
	}
	v := d.Args[a.Index] & a.mask()
	switch a.Op {
	case Equal:
		return v == a.Value
	case NotEqual:
		return v != a.Value
	case Less:
		return v < a.Value
	case LessEqual:
		return v <= a.Value
	case Greater:
		return v > a.Value
	case GreaterEqual:
		return v >= a.Value
	}
	return false
}
