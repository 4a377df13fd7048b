package sandbox

import (
	"context"
	"errors"
	"syscall"
	"testing"

	"github.com/ringfence-go/ringfence/internal/launch"
	"github.com/ringfence-go/ringfence/internal/plan"
)

// Two more of the steps at which hosts are known to refuse.
const (
	stepPrivate  = "keep mounts from propagating"
	stepMakeProc = "make a proc for /proc: mount it"
)

// stepIndex returns the step with this label.
func stepIndex(t *testing.T, p *Plan, label string) int {
	t.Helper()
	for i, op := range p.program.Ops {
		if op.Label == label {
			return i
		}
	}
	t.Fatalf("no step is called %q", label)
	return -1
}

func zeroPlan(t *testing.T) *Plan {
	t.Helper()
	p, err := Compile(Spec{Args: []string{"true"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRefusalsOfHostsAreTold(t *testing.T) {
	p := zeroPlan(t)
	steps := map[string]Feature{
		"start PID 1 in namespaces of its own": UserNamespace,
		stepPrivate:                            MountNamespace,
		stepMakeProc:                           NewProc,
	}
	if !p.resolved.ids.byCaller {
		steps[stepDenySetgroups], steps[stepMapUsers] = UserNamespace, UserNamespace
	}
	for label, feature := range steps {
		err := p.startError(context.Background(), &launch.FailedError{Index: stepIndex(t, p, label), Result: -int64(syscall.EPERM)})
		var u *UnsupportedError
		if !errors.As(err, &u) || u.Feature != feature || u.Remedy == "" || !errors.Is(err, errors.ErrUnsupported) || !errors.Is(err, syscall.EPERM) {
			t.Errorf("EPERM at %q: %v, want %s with a remedy", label, err, feature)
		}
	}
	for _, errno := range []syscall.Errno{syscall.EAGAIN, syscall.ENOMEM} {
		err := p.startError(context.Background(), &launch.FailedError{Index: stepIndex(t, p, stepMakeProc), Result: -int64(errno)})
		var op *OpError
		if !errors.As(err, &op) || errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%v: %v, want an *OpError: the host is able to", errno, err)
		}
	}
}

func TestRemediesNameTheirStep(t *testing.T) {
	p, err := Compile(Spec{Args: []string{"true"}, Root: Root{Path: "/"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for label, errno := range map[string]syscall.Errno{stepMountDev: syscall.ENOENT, stepMountProc: syscall.ENOTDIR} {
		i := stepIndex(t, p, label)
		err := p.startError(context.Background(), &launch.FailedError{Index: i, Result: -int64(errno)})
		var op *OpError
		if !errors.As(err, &op) || op.Index != i || op.Op != label || op.Call == "" || op.Remedy == "" || !errors.Is(err, errno) {
			t.Errorf("%v at %q: %#v, want an *OpError with a remedy", errno, label, err)
		}
	}
}

func TestOddReportsAreErrors(t *testing.T) {
	p := zeroPlan(t)
	for _, failed := range []launch.FailedError{{Index: -1}, {Index: 1 << 20}, {Index: 0, Result: 7}} {
		var op *OpError
		if err := p.startError(context.Background(), &failed); !errors.As(err, &op) || op.Err == nil {
			t.Errorf("%+v: %v, want an *OpError with a cause", failed, err)
		}
	}
}

func TestCommandErrors(t *testing.T) {
	p, err := Compile(Spec{Args: []string{"x"}, Env: []string{"PATH=/a:/b"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	last := len(p.program.Ops) - 1
	for last >= 0 && (p.program.Ops[last].Process != plan.Command || p.program.Ops[last].Call.Name != "execve") {
		last--
	}
	const found, missing, refused = 0, -int64(syscall.ENOENT), -int64(syscall.EACCES)
	for _, tt := range []struct {
		result int64
		notes  []int64
		want   error
	}{
		{missing, []int64{missing, missing}, ErrNotFound},
		{missing, []int64{found, missing}, ErrNoInterpreter},
		{missing, []int64{missing, found}, ErrNoInterpreter},
		{missing, []int64{refused, missing}, ErrNotExecutable},
		{refused, []int64{missing, refused}, ErrNotExecutable},
		{refused, []int64{missing, found}, ErrNotExecutable},
		{-int64(syscall.ENOEXEC), []int64{missing, found}, ErrNotExecutable},
		{-int64(syscall.E2BIG), []int64{missing, found}, syscall.E2BIG},
		{missing, nil, ErrNotFound},
	} {
		err := p.startError(context.Background(), &launch.FailedError{Index: last, Result: tt.result, Notes: tt.notes})
		if !errors.Is(err, tt.want) {
			t.Errorf("execve %d after %v: %v, want %v", tt.result, tt.notes, err, tt.want)
		}
	}
}
