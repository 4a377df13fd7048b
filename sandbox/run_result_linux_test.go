package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// The run_…_linux_test.go are about Run, Cmd and Result. This one: how a command ended is told as it was.

// run runs a command that must start.
func run(t testing.TB, spec Spec) *Result {
	t.Helper()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	r, err := Run(t.Context(), spec)
	if err != nil {
		t.Fatalf("%q: %v, %v", spec.Args, r, err)
	}
	return r
}

func script(text string) Spec { return Spec{Args: []string{"sh", "-c", text}} }

func TestExitCodeIsTheCommandsOwn(t *testing.T) {
	t.Parallel()
	for _, code := range []int{0, 1, 2, 124, 125, 126, 127, 128, 137, 143, 255} {
		r := run(t, script(fmt.Sprintf("exit %d", code)))
		if r.Ended != Exited || r.ExitCode != code || r.Signal != 0 {
			t.Errorf("exit %d: %v, code %d, signal %v", code, r.Ended, r.ExitCode, r.Signal)
		}
		if err := r.Err(); (err == nil) != (code == 0) {
			t.Errorf("exit %d: Err is %v", code, err)
		}
	}
}

// ignored are the signals that end nothing by default (signal(7)).
var ignored = []syscall.Signal{syscall.SIGCHLD, syscall.SIGCONT, syscall.SIGURG, syscall.SIGWINCH,
	syscall.SIGSTOP, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU}

func TestSignalIsTheCommandsOwn(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 64; n++ {
		sig := syscall.Signal(n)
		if slices.Contains(ignored, sig) || n == 32 || n == 33 { // the C library's own
			continue
		}
		r := run(t, victimSpec(t, fmt.Sprintf("raise:%d", n)))
		if r.Ended != Signaled || r.Signal != sig || r.ExitCode != -1 {
			t.Errorf("signal %d to itself: %v, code %d, signal %v", n, r.Ended, r.ExitCode, r.Signal)
		}
	}
}

func TestCommandDiesLikeOutside(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]syscall.Signal{
		"kill -TERM $$; sleep 10": syscall.SIGTERM,
		"kill -KILL $$; sleep 10": syscall.SIGKILL,
		"kill -SYS $$; sleep 10":  syscall.SIGSYS,
	} {
		if r := run(t, script(text)); r.Ended != Signaled || r.Signal != want {
			t.Errorf("%s: %v", text, r)
		}
	}
	spec := script("while :; do :; done")
	spec.Limits.Rlimits = []Rlimit{{"RLIMIT_CPU", 1, 5}}
	if r := run(t, spec); r.Ended != Signaled || r.Signal != syscall.SIGXCPU {
		t.Errorf("RLIMIT_CPU: %v", r)
	}
	// A shell reports a pipe that nobody reads as 128+13; the pipe is a real one, inside.
	if out := shell(t, nil, "(yes; echo $? >&2) 2>/tmp/code | head -1 >/dev/null; cat /tmp/code"); strings.TrimSpace(out) != "141" {
		t.Errorf("SIGPIPE: %q", out)
	}
}

func TestGarbageOnEveryDescriptorChangesNoResult(t *testing.T) {
	t.Parallel()
	spec := victimSpec(t, "garbage", "exit:5")
	r := run(t, spec)
	if r.Ended != Exited || r.ExitCode != 5 {
		t.Error(r)
	}
	got := inside(t, nil, "garbage").of("garbage")
	if got.Detail != "0 2" {
		t.Errorf("the payload could write to %q, want its null device and its standard error", got.Detail)
	}
}

func TestMissingCommandIsATypedError(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, file := range map[string]struct {
		data string
		mode os.FileMode
	}{
		"plain":     {"#!/bin/sh\n", 0o644},
		"script":    {"#!/no/such/interpreter\n", 0o755},
		"garbage":   {"neither a script nor ELF", 0o755},
		"empty":     {"", 0o755},
		"truncated": {"\x7fELF\x02\x01\x01", 0o755},
		"works":     {"#!/bin/sh\nexit 3\n", 0o755},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(file.data), file.mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		args string
		env  []string
		want error
	}{
		{"no-such-command", nil, ErrNotFound},
		{"/no/such/command", nil, ErrNotFound},
		{"/b/works/below", nil, ErrNotFound},
		{"", nil, nil},
		{"/usr", nil, ErrNotExecutable},
		{"/b", nil, ErrNotExecutable},
		{"/b/plain", nil, ErrNotExecutable},
		{"/b/garbage", nil, ErrNotExecutable},
		{"/b/empty", nil, ErrNotExecutable},
		{"/b/truncated", nil, ErrNotExecutable},
		{"/b/script", nil, ErrNoInterpreter},
		{"plain", []string{"PATH=/b"}, ErrNotExecutable},
		{"script", []string{"PATH=/nowhere:/b"}, ErrNoInterpreter},
		{"no-such-command", []string{"PATH="}, ErrNotFound},
	} {
		if test.args == "" {
			continue
		}
		r, err := Run(t.Context(), Spec{Args: []string{test.args}, Env: test.env, Mounts: []Mount{{Source: dir, Target: "/b"}}})
		var op *OpError
		if r != nil || !errors.Is(err, test.want) || !errors.As(err, &op) || !strings.Contains(err.Error(), test.args) {
			t.Errorf("%s: %v, %v, want %v that names it", test.args, r, err, test.want)
		}
	}
	if !errors.Is(ErrNotFound, os.ErrNotExist) || !errors.Is(ErrNotExecutable, os.ErrPermission) {
		t.Error("ErrNotFound is no fs.ErrNotExist or ErrNotExecutable no fs.ErrPermission")
	}
	r := run(t, Spec{Args: []string{"works"}, Env: []string{"PATH=/nowhere:/b"}, Mounts: []Mount{{Source: dir, Target: "/b"}}})
	if r.ExitCode != 3 {
		t.Errorf("the control: %v", r)
	}
}

func TestMissingLoaderIsErrNoInterpreter(t *testing.T) {
	t.Parallel()
	sandboxtest.Need(t, sandboxtest.UserNamespaces(), sandboxtest.Program("true"))
	root := t.TempDir()
	for _, e := range []string{"proc/", "dev/", "prog"} {
		addTo(t, root, e)
	}
	program, err := filepath.EvalSymlinks("/usr/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Run(t.Context(), Spec{Args: []string{"/prog"}, Root: Root{Path: root}, Mounts: []Mount{{Source: program, Target: "/prog"}}})
	if !errors.Is(err, ErrNoInterpreter) {
		t.Errorf("%v, want ErrNoInterpreter", err)
	}
}

func TestCanceledContextEndsARunAtAnyMoment(t *testing.T) {
	t.Parallel()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	before, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := Run(before, script("exit 0")); r != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("canceled before: %v, %v", r, err)
	}
	for i := range 60 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*200*time.Microsecond)
		r, err := Run(ctx, script("sleep 1000"))
		if !errors.Is(err, context.DeadlineExceeded) || r != nil && (r.Ended != Canceled || r.ExitCode != -1) {
			t.Errorf("after %d: %v, %v", i, r, err)
		}
		cancel()
	}
}

func TestWallTimeEndsARun(t *testing.T) {
	t.Parallel()
	spec := script("trap '' TERM INT HUP; sleep 1000 & echo started; sleep 1000")
	spec.Limits.WallTime = 200 * time.Millisecond
	var out bytes.Buffer
	spec.Stdout = &out
	r := run(t, spec)
	if r.Ended != TimedOut || r.Signal != syscall.SIGKILL || r.Usage.Wall < spec.Limits.WallTime || out.String() != "started\n" {
		t.Errorf("%v %v after %v, output %q", r, r.Signal, r.Usage.Wall, out.String())
	}
	spec = script("exit 7")
	spec.Limits.WallTime = time.Hour
	if r := run(t, spec); r.Ended != Exited || r.ExitCode != 7 {
		t.Error(r)
	}
}

func TestCPUTimeEndsARunOfOneOrManyProcesses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"while :; do :; done", "for i in 1 2 3 4 5 6 7 8 9 10; do (while :; do :; done) & done; wait",
		"while :; do (i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done); done"} {
		spec := script(text)
		spec.Limits.CPUTime = 200 * time.Millisecond
		if r := run(t, spec); r.Ended != OutOfCPUTime {
			t.Errorf("%s: %v", text, r)
		}
	}
	spec := script("sleep 0.5; exit 7")
	spec.Limits.CPUTime = 200 * time.Millisecond
	if r := run(t, spec); r.Ended != Exited || r.ExitCode != 7 {
		t.Errorf("one that sleeps: %v", r)
	}
}

func TestUsageIsPlausible(t *testing.T) {
	t.Parallel()
	r := run(t, victimSpec(t, "burn:300", "touch:96"))
	cpu := r.Usage.User + r.Usage.System
	if cpu < 300*time.Millisecond || cpu > 10*time.Second {
		t.Errorf("a burner of 300ms used %v", cpu)
	}
	if r.Usage.MemoryPeak < 96<<20 {
		t.Errorf("one who touched 96 MiB had %d bytes at most", r.Usage.MemoryPeak)
	}
	if r.Usage.Wall < 250*time.Millisecond || r.Usage.Setup <= 0 || r.Usage.PidsPeak != -1 {
		t.Errorf("usage %+v", r.Usage)
	}
	if idle := run(t, script("exit 0")).Usage; idle.MemoryPeak >= 64<<20 || idle.User+idle.System > sandboxtest.Slow(200*time.Millisecond) {
		t.Errorf("one that does nothing used %+v", idle)
	}
}

func TestResultSaysWhatHeldTheCommand(t *testing.T) {
	t.Parallel()
	spec := script("exit 0")
	spec.Limits = Limits{WallTime: time.Hour, OutputMax: 1, MemoryMax: 1 << 30, PidsMax: 100}
	spec.AllowMissing = []Feature{MemoryLimit, PidsLimit, IOLimits, Cgroup}
	spec.Cgroup.Path = t.TempDir() // which is none
	r := run(t, spec)
	if !slices.Equal(r.Missing, []Feature{Cgroup, MemoryLimit, PidsLimit}) {
		t.Errorf("Missing is %q", r.Missing)
	}
	var names []Feature
	for _, e := range r.Enforced {
		names = append(names, e.Feature)
		if e.By == "" {
			t.Errorf("%s by nothing", e.Feature)
		}
	}
	for feature, by := range map[Feature]string{MemoryLimit: "RLIMIT_DATA", PidsLimit: "RLIMIT_NPROC"} {
		if !slices.Contains(r.Enforced, Enforcement{feature, by}) {
			t.Errorf("%s is not enforced by %s: %v", feature, by, r.Enforced)
		}
	}
	for _, want := range []Feature{UserNamespace, MountNamespace, PIDNamespace, NetworkNamespace, IPCNamespace, UTSNamespace,
		CgroupNamespace, IDMap, NewProc, Capabilities, NoNewPrivs, SeccompBPF, WallTimeLimit, OutputLimit} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not enforced: %q", want, names)
		}
	}
	for _, not := range []Feature{Cgroup, CPUTimeLimit, Rlimits} {
		if slices.Contains(names, not) {
			t.Errorf("%s is said to be enforced", not)
		}
	}
}

func TestUnsupportedLimitsAreErrors(t *testing.T) {
	t.Parallel()
	for feature, limits := range map[Feature]Limits{
		MemoryLimit: {MemoryMax: 1 << 20}, PidsLimit: {PidsMax: 5}, CPULimit: {CPUMax: 1}, CPUWeight: {CPUWeight: 5},
		CPUSet: {CPUSet: "0"}, IOLimits: {IOMax: []IOLimit{{Path: "/", ReadBPS: 1}}},
	} {
		spec := script("exit 0")
		spec.Limits, spec.AllowMissing = limits, []Feature{Cgroup}
		spec.Cgroup.Path = t.TempDir() // which is none
		r, err := Run(t.Context(), spec)
		var u *UnsupportedError
		if r != nil || !errors.As(err, &u) || u.Feature != feature || !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %v, %v", feature, r, err)
		}
	}
}
