//go:build linux

package sandbox

import (
	"github.com/ringfence-go/ringfence/internal/plan"
)

// Plan is the set-up of a sandbox as data: every system call, in order, with its arguments and the
// result that it must have.
type Plan struct {
	resolved *resolved
	program  *plan.Program
}

// String prints the plan in the manner of strace(1), a step a line, for each of the three processes. The
// values of Env are left out. The same Spec on the same Host gives the same text.
func (p *Plan) String() string { return p.program.String() }

// Compile returns the plan of spec for host; nil is this machine. Beside the host's facts it looks at
// what the sources of the Spec are; it starts nothing. The errors are those of Run before a start. Whether
// a cgroup can be had is not tried: where the Spec cannot do without, the plan is that of a host where it can.
func Compile(spec Spec, host *Host) (*Plan, error) {
	if err := validate(&spec); err != nil {
		return nil, err
	}
	_, needed := wantsCgroup(&spec)
	return compileAt(&spec, host, placement{assumed: needed}, resolveRunning)
}

// compileAt is Compile for a sandbox whose place is known.
//
// Preconditions: validate found no fault in spec.
func compileAt(spec *Spec, host *Host, where placement, mode resolveMode) (*Plan, error) {
	if host == nil {
		var err error
		if host, err = thisHost.get(); err != nil {
			return nil, err
		}
	}
	r, err := resolve(spec, host, where, mode)
	if err != nil {
		return nil, err
	}
	return checked(r, compile(r))
}

// checked returns the plan of a program, if it breaks no rule.
func checked(r *resolved, p *plan.Program) (*Plan, error) {
	if err := plan.Check(p); err != nil {
		return nil, &OpError{Index: -1, Op: "check the plan", Err: err, Remedy: "this is a fault of the library: please report it"}
	}
	return &Plan{resolved: r, program: p}, nil
}
