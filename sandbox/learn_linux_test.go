package sandbox

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/ringfence-go/ringfence/seccomp"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// A program does again what it did, and nothing else.
func TestLearnedPolicyIsEnoughAndNoMore(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		need []sandboxtest.Requirement
		spec Spec
		more []string // arguments with which it does something else
		call string   // what that is
	}{
		"sh": {nil, script("cd /tmp && mkdir x && echo hello > x/y && cat x/y"), []string{"sh", "-c", "cd /tmp && mkdir x && rmdir x"}, "rmdir"},
		"python3": {[]sandboxtest.Requirement{systemPython}, Spec{Args: []string{"/usr/bin/python3", "-c", "import json; print(json.dumps({'a': [1, 2]}))"}},
			[]string{"/usr/bin/python3", "-c", "import os; os.mkdir('/tmp/x')"}, "mkdir"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sandboxtest.Need(t, append(test.need, sandboxtest.UserNamespaces())...)
			spec := test.spec
			p, r, err := Learn(t.Context(), spec)
			if err != nil || r.Err() != nil {
				t.Fatal(r, err)
			}
			spec.Seccomp = p
			for range 10 {
				if out, err := Output(t.Context(), spec); err != nil {
					t.Fatalf("under what it has learned: %v %s %s", err, out, stderrOf(err))
				}
			}
			spec.Args = test.more
			onlyForbidden(t, spec, test.call)
		})
	}
}

// onlyForbidden checks that a command is forbidden for a call by its policy, and fine by the default.
func onlyForbidden(t *testing.T, spec Spec, call string) {
	t.Helper()
	r, err := Run(t.Context(), spec)
	if err != nil || r.Ended != Forbidden || !strings.HasPrefix(r.Syscall, call) {
		t.Errorf("something else: %v, %v; want %s forbidden", r, err, call)
	}
	spec.Seccomp = nil
	if r, err := Run(t.Context(), spec); err != nil || r.Err() != nil {
		t.Errorf("something else by the default policy: %v, %v", r, err)
	}
}

// A program with threads does not the same in every run. A Learner watches it until nothing new comes.
func TestLearnerOverSeveralRunsOfAGoProgram(t *testing.T) {
	t.Parallel()
	learner, err := seccomp.NewLearner(seccomp.Default(), runtime.GOARCH, startingCalls...)
	if err != nil {
		t.Fatal(err)
	}
	watched := victimSpec(t, "print:hello")
	watched.Seccomp = learner.Watching()
	watched.Supervisor = func(_ context.Context, n *Notification) Answer { return decided(learner.Record(n.Call)) }
	spec := victimSpec(t, "print:hello")
	const enough = 5
	for same, tries := 0, 0; same < enough; tries++ {
		if tries == 200 {
			t.Fatal("it never does the same")
		}
		for range 3 {
			if r, err := Run(t.Context(), watched); err != nil || r.Err() != nil {
				t.Fatal(r, err)
			}
		}
		spec.Seccomp = learner.Policy()
		for same = 0; same < enough; same++ {
			r, err := Run(t.Context(), spec)
			if err != nil || r.Err() != nil && r.Ended != Forbidden {
				t.Fatal(r, err)
			}
			if r.Ended == Forbidden {
				break
			}
		}
	}
	spec.Args = append(spec.Args, "mkdir:/tmp/x")
	for tries := 0; ; tries++ {
		r, err := Run(t.Context(), spec)
		if err != nil || r.Ended != Forbidden || tries == 50 {
			t.Fatalf("something else: %v, %v; want mkdirat forbidden", r, err)
		}
		if r.Syscall == "mkdirat" {
			break // and not what the runtime does once in a while
		}
	}
}

// systemPython is the distribution's Python: one in somebody's home is not in the sandbox.
var systemPython = sandboxtest.Requirement{Name: "python3", Check: func() error {
	path, err := exec.LookPath("/usr/bin/python3")
	if err == nil {
		_, err = filepath.EvalSymlinks(path)
	}
	return err
}}

// The base decides while a program is watched, and bounds what is learned.
func TestLearnObeysItsBase(t *testing.T) {
	t.Parallel()
	spec := script("mkdir /tmp/x; unshare -U true; echo $?")
	base := seccomp.Default()
	base.Rules = append([]seccomp.Rule{{Names: []string{"mkdir", "mkdirat"}, Action: seccomp.Errno(30)}}, base.Rules...)
	spec.Seccomp = base
	var out, errs bytes.Buffer
	spec.Stdout, spec.Stderr = &out, &errs
	p, r, err := Learn(t.Context(), spec)
	if err != nil || r.Ended != Exited || !strings.Contains(errs.String(), "Read-only file system") || !strings.Contains(errs.String(), "Operation not permitted") {
		t.Fatalf("%v, %v: %s", r, err, &errs)
	}
	first := errs.String()
	errs.Reset()
	spec.Seccomp = p
	if r, err = Run(t.Context(), spec); err != nil || r.Ended != Exited || errs.String() != first {
		t.Errorf("under what it has learned: %v, %v: %s", r, err, &errs)
	}
	// What the base kills for ends the run that is watched.
	base.Rules[0].Action = seccomp.KillProcess
	spec.Seccomp = base
	p, r, err = Learn(t.Context(), spec)
	if err != nil || p == nil || r.Ended != Forbidden || !strings.HasPrefix(r.Syscall, "mkdir") {
		t.Errorf("a base that kills: %v, %v", r, err)
	}
}

func TestLearnOfWhatDoesNotStart(t *testing.T) {
	t.Parallel()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	p, r, err := Learn(t.Context(), Spec{Args: []string{"/no/such/command"}})
	if p != nil || r != nil || !errors.Is(err, ErrNotFound) {
		t.Errorf("%v, %v, %v: want ErrNotFound alone", p, r, err)
	}
	var fault *SpecError
	own := script("exit 0")
	supervised(always(Continue()), "getppid")(&own)
	if p, r, err = Learn(t.Context(), own); p != nil || r != nil || !errors.As(err, &fault) || fault.Field != "Supervisor" {
		t.Errorf("a supervisor of its own: %v, %v, %v", p, r, err)
	}
	for name, base := range map[string]*seccomp.Policy{
		"notifies": {Default: seccomp.Allow, Rules: []seccomp.Rule{{Names: []string{"getppid"}, Action: seccomp.Notify}}},
		"unknown":  {Default: seccomp.Allow, Rules: []seccomp.Rule{{Names: []string{"no_such_call"}, Action: seccomp.Allow}}},
	} {
		spec := script("exit 0")
		spec.Seccomp = base
		if p, r, err := Learn(t.Context(), spec); p != nil || r != nil || !errors.As(err, &fault) || fault.Field != "Seccomp" {
			t.Errorf("%s: %v, %v, %v", name, p, r, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if p, r, err = Learn(ctx, script("exit 0")); p != nil || r != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v, %v, %v", p, r, err)
	}
}
