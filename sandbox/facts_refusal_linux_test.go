package sandbox

import (
	"bytes"
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/ringfence-go/ringfence/seccomp"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
	"github.com/ringfence-go/ringfence/testing/victim"
)

// Facts about calls for which the policy kills: the run ends, the Result names the call, and the payload
// can neither take it back nor stop whoever saw it.

// killFor makes the policy of a Spec kill for calls, and do whatever the default does with others.
func killFor(names ...string) func(*Spec) {
	return func(spec *Spec) {
		spec.Seccomp = seccomp.Default()
		spec.Seccomp.Rules = append([]seccomp.Rule{{Names: names, Action: seccomp.KillProcess}}, spec.Seccomp.Rules...)
	}
}

// forbidden runs an act that is expected to end the run. If it did not, its outcome is returned too.
func forbidden(t testing.TB, act string, changes ...func(*Spec)) (*Result, *victim.Outcome) {
	t.Helper()
	spec := victimSpec(t, act)
	for _, change := range changes {
		change(&spec)
	}
	var out, errs bytes.Buffer
	spec.Stdout, spec.Stderr = &out, &errs
	r, err := Run(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := victim.Parse(out.Bytes()); err == nil {
		if o, ok := all[act]; ok {
			return r, &o
		}
	}
	return r, nil
}

// run runs a shell script, for its Result alone.
func runScript(t testing.TB, script string, changes ...func(*Spec)) *Result {
	t.Helper()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	spec := Spec{Args: []string{"sh", "-c", script}}
	for _, change := range changes {
		change(&spec)
	}
	r, err := Run(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestForbiddenCallIsNamed(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"the command":            "exec mkdir /tmp/x",
		"a child":                "mkdir /tmp/x; sleep 60",
		"an orphan":              "(sh -c 'mkdir /tmp/x' &) ; sleep 60",
		"one that ignores all":   "trap '' HUP INT QUIT TERM SYS; mkdir /tmp/x; sleep 60",
		"one in another session": "setsid mkdir /tmp/x; sleep 60",
	} {
		r := runScript(t, script, killFor("mkdir", "mkdirat"))
		if r.Ended != Forbidden || r.Syscall != "mkdir" && r.Syscall != "mkdirat" || r.Signal != syscall.SIGSYS || r.ExitCode != -1 {
			t.Errorf("%s: %v (%q, %v, %d), want mkdir forbidden", name, r, r.Syscall, r.Signal, r.ExitCode)
		}
		if control := runScript(t, "mkdir /tmp/x"); control.Ended != Exited || control.ExitCode != 0 {
			t.Errorf("mkdir by the default policy: %v", control)
		}
	}
}

func TestForbiddenByTheDefaultActionAndByThread(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]*seccomp.Policy{
		"default": {Default: seccomp.KillProcess, Rules: allButMkdir()},
		"thread":  {Default: seccomp.KillThread, Rules: allButMkdir()},
	} {
		r := runScript(t, "mkdir /tmp/x", func(s *Spec) { s.Seccomp = p })
		if r.Ended != Forbidden || r.Syscall != "mkdir" && r.Syscall != "mkdirat" {
			t.Errorf("%s: %v, want mkdir forbidden", name, r)
		}
	}
	r, _ := forbidden(t, "number:4000", func(s *Spec) {
		s.Seccomp = &seccomp.Policy{Default: seccomp.Allow, Unknown: seccomp.KillProcess}
	})
	if r.Ended != Forbidden || r.Syscall != "4000" {
		t.Errorf("a call that no table has: %v, want 4000 forbidden", r)
	}
}

// allButMkdir allows every call of the default policy but two.
func allButMkdir() []seccomp.Rule {
	rules := []seccomp.Rule{}
	for _, r := range seccomp.Default().Rules {
		if r.Action != seccomp.Allow || len(r.Args) > 0 {
			rules = append(rules, r)
			continue
		}
		var names []string
		for _, name := range r.Names {
			if name != "mkdir" && name != "mkdirat" {
				names = append(names, name)
			}
		}
		r.Names = names
		rules = append(rules, r)
	}
	return rules
}

// A call that a signal interrupts before anybody has received it is one that was made.
func TestForbiddenCallCannotBeTakenBack(t *testing.T) {
	t.Parallel()
	const act = "interrupt:/tmp/x"
	for range 20 {
		r, o := forbidden(t, act, killFor("mkdirat"))
		if r.Ended != Forbidden || r.Syscall != "" && r.Syscall != "mkdirat" {
			t.Fatalf("%v, %v, want a forbidden call", r, o)
		}
	}
	// Where a call that was given up before it was received counts for nothing, the same act succeeds, if not
	// always: it takes a signal at that moment.
	for range 10 {
		r, o := forbidden(t, act, func(spec *Spec) {
			spec.Seccomp = &seccomp.Policy{Default: seccomp.Allow, Rules: []seccomp.Rule{{Names: []string{"mkdirat"}, Action: seccomp.Notify}}}
			spec.Supervisor = func(context.Context, *Notification) Answer { return Continue() }
		})
		if r.Ended == Exited && o != nil && o.Err == "EINTR" {
			return
		}
		t.Logf("with a supervisor: %v, %v, want EINTR", r, o)
	}
	t.Error("no call was given up: this proves nothing")
}

// The witness is a thread of PID 1, and out of the payload's reach as that is.
func TestWitnessOutlivesWhatThePayloadDoes(t *testing.T) {
	t.Parallel()
	script := "until [ $(ls /proc/1/task | wc -l) = 2 ]; do :; done\n" +
		"for s in $(seq 1 64); do for tid in $(ls /proc/1/task); do kill -$s $tid; done; done\n" +
		"[ $(ls /proc/1/task | wc -l) = 2 ] || exit 7\n" +
		"cat /proc/1/task/*/mem /proc/1/task/*/environ /proc/1/task/*/syscall && exit 8\n" +
		"mkdir /tmp/x; sleep 60"
	if r := runScript(t, script, killFor("mkdir", "mkdirat")); r.Ended != Forbidden {
		t.Errorf("%v (%d), want mkdir forbidden", r, r.ExitCode)
	}
}

// Nothing is forbidden about an end of the payload's own making, however it comes about.
func TestEndThatNobodyForbade(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]Result{
		"exit 3":            {Ended: Exited, ExitCode: 3},
		"sleep 60 & exit 0": {Ended: Exited},
		"kill -KILL $$":     {Ended: Signaled, ExitCode: -1, Signal: syscall.SIGKILL},
		"kill -SYS $$":      {Ended: Signaled, ExitCode: -1, Signal: syscall.SIGSYS},
	} {
		for range 20 {
			r := runScript(t, script)
			if r.Ended != want.Ended || r.ExitCode != want.ExitCode || r.Signal != want.Signal || r.Syscall != "" {
				t.Fatalf("%s: %v", script, r)
			}
		}
	}
}

// The witness needs a place in the process table, and has it before the command can take every one.
func TestForkBombIsNoStartError(t *testing.T) {
	t.Parallel()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	for range 30 {
		spec := Spec{Args: []string{"sh", "-c", "while :; do sleep 60 & done"}}
		// Of the sandbox's own user namespace: Linux 5.14.
		spec.Limits.Rlimits = []Rlimit{{Type: "RLIMIT_NPROC", Soft: 16, Hard: 16}}
		spec.Limits.WallTime = 20 * time.Millisecond
		if r, err := Run(t.Context(), spec); err != nil || r.Ended != TimedOut && r.Ended != Exited {
			t.Fatalf("%v, %v, want a run", r, err)
		}
	}
}
