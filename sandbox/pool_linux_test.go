package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringfence-go/ringfence/seccomp"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

func pool(t *testing.T, spec Spec, o PoolOptions) *Pool {
	t.Helper()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	p, err := NewPool(t.Context(), spec, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return p
}

func TestPoolRunsEachCommandInASandboxOfItsOwn(t *testing.T) {
	t.Parallel()
	p := pool(t, Spec{}, PoolOptions{Size: 2})
	for i := range 6 {
		var out, errs strings.Builder
		script := `read line; echo "$line $1 $PWD $X"; echo err >&2; test ! -e /tmp/x || exit 99; touch /tmp/x; ls /proc/self/fd | wc -l; exit $1`
		r, err := p.Run(t.Context(), Spec{Args: []string{"sh", "-c", script, "sh", fmt.Sprint(i)}, Env: []string{"PATH=/usr/bin:/bin", "X=y z"}, Dir: "/tmp",
			Stdin: strings.NewReader("hello\n"), Stdout: &out, Stderr: &errs})
		if err != nil {
			t.Fatal(err)
		}
		if r.Ended != Exited || r.ExitCode != i {
			t.Errorf("run %d: %v", i, r)
		}
		if want := fmt.Sprintf("hello %d /tmp y z\n4\n", i); out.String() != want || errs.String() != "err\n" {
			t.Errorf("run %d: %q, %q, want %q", i, out.String(), errs.String(), want)
		}
	}
}

func TestPoolSaysWhatWentWrong(t *testing.T) {
	t.Parallel()
	p := pool(t, Spec{}, PoolOptions{Size: 1})
	for name, want := range map[string]error{"no-such-command": ErrNotFound, "/etc/passwd": ErrNotExecutable} {
		if _, err := p.Run(t.Context(), Spec{Args: []string{name}}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	if _, err := p.Run(t.Context(), Spec{Args: []string{"true"}, Dir: "/nowhere"}); err == nil || !strings.Contains(err.Error(), "change to the directory") {
		t.Errorf("no directory: %v", err)
	}
	var fault *SpecError
	for name, spec := range map[string]Spec{
		"hostname":  {Args: []string{"true"}, Hostname: "x"},
		"user":      {Args: []string{"true"}, User: &User{}},
		"long":      {Args: []string{"true", strings.Repeat("x", 100_000)}},
		"many":      {Args: make([]string, 300)},
		"much PATH": {Args: []string{"true"}, Env: []string{"PATH=/a:/b:/c:/d:/e:/f:/g:/h:/i:/j:/k:/l:/m"}},
		"long PATH": {Args: []string{"true"}, Env: []string{"PATH=/a:/" + strings.Repeat("b", 300)}},
	} {
		if name == "many" {
			spec.Args[0] = "true"
		}
		if _, err := p.Run(t.Context(), spec); !errors.As(err, &fault) {
			t.Errorf("%s: %v, want a *SpecError", name, err)
		}
	}
	r, err := p.Run(t.Context(), Spec{Args: []string{"sh", "-c", "kill -9 $$"}})
	if err != nil || r.Ended != Signaled {
		t.Errorf("%v, %v", r, err)
	}
	r, err = p.Run(t.Context(), Spec{Args: []string{"sleep", "60"}, Limits: Limits{WallTime: sandboxtest.Slow(50 * time.Millisecond)}})
	if err != nil || r.Ended != TimedOut {
		t.Errorf("%v, %v", r, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c := p.Command(ctx, Spec{Args: []string{"sleep", "60"}})
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if r, err = c.Wait(); !errors.Is(err, context.Canceled) || r == nil || r.Ended != Canceled {
		t.Errorf("%v, %v", r, err)
	}
	if _, err := NewPool(t.Context(), Spec{Args: []string{"true"}}, PoolOptions{}); !errors.As(err, &fault) {
		t.Errorf("a pool with a command: %v", err)
	}
}

func TestPoolHoldsItsCommandsAsRunDoes(t *testing.T) {
	t.Parallel()
	policy := seccomp.Default()
	policy.Rules = append([]seccomp.Rule{{Names: []string{"mkdir", "mkdirat"}, Action: seccomp.KillProcess}}, policy.Rules...)
	p := pool(t, Spec{Seccomp: policy}, PoolOptions{Size: 1})
	r, err := p.Run(t.Context(), Spec{Args: []string{"sh", "-c", "mkdir /tmp/x; sleep 60"}})
	if err != nil || r.Ended != Forbidden || !strings.HasPrefix(r.Syscall, "mkdir") {
		t.Errorf("%v, %v", r, err)
	}
	const status = "grep -E '^(Uid|Gid|Groups|NoNewPrivs|Seccomp|Cap...|Sig...):' /proc/self/status; cat /proc/self/limits /proc/self/mountinfo | sed 's/^[0-9]* [0-9]* [0-9:]*//'; ls -l /proc/self/fd | wc -l; umask; cat /proc/self/stat | cut -d' ' -f1,4,5,6; ls /proc | grep '^[0-9]'"
	show := func(run func(context.Context, Spec) (*Result, error)) string {
		var out strings.Builder
		r, err := run(t.Context(), Spec{Args: []string{"sh", "-c", status}, Stdout: &out})
		if err != nil || r.Err() != nil {
			t.Fatalf("%v, %v", r, err)
		}
		return out.String()
	}
	cold := show(func(ctx context.Context, s Spec) (*Result, error) {
		s.Seccomp = policy
		return Run(ctx, s)
	})
	if pooled := show(p.Run); pooled != cold {
		t.Errorf("another command sees\n%s\nwant\n%s", pooled, cold)
	}
}

func TestPoolHasBackPressure(t *testing.T) {
	t.Parallel()
	p := pool(t, Spec{}, PoolOptions{Size: 1, Running: 2})
	r, w := io.Pipe()
	defer w.Close()
	first, second := p.Command(t.Context(), Spec{Args: []string{"cat"}, Stdin: r}), p.Command(t.Context(), Spec{Args: []string{"true"}})
	if err := errors.Join(first.Start(), second.Start()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := p.Run(ctx, Spec{Args: []string{"true"}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a third command: %v", err)
	}
	if _, err := second.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Run(t.Context(), Spec{Args: []string{"true"}}); err != nil {
		t.Error(err)
	}
	w.Close()
	if _, err := first.Wait(); err != nil {
		t.Error(err)
	}
}

func TestPoolIsOfUseToMany(t *testing.T) {
	t.Parallel()
	p := pool(t, Spec{}, PoolOptions{Size: 3, Idle: 5 * time.Millisecond})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 10 {
				r, err := p.Run(t.Context(), Spec{Args: []string{"sh", "-c", fmt.Sprintf("exit %d", (i+j)%5)}})
				if err != nil || r.ExitCode != (i+j)%5 {
					t.Errorf("%v, %v", r, err)
				}
				time.Sleep(time.Duration(i) * time.Millisecond) // longer than the pool waits, for some
			}
		})
	}
	all.Wait()
}

func TestClosedPoolRunsNothing(t *testing.T) {
	t.Parallel()
	p := pool(t, Spec{}, PoolOptions{Size: 2})
	c := p.Command(t.Context(), Spec{Args: []string{"sh", "-c", "sleep 0.2; exit 7"}})
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := c.Wait(); err != nil || r.ExitCode != 7 {
		t.Errorf("a command that ran when the pool was closed: %v, %v", r, err)
	}
	if _, err := p.Run(t.Context(), Spec{Args: []string{"true"}}); !errors.Is(err, ErrEnded) {
		t.Errorf("%v, want ErrEnded", err)
	}
}

// What is used counts for all processes, also those that the command did not wait for.
func TestPoolCountsWhatAllHaveUsed(t *testing.T) {
	t.Parallel()
	p := pool(t, Spec{}, PoolOptions{Size: 1})
	burn := "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"
	r, err := p.Run(t.Context(), Spec{Args: []string{"sh", "-c", "(" + burn + "; touch /tmp/done) & until [ -e /tmp/done ]; do sleep 0.01; done"}})
	if err != nil {
		t.Fatal(err)
	}
	if used := r.Usage.User + r.Usage.System; used < 20*time.Millisecond {
		t.Errorf("%v of processor time, and a process that nobody waited for used more", used)
	}
}

// Sandboxes that somebody has killed while they were ready are not the commands' concern.
func TestPoolDoesWithoutSandboxesThatWereKilled(t *testing.T) {
	t.Parallel()
	p := pool(t, Spec{}, PoolOptions{Size: 3})
	for range 5 {
		for len(p.ready) < cap(p.ready) {
			time.Sleep(time.Millisecond) // until all are there to be killed
		}
		for range cap(p.ready) {
			w := <-p.ready
			if err := w.process.Kill(); err != nil {
				t.Error(err)
			}
			p.ready <- w
		}
		if r, err := p.Run(t.Context(), Spec{Args: []string{"sh", "-c", "exit 4"}}); err != nil || r.ExitCode != 4 {
			t.Errorf("%v, %v", r, err)
		}
	}
}

func TestNilContextsAreErrors(t *testing.T) {
	var none context.Context
	if _, err := NewPool(none, Spec{}, PoolOptions{}); err == nil {
		t.Error("a pool")
	}
	if _, err := New(none, Spec{}); err == nil {
		t.Error("a sandbox")
	}
	if _, err := Run(none, Spec{Args: []string{"true"}}); err == nil {
		t.Error("a run")
	}
	s := living(t, Spec{})
	if err := s.CopyOut(none, Collect{Path: "/tmp", FS: func(fs.FS) error { return nil }}); err == nil {
		t.Error("a copy")
	}
}

// What is there and empty is not set.
func TestEmptyListsAreNoFaults(t *testing.T) {
	s := living(t, Spec{Args: []string{}, ExtraFiles: []*os.File{}})
	if r, err := s.Run(t.Context(), Spec{Args: []string{"true"}, Mounts: []Mount{}, Limits: Limits{IOMax: []IOLimit{}}}); err != nil || r.Err() != nil {
		t.Errorf("%v, %v", r, err)
	}
}
