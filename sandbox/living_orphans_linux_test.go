package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
	"github.com/ringfence-go/ringfence/testing/victim"
)

// A command that makes its joiner the parent of others (CLONE_PARENT) does not end for it, and holds nobody up.
func TestEndOfACommandIsNoOtherProcesses(t *testing.T) {
	t.Parallel()
	for name, code := range map[string]int{"one that ends": 7, "one that stays": 0} {
		t.Run(name, func(t *testing.T) {
			spec := victimSpec(t, "nothing")
			spec.Args = nil
			s := living(t, spec)
			r, err := s.Run(t.Context(), Spec{Args: []string{victim.Path, fmt.Sprintf("sibling:%d", code), "exit:3"}})
			if err != nil || r.Ended != Exited || r.ExitCode != 3 {
				t.Errorf("%v, %v, want exit status 3", r, err)
			}
			r, err = s.Run(t.Context(), Spec{Args: []string{victim.Path, fmt.Sprintf("sibling:%d", code), "await"}, Limits: Limits{WallTime: sandboxtest.Slow(200 * time.Millisecond)},
				Stdin: blocked(t)})
			if err != nil || r.Ended != TimedOut {
				t.Errorf("%v, %v, want timed out", r, err)
			}
		})
	}
}

// blocked is a file that is never at its end.
func blocked(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r
}

func init() {
	callers["subreaper"] = func() error {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return err
		}
		for i := range 20 {
			if err := giveUpJoins(i); err != nil {
				return err
			}
		}
		return killJoiner()
	}
}

// giveUpJoins gives starts up at different moments.
func giveUpJoins(round int) error {
	s, err := New(context.Background(), Spec{})
	if err != nil {
		return err
	}
	for i := range 4 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(300+200*i+50*round)*time.Microsecond)
		_, _ = s.Run(ctx, Spec{Args: []string{"sleep", "100"}})
		_, _ = s.Run(context.Background(), Spec{Args: []string{"no-such-command"}})
		cancel()
	}
	return closes(s)
}

// killJoiner has a joiner killed, so that its command is an orphan.
func killJoiner() error {
	s, err := New(context.Background(), Spec{})
	if err != nil {
		return err
	}
	c := s.Command(context.Background(), Spec{Args: []string{"sleep", "100"}})
	if err := c.Start(); err != nil {
		return err
	}
	joiner, err := parentOf(c.Pid())
	if err != nil {
		return err
	}
	if err := unix.Kill(joiner, unix.SIGKILL); err != nil {
		return err
	}
	if _, err := c.Wait(); err != nil {
		return err
	}
	return closes(s)
}

func closes(s *Sandbox) error {
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	select {
	case err := <-closed:
		return err
	case <-time.After(10 * time.Second):
		return errors.New("Close hangs")
	}
}

// Who reaps for others, as PID 1 of a container does, gets the orphans of a sandbox: its PID 1 cannot end before they
// are reaped (zap_pid_ns_processes in kernel/pid_namespace.c).
func TestCloseReapsWhatASubreaperGets(t *testing.T) {
	t.Parallel()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	if out, err := caller(t, "subreaper").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
