package sandbox

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/seccomp"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// stopping starts a script that says ready, and ends its context.
func stopping(t *testing.T, text string, change func(*Spec)) (*Cmd, *Result, error) {
	t.Helper()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	spec := script(text)
	spec.StopSignal = syscall.SIGTERM
	change(&spec)
	c := Command(ctx, spec)
	out, err := c.StdoutPipe()
	if err := errors.Join(err, c.Start()); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Errorf("%q, %v, want ready", line, err)
	}
	cancel()
	r, err := c.Wait()
	return c, r, err
}

const trapping = "trap 'exit 3' TERM; trap 'exit 4' USR1; echo ready; while :; do sleep 0.01; done"

func TestStopSignalLetsTheCommandEndByItself(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		text   string
		change func(*Spec)
		code   int
		signal syscall.Signal
	}{
		"an exit":        {trapping, func(*Spec) {}, 3, 0},
		"another signal": {trapping, func(s *Spec) { s.StopSignal = syscall.SIGUSR1 }, 4, 0},
		"the signal":     {"echo ready; exec sleep 1000", func(*Spec) {}, -1, syscall.SIGTERM},
		"patience is over": {"trap '' TERM; echo ready; while :; do sleep 0.01; done",
			func(s *Spec) { s.StopTimeout = 50 * time.Millisecond }, -1, syscall.SIGKILL},
		"a limit is reached": {"trap '' TERM; echo ready; while :; do sleep 0.01; done",
			func(s *Spec) { s.StopTimeout, s.Limits.WallTime = time.Hour, sandboxtest.Slow(300*time.Millisecond) }, -1, syscall.SIGKILL},
		"too much is written": {"trap 'yes >&2' TERM; echo ready; while :; do sleep 0.01; done",
			func(s *Spec) { s.StopTimeout, s.Limits.OutputMax, s.Stderr = time.Hour, 1000, io.Discard }, -1, syscall.SIGKILL},
		"nothing is asked": {trapping, func(s *Spec) { s.StopSignal = 0 }, -1, syscall.SIGKILL},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, r, err := stopping(t, test.text, test.change)
			if !errors.Is(err, context.Canceled) || r.Ended != Canceled || r.ExitCode != test.code || r.Signal != test.signal {
				t.Errorf("%v (exit code %d, signal %v), %v, want canceled, %d, %v", r, r.ExitCode, r.Signal, err, test.code, test.signal)
			}
		})
	}
}

func TestStopSignalOfACommandInALivingSandbox(t *testing.T) {
	t.Parallel()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	s, err := New(t.Context(), Spec{StopSignal: syscall.SIGTERM})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := s.Command(ctx, script(trapping))
	out, err := c.StdoutPipe()
	if err := errors.Join(err, c.Start()); err != nil {
		t.Fatal(err)
	}
	_, _ = bufio.NewReader(out).ReadString('\n')
	cancel()
	if r, err := c.Wait(); !errors.Is(err, context.Canceled) || r.Ended != Canceled || r.ExitCode != 3 {
		t.Errorf("%v, %v", r, err)
	}
}

// Kill is at once, whatever the command is waited for.
func TestKillEndsTheTimeToStop(t *testing.T) {
	t.Parallel()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	spec := script("trap 'echo asked' TERM; echo ready; while :; do sleep 0.01; done")
	spec.StopSignal, spec.StopTimeout = syscall.SIGTERM, time.Hour
	c := Command(ctx, spec)
	pipe, err := c.StdoutPipe()
	if err := errors.Join(err, c.Start()); err != nil {
		t.Fatal(err)
	}
	out := bufio.NewReader(pipe)
	for i, want := range []string{"ready\n", "asked\n"} {
		if line, err := out.ReadString('\n'); err != nil || line != want {
			t.Errorf("%q, %v, want %q", line, err, want)
		}
		if i == 0 {
			cancel()
		}
	}
	if err := c.Kill(); err != nil {
		t.Error(err)
	}
	if r, err := c.Wait(); !errors.Is(err, context.Canceled) || r.Ended != Canceled || r.Signal != syscall.SIGKILL {
		t.Errorf("%v, %v", r, err)
	}
}

// Supervisors answer as long as the command may go on.
func TestSupervisorsAnswerACommandThatWasAskedToEnd(t *testing.T) {
	t.Parallel()
	answered := 0
	_, r, err := stopping(t, "trap 'mkdir /tmp/a && exit 3; exit 9' TERM; echo ready; while :; do sleep 0.01; done", func(s *Spec) {
		s.Seccomp = seccomp.Default()
		s.Seccomp.Rules = append([]seccomp.Rule{{Names: []string{"mkdir", "mkdirat"}, Action: seccomp.Notify}}, s.Seccomp.Rules...)
		s.Supervisor = func(ctx context.Context, _ *Notification) Answer {
			if ctx.Err() == nil {
				answered++
			}
			return Continue()
		}
	})
	if !errors.Is(err, context.Canceled) || r.ExitCode != 3 || answered != 1 {
		t.Errorf("%v (exit code %d), %v, %d calls", r, r.ExitCode, err, answered)
	}
}

func TestSignalAllReachesEveryProcess(t *testing.T) {
	t.Parallel()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	// One that leads a session, one whose parent has ended, one far below, and the command.
	spec := script(`say() { trap "echo $1; exit 0" USR1; echo up; while :; do sleep 0.01; done; }
setsid sh -c "$(cat <<'end'
trap 'echo session; exit 0' USR1; echo up; while :; do sleep 0.01; done
end
)" &
(say orphan &)
(( (say deep; :); :) ; :) &
trap : USR1
echo up
wait; wait; wait; wait; sleep 0.1
while kill -0 -1 2>/dev/null; do sleep 0.01; done
echo end`)
	c := Command(t.Context(), spec)
	pipe, err := c.StdoutPipe()
	if err := errors.Join(err, c.Start()); err != nil {
		t.Fatal(err)
	}
	out := bufio.NewScanner(pipe)
	seen := map[string]int{}
	for out.Scan() {
		if seen[out.Text()]++; seen["up"] == 4 && out.Text() == "up" {
			if err := c.SignalAll(syscall.SIGUSR1); err != nil {
				t.Error(err)
			}
		}
	}
	r, err := c.Wait()
	if err != nil || seen["session"] != 1 || seen["orphan"] != 1 || seen["deep"] != 1 {
		t.Errorf("%v, %v: %v", r, err, seen)
	}
	if err := c.SignalAll(syscall.SIGUSR1); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("after the end: %v", err)
	}
}

// Whoever forks all the time is reached too, and PID 1 is not: the run ends as the command does.
func TestSignalAllKillsWhoForks(t *testing.T) {
	t.Parallel()
	c := ready(t, `f() { (exec sleep 0.01) & }; (while :; do f; done) & (while :; do f; done) & echo ready; wait`)
	err := c.SignalAll(unix.SIGKILL)
	r, waitErr := c.Wait()
	if err != nil && !errors.Is(err, os.ErrProcessDone) || waitErr != nil || r.Ended != Signaled || r.Signal != syscall.SIGKILL {
		t.Errorf("%v, %v, %v", err, r, waitErr)
	}
}

func TestSignalAllBeforeTheStart(t *testing.T) {
	t.Parallel()
	if err := Command(t.Context(), Spec{}).SignalAll(syscall.SIGTERM); err == nil || !strings.Contains(err.Error(), "before") {
		t.Error(err)
	}
}
