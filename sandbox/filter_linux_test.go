package sandbox

import (
	"context"
	"errors"
	"testing"

	"github.com/ringfence-go/ringfence/seccomp"
)

func TestPolicyThatEndsTheCommandAtItsStartIsRefused(t *testing.T) {
	for _, action := range []seccomp.Action{seccomp.KillProcess, seccomp.KillThread, seccomp.Trap} {
		p := &seccomp.Policy{Default: seccomp.Allow, Rules: []seccomp.Rule{{Names: []string{"execve"}, Action: action}}}
		r, err := Run(context.Background(), Spec{Args: []string{"true"}, Seccomp: p})
		var spec *SpecError
		if r != nil || !errors.As(err, &spec) || spec.Field != "Seccomp" {
			t.Errorf("%v: result %v, error %v, want a fault of Seccomp", action, r, err)
		}
	}
}

func TestPolicyThatRefusesExecveIsAnErrorOfTheStart(t *testing.T) {
	p := &seccomp.Policy{Default: seccomp.Allow, Rules: []seccomp.Rule{{Names: []string{"execve"}, Action: seccomp.Errno(5)}}}
	r, err := Run(context.Background(), Spec{Args: []string{"/bin/true"}, Seccomp: p})
	var op *OpError
	if r != nil || !errors.As(err, &op) || op.Err.Error() != "input/output error" {
		t.Errorf("result %v, error %v, want an *OpError with EIO", r, err)
	}
}

func TestNotifyAndSupervisorComeTogether(t *testing.T) {
	for name, p := range map[string]*seccomp.Policy{
		"default":  {Default: seccomp.Notify},
		"bad arch": {Default: seccomp.Allow, BadArch: seccomp.Notify},
		"rule":     {Default: seccomp.Allow, Rules: []seccomp.Rule{{Names: []string{"mkdir"}, Action: seccomp.Notify}}},
	} {
		var spec *SpecError
		if _, err := Compile(Spec{Args: []string{"true"}, Seccomp: p}, nil); !errors.As(err, &spec) || spec.Field != "Seccomp" {
			t.Errorf("%s without a supervisor: %v, want a fault of Seccomp", name, err)
		}
	}
	answer := func(context.Context, *Notification) Answer { return Continue() }
	for _, p := range []*seccomp.Policy{nil, seccomp.Default()} {
		var spec *SpecError
		if _, err := Compile(Spec{Args: []string{"true"}, Seccomp: p, Supervisor: answer}, nil); !errors.As(err, &spec) || spec.Field != "Supervisor" {
			t.Errorf("a supervisor that is never asked: %v, want a fault of Supervisor", err)
		}
	}
}

func TestPolicyThatAsksAtTheStartIsRefused(t *testing.T) {
	answer := func(context.Context, *Notification) Answer { return Continue() }
	for _, name := range startingCalls {
		p := &seccomp.Policy{Default: seccomp.Allow, Rules: []seccomp.Rule{{Names: []string{name}, Action: seccomp.Notify}}}
		var spec *SpecError
		if _, err := Compile(Spec{Args: []string{"true"}, Seccomp: p, Supervisor: answer}, nil); !errors.As(err, &spec) || spec.Field != "Seccomp" {
			t.Errorf("%s: %v, want a fault of Seccomp", name, err)
		}
	}
}

func TestSpecWithItsOwnPolicy(t *testing.T) {
	deny := &seccomp.Policy{Default: seccomp.Allow, Rules: []seccomp.Rule{{Names: []string{"mkdir", "mkdirat"}, Action: seccomp.Errno(5)}}}
	for _, tt := range []struct {
		policy *seccomp.Policy
		want   int
	}{{nil, 0}, {deny, 1}} {
		r, err := Run(context.Background(), Spec{Args: []string{"mkdir", "/tmp/x"}, Seccomp: tt.policy})
		if err != nil || r.Ended != Exited || r.ExitCode != tt.want {
			t.Errorf("mkdir under %v: %v, %v, want exit code %d", tt.policy, r, err, tt.want)
		}
	}
}

// Under Strict with a window the command is executed, and nothing after it.
func TestStrictPolicyAllowsOneExecve(t *testing.T) {
	once := func(s *Spec) { s.Seccomp = seccomp.Strict(seccomp.StrictOptions{Exec: seccomp.LaunchWindow}) }
	if r := runScript(t, "echo once", once); r.Ended != Exited || r.ExitCode != 0 {
		t.Errorf("the first: %v", r)
	}
	if r := runScript(t, "exec true", once); r.Ended != Forbidden || r.Syscall != "execve" {
		t.Errorf("the second: %v, want execve forbidden", r)
	}
	many := func(s *Spec) { s.Seccomp = seccomp.Strict(seccomp.StrictOptions{}) }
	if r := runScript(t, "exec true", many); r.Ended != Exited || r.ExitCode != 0 {
		t.Errorf("without the window: %v: this proves nothing", r)
	}
	// PATH is searched from there, too.
	r, err := Run(context.Background(), Spec{Args: []string{"no-such-command"}, Seccomp: seccomp.Strict(seccomp.StrictOptions{Exec: seccomp.LaunchWindow})})
	if r != nil || !errors.Is(err, ErrNotFound) {
		t.Errorf("%v, %v, want %v", r, err, ErrNotFound)
	}
	spec := Spec{Args: []string{"true"}, Limits: Limits{Rlimits: []Rlimit{{Type: "RLIMIT_STACK", Soft: 1, Hard: RlimInfinity}}}}
	once(&spec)
	var fault *SpecError
	if _, err := Compile(spec, nil); !errors.As(err, &fault) || fault.Field != "Limits.Rlimits[0].Hard" {
		t.Errorf("a stack without bounds: %v", err)
	}
}
