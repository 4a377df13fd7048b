package seccomp

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// A Policy says what happens to each system call. The zero Policy is invalid: it has no Default,
// and neither refusing nor allowing everything is what its writer meant. Use [Default] to start from
// one that is safe.
type Policy struct {
	// Default is for the calls of the table that no rule matches. It must be set.
	Default Action

	// BadArch is for calls through an ABI that the filter was not compiled for, x32 included. The
	// zero value is KillProcess. Allow and Log are invalid: rules do not see those calls, so that any
	// call would be open by its number in another ABI.
	BadArch Action

	// Unknown is for numbers that are in no table: calls newer than this package. The zero value is
	// Errno(ENOSYS), which C libraries take as "use an older call". Whatever Default is, the zero
	// value neither allows such a call nor kills for it: a kernel without the call would say the same.
	Unknown Action

	// Rules are tried in order; the first that matches decides.
	Rules []Rule
}

// A Rule gives an action to calls.
type Rule struct {
	// Names are the calls, by the kernel's names ("openat"). A name that none of the compiled
	// architectures has, but another has ("open" does not exist on arm64), is left out.
	Names []string

	// Args are conditions on the arguments, all of which must hold. None: the rule always matches.
	Args []Arg

	// Action is what happens. It must be set.
	Action Action

	// Optional lets names pass that no architecture knows: calls newer than this package, or of an
	// architecture that it does not have. Without it such a name is an error that suggests the
	// nearest known one.
	Optional bool
}

// An Arg is a condition on one argument: (argument & Mask) Op Value, on unsigned 64-bit numbers.
type Arg struct {
	Index int // 0 to 5
	Op    Op  // must be set
	Value uint64

	// Mask selects bits of the argument before the comparison; zero: all 64. With Equal this is
	// libseccomp's "masked equal". Value may not have bits outside of it, since no argument could
	// ever be equal.
	//
	// Use Low32 for an argument that the kernel takes as int, unsigned int, pid_t or mode_t: it
	// ignores the upper half, which the caller is free to fill.
	Mask uint64
}

// Low32 is the Mask for arguments that are 32 bits wide in the kernel.
const Low32 = 0xffffffff

// An Op compares an argument with a value. The zero Op is none, and invalid.
type Op uint8

// The comparisons, all unsigned.
const (
	Equal Op = iota + 1
	NotEqual
	Less
	LessEqual
	Greater
	GreaterEqual
)

var opNames = [...]string{
	Equal: "==", NotEqual: "!=", Less: "<", LessEqual: "<=", Greater: ">", GreaterEqual: ">=",
}

// String returns the operator as Go spells it, "none" for the zero Op.
func (o Op) String() string {
	if o >= Equal && o <= GreaterEqual {
		return opNames[o]
	}
	if o == 0 {
		return "none"
	}
	return fmt.Sprintf("Op(%d)", uint8(o))
}

// A PolicyError is one fault of a policy or of a profile that was read.
type PolicyError struct {
	Field  string // the path of the field: "Rules[2].Args[0].Op"; of a profile: "syscalls[2].names[0]"
	Reason string // what is wrong, and what to do about it
}

func (e *PolicyError) Error() string { return "seccomp: " + e.Field + ": " + e.Reason }

// faults collects the errors of one policy.
type faults []error

func (f *faults) add(field, format string, args ...any) {
	*f = append(*f, &PolicyError{Field: field, Reason: fmt.Sprintf(format, args...)})
}

// Validate reports every fault of the policy at once: joined errors of type [*PolicyError], or nil.
func (p *Policy) Validate() error {
	if p == nil {
		return &PolicyError{Field: "Policy", Reason: "is nil: use Default() for the built-in one"}
	}
	var f faults
	if fault := p.Default.check(); fault != "" {
		f.add("Default", "%s", fault)
	}
	if p.BadArch != 0 {
		if fault := p.BadArch.check(); fault != "" {
			f.add("BadArch", "%s", fault)
		} else if p.BadArch.runs() {
			f.add("BadArch", "%s would open every call by its number in another ABI: refuse, or compile for that ABI", p.BadArch)
		}
	}
	if p.Unknown != 0 {
		if fault := p.Unknown.check(); fault != "" {
			f.add("Unknown", "%s", fault)
		}
	}
	for i := range p.Rules {
		p.Rules[i].validate(&f, i)
	}
	return errors.Join(f...)
}

func (r *Rule) validate(f *faults, i int) {
	if fault := r.Action.check(); fault != "" {
		f.add(fmt.Sprintf("Rules[%d].Action", i), "%s", fault)
	}
	if len(r.Names) == 0 {
		f.add(fmt.Sprintf("Rules[%d].Names", i), "none: a rule without names matches nothing; for all calls use Default")
	}
	for j, name := range r.Names {
		if known(name) || r.Optional && spelled(name) {
			continue
		}
		f.add(fmt.Sprintf("Rules[%d].Names[%d]", i, j), "%s", unknownName(name))
	}
	for j := range r.Args {
		r.Args[j].validate(f, i, j)
	}
}

func (a *Arg) validate(f *faults, i, j int) {
	field := func(name string) string { return fmt.Sprintf("Rules[%d].Args[%d].%s", i, j, name) }
	if a.Index < 0 || a.Index > 5 {
		f.add(field("Index"), "%d: a call has the arguments 0 to 5", a.Index)
	}
	switch {
	case a.Op == 0:
		f.add(field("Op"), "no comparison: say Equal, NotEqual, Less, LessEqual, Greater or GreaterEqual")
	case a.Op > GreaterEqual:
		f.add(field("Op"), "%d is not a comparison", uint8(a.Op))
	}
	if a.Mask != 0 && a.Value&^a.Mask != 0 {
		f.add(field("Value"), "%#x has bits outside Mask %#x, so that no argument can be equal to it", a.Value, a.Mask)
	}
}

// mask returns the bits that are compared.
func (a *Arg) mask() uint64 {
	if a.Mask == 0 {
		return ^uint64(0)
	}
	return a.Mask
}

// badArch and unknown resolve the zero values.
func (p *Policy) badArch() Action {
	if p.BadArch == 0 {
		return KillProcess
	}
	return p.BadArch
}

func (p *Policy) unknown() Action {
	if p.Unknown == 0 {
		return Errno(eNOSYS)
	}
	return p.Unknown
}

// Clone returns a copy that shares nothing with p.
func (p *Policy) Clone() *Policy {
	c := *p
	c.Rules = slices.Clone(p.Rules)
	for i := range c.Rules {
		c.Rules[i].Names = slices.Clone(c.Rules[i].Names)
		c.Rules[i].Args = slices.Clone(c.Rules[i].Args)
	}
	return &c
}

// parseArchs resolves the names of architectures that a caller gave.
func parseArchs(names []string) ([]kernel.Arch, error) {
	if len(names) == 0 {
		return nil, &PolicyError{Field: "archs", Reason: "none: name at least one, such as runtime.GOARCH"}
	}
	var f faults
	archs := make([]kernel.Arch, 0, len(names))
	for i, name := range names {
		a, ok := kernel.ParseArch(name)
		switch {
		case !ok:
			f.add(fmt.Sprintf("archs[%d]", i), "%q has no table of system calls here: want one of %v", name, kernel.Archs())
		case slices.Contains(archs, a):
			f.add(fmt.Sprintf("archs[%d]", i), "%q is given twice", name)
		default:
			archs = append(archs, a)
		}
	}
	return archs, errors.Join(f...)
}
