package sandbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// ready starts a shell script that says when it runs, and returns once it has.
func ready(t *testing.T, text string) *Cmd {
	t.Helper()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	c := Command(t.Context(), script(text))
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Errorf("%q, %v, want ready", line, err)
	}
	return c
}

// statusField returns a field of the status of a process, as this program sees it.
func statusField(t *testing.T, pid int, field string) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(l, field+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func TestSignalReachesTheCommandAlone(t *testing.T) {
	t.Parallel()
	c := ready(t, `trap "exit 42" TERM; echo ready; while :; do sleep 0.01; done`)
	if err := c.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if r, err := c.Wait(); err != nil || r.Ended != Exited || r.ExitCode != 42 {
		t.Errorf("%v, %v, want exit code 42", r, err)
	}
	if err := c.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("Signal after the end: %v, want os.ErrProcessDone", err)
	}
}

func TestPidIsTheCommandsAsTheCallerSeesIt(t *testing.T) {
	t.Parallel()
	c := ready(t, "sleep 60 & echo ready; wait")
	pid := c.Pid()
	if ids := strings.Fields(statusField(t, pid, "NSpid")); len(ids) < 2 || ids[0] != fmt.Sprint(pid) || ids[len(ids)-1] != "2" {
		t.Errorf("process %d has the IDs %q, want 2 inside", pid, ids)
	}
	if err := c.Kill(); err != nil {
		t.Error(err)
	}
	if r, err := c.Wait(); err != nil || r.Ended != Canceled || r.Signal != syscall.SIGKILL {
		t.Errorf("%v, %v, want canceled", r, err)
	}
	if pid := c.Pid(); pid != 0 {
		t.Errorf("Pid after the end: %d, want 0", pid)
	}
}

// A kill of the whole sandbox by somebody else is no limit's and no context's doing, and what was used
// is not known.
func TestSandboxKilledFromOutsideIsSignaled(t *testing.T) {
	t.Parallel()
	c := ready(t, "echo ready; sleep 60")
	var init int
	if _, err := fmt.Sscan(statusField(t, c.Pid(), "PPid"), &init); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(init, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r, err := c.Wait()
	if err != nil || r.Ended != Signaled || r.Signal != syscall.SIGKILL || r.ExitCode != -1 {
		t.Errorf("%v, %v, want a signal", r, err)
	}
	if u := r.Usage; u.User != -1 || u.System != -1 || u.MemoryPeak != -1 {
		t.Errorf("usage %+v, want -1 for what nobody has counted", u)
	}
}

// A sandbox that stops itself can still be ended.
func TestStoppedCommandCanBeKilled(t *testing.T) {
	t.Parallel()
	c := ready(t, "echo ready; kill -STOP $$; echo never")
	if err := c.Kill(); err != nil {
		t.Error(err)
	}
	if r, err := c.Wait(); err != nil || r.Ended != Canceled {
		t.Errorf("%v, %v, want canceled", r, err)
	}
}

func TestThreePipes(t *testing.T) {
	t.Parallel()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	c := Command(t.Context(), script("read line; echo out $line; echo err $line >&2"))
	in, inErr := c.StdinPipe()
	out, outErr := c.StdoutPipe()
	stderr, stderrErr := c.StderrPipe()
	if err := errors.Join(inErr, outErr, stderrErr, c.Start()); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(in, "hello\n"); err != nil {
		t.Error(err)
	}
	for want, pipe := range map[string]io.Reader{"out hello\n": out, "err hello\n": stderr} {
		if got, err := io.ReadAll(pipe); err != nil || string(got) != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	if r, err := c.Wait(); err != nil || r.Err() != nil {
		t.Errorf("%v, %v", r, err)
	}
}

func TestCmdIsUsedOnceAndInOrder(t *testing.T) {
	t.Parallel()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	c := Command(t.Context(), script("exit 0"))
	if c.Pid() != 0 || c.Signal(syscall.SIGTERM) == nil || c.Kill() == nil {
		t.Error("a command that was not started has a process")
	}
	if _, err := c.Wait(); err == nil {
		t.Error("Wait before Start is no error")
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if c.Start() == nil {
		t.Error("Start twice is no error")
	}
	if _, err := c.StdoutPipe(); err == nil {
		t.Error("a pipe after Start is no error")
	}
	if _, err := c.Wait(); err != nil {
		t.Error(err)
	}
	if _, err := c.Wait(); err == nil {
		t.Error("Wait twice is no error")
	}
	var zero Cmd
	if zero.Start() == nil {
		t.Error("Start of a Cmd that nobody made is no error")
	}
	failing := Command(t.Context(), Spec{Args: []string{"/no/such/command"}})
	in, err := failing.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if failing.Start() == nil {
		t.Error("a missing command is no error")
	}
	if _, err := in.Write([]byte("x")); err == nil {
		t.Error("the pipe of a command that was not started is open")
	}
	taken := script("exit 0")
	taken.Stdout = io.Discard
	if _, err := Command(t.Context(), taken).StdoutPipe(); err == nil {
		t.Error("a pipe for a stream that is set is no error")
	}
}

func TestProbeIsAHostToCompileFor(t *testing.T) {
	t.Parallel()
	host, err := Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	spec := Spec{Args: []string{"true"}}
	probed, err := Compile(spec, host)
	if err != nil {
		t.Fatal(err)
	}
	own, err := Compile(spec, nil)
	if err != nil || own.String() != probed.String() {
		t.Errorf("the plan for this host differs from the one for none, %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Probe(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Probe with an ended context: %v", err)
	}
}
