package sandbox

import (
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// ignore makes this program ignore a signal for the rest of a test, which is not a parallel one.
func ignore(t *testing.T, sig syscall.Signal) {
	t.Helper()
	signal.Ignore(sig)
	t.Cleanup(func() {
		// Reset alone leaves a signal ignored that the runtime has a handler for: Notify installs it again.
		notified := make(chan os.Signal, 1)
		signal.Notify(notified, sig)
		signal.Stop(notified)
	})
}

func TestCallersSignalsDoNotReachIntoTheCommand(t *testing.T) {
	// What the caller blocks or ignores is what its children inherit (execve(2)).
	ignore(t, syscall.SIGUSR2)
	cmd := exec.Command("cat", "/proc/self/status")
	if out, err := cmd.Output(); err != nil || strings.Contains(string(out), "SigIgn:\t0000000000000000\n") {
		t.Errorf("the control: nothing is ignored outside either, %v", err)
	}
	got := shell(t, nil, "cat /proc/self/status")
	for _, field := range []string{"SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"} {
		if !strings.Contains(got, field+"\n") {
			t.Errorf("no %q", field)
		}
	}
}

func TestCallerThatIgnoresItsChildrenGetsResults(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	ignore(t, syscall.SIGCHLD)
	for range 5 {
		if r, err := Run(t.Context(), script("exit 3")); err != nil || r.Ended != Exited || r.ExitCode != 3 {
			t.Errorf("%v, %v, want exit code 3", r, err)
		}
	}
}

// A caller may read a pipe before Start returns, as with os/exec.
func TestOutputMaxIsExceededBeforeStartReturns(t *testing.T) {
	t.Parallel()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	for range 20 {
		c := Command(t.Context(), Spec{Args: []string{"yes"}, Limits: Limits{OutputMax: 10}})
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan int64, 1)
		go func() {
			n, _ := io.Copy(io.Discard, out)
			done <- n
		}()
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if n := <-done; n != 10 {
			t.Errorf("%d bytes, want 10", n)
		}
		if r, err := c.Wait(); err != nil || r.Ended != OutputExceeded {
			t.Errorf("%v, %v", r, err)
		}
	}
}
