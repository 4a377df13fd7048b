//go:build linux

package sandbox

import (
	"context"
	"runtime"
	"slices"
	"syscall"

	"github.com/ringfence-go/ringfence/seccomp"
)

// Learn runs a command as Run does and returns the smallest policy under which it can do the same again,
// for Spec.Seccomp. Meanwhile Spec.Seccomp, or seccomp.Default(), decides what the command may do: what
// is refused stays refused, and is learned as refused. Every call costs about 10 µs more.
//
// A program does not make the same calls in every run: give it work that shows all it can do, or use a
// seccomp.Learner with a Supervisor over several runs. The policy is not nil if and only if the Result is
// not; a Spec with a Supervisor of its own, or a policy that notifies, is a *SpecError.
func Learn(ctx context.Context, spec Spec) (*seccomp.Policy, *Result, error) {
	if spec.Supervisor != nil {
		return nil, nil, &SpecError{Field: "Supervisor", Reason: "set, but Learn answers the calls"}
	}
	base := spec.Seccomp
	if base == nil {
		base = seccomp.Default()
	}
	if slices.Contains(actions(base), seccomp.Notify) {
		return nil, nil, &SpecError{Field: "Seccomp", Reason: "it notifies, but Learn answers the calls"}
	}
	learner, err := seccomp.NewLearner(base, runtime.GOARCH, startingCalls...)
	if err != nil {
		return nil, nil, &SpecError{Field: "Seccomp", Reason: err.Error()}
	}
	spec.Seccomp = learner.Watching()
	spec.Supervisor = func(_ context.Context, n *Notification) Answer { return decided(learner.Record(n.Call)) }
	result, err := Run(ctx, spec)
	if result == nil {
		return nil, nil, err
	}
	return learner.Policy(), result, err
}

// decided returns the answer that does what an action says.
func decided(a seccomp.Action) Answer {
	switch {
	case a == seccomp.Allow, a == seccomp.Log:
		return Continue()
	case kills(a), a == seccomp.Trap:
		return EndRun()
	}
	switch n, ok := a.Errno(); {
	case ok && n == 0:
		return Return(0)
	case ok:
		return Refuse(syscall.Errno(n))
	}
	return Refuse(syscall.ENOSYS) // what the kernel says where nobody traces, and nobody is asked
}
