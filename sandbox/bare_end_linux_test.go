package sandbox

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// The end of a sandbox without user namespaces, where something holds it up, or somebody outside meddles.

func init() {
	callers["bare once"] = func() error {
		host, err := readHost()
		if err != nil {
			return err
		}
		host.refusal = &UnsupportedError{Feature: UserNamespace, Needs: "a host that has some"}
		c := Command(context.Background(), Spec{Args: []string{"sh", "-c", strayScript, os.Getenv(markerEnv)}, AllowMissing: bareFeatures})
		c.on = host
		if err := c.Start(); err != nil {
			return err
		}
		fmt.Println(c.Pid())
		_, err = c.Wait()
		return err
	}
}

// bareProcesses returns the guard and the reaper of a command.
func bareProcesses(t testing.TB, command int) (guard, reaper int) {
	t.Helper()
	guard, err := parentOf(command)
	if err != nil {
		t.Fatal(err)
	}
	if reaper, err = parentOf(guard); err != nil {
		t.Fatal(err)
	}
	return guard, reaper
}

// startBare starts a command that writes a line when it is ready, and returns the line.
func startBare(t testing.TB, args ...string) (*Cmd, string) {
	t.Helper()
	r, w := io.Pipe()
	c := bareCommand(t, 0, Spec{Args: args, Stdout: w})
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	t.Cleanup(func() { w.Close() })
	return c, strings.TrimSpace(line)
}

// A process of the command's is held up, here by a tracer, for longer than the sandbox is given to end. Seen to fail
// when the reaper was killed then: Wait returned, and Usage was what the reaper had used alone.
func TestWithoutNamespacesWaitIsForAll(t *testing.T) {
	t.Parallel()
	runtime.LockOSThread() // the tracer is a thread
	defer runtime.UnlockOSThread()
	c, line := startBare(t, "sh", "-c", "sleep 1000 & echo $!; wait")
	pid, err := strconv.Atoi(line)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.PtraceSeize(pid); err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	type ending struct {
		r   *Result
		err error
	}
	done := make(chan ending, 1)
	go func() { r, err := c.Wait(); done <- ending{r, err} }()
	select {
	case e := <-done:
		t.Errorf("%v, %v, while process %d is there", e.r, e.err, pid)
		done <- e
	case <-time.After(stopGrace + 200*time.Millisecond):
	}
	if _, err := unix.Wait4(pid, nil, unix.WALL, nil); err != nil {
		t.Error(err)
	}
	e := <-done
	if e.err != nil || e.r.Ended != Canceled || e.r.Usage.User < 0 || e.r.Usage.MemoryPeak <= 0 {
		t.Errorf("%v, %v, usage %+v", e.r, e.err, e.r.Usage)
	}
}

// Somebody outside has stopped the guard and the reaper. Seen to fail when the reaper was killed: nothing was told of
// the end.
func TestWithoutNamespacesWhoStandsStillIsWoken(t *testing.T) {
	t.Parallel()
	c, _ := startBare(t, "sh", "-c", "echo; sleep 1000")
	guard, reaper := bareProcesses(t, c.Pid())
	for _, pid := range []int{guard, reaper} {
		if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	r, err := c.Wait()
	if err != nil || r.Ended != Canceled || r.Usage.User < 0 || r.Usage.MemoryPeak <= 0 {
		t.Errorf("%v, %v, usage %+v", r, err, r.Usage)
	}
}

// Seen to fail when the reaper's exit was taken for that of a PID 1: "this is a fault of the library".
func TestWithoutNamespacesAKilledGuardIsAKilledCommand(t *testing.T) {
	t.Parallel()
	c, _ := startBare(t, "sh", "-c", "echo; sleep 1000")
	guard, _ := bareProcesses(t, c.Pid())
	if err := unix.Kill(guard, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r, err := c.Wait()
	if err != nil || r.Ended != Signaled || r.Signal != syscall.SIGKILL || r.Usage.User < 0 {
		t.Errorf("%v, %v, usage %+v", r, err, r.Usage)
	}
}

// Somebody kills the reaper while the caller stands still, which then sees to nothing: the guard ends with the
// reaper, and the group with the guard. Seen to fail when the guard had but one end of its pipe.
func TestWithoutNamespacesAKilledReaperLeavesNothing(t *testing.T) {
	t.Parallel()
	bareHost(t, 0)
	marker := fmt.Sprintf("reaper-%d", os.Getpid())
	cmd := caller(t, "bare once")
	cmd.Env = append(cmd.Env, markerEnv+"="+marker)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	awaitOutcome := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(sandboxtest.Slow(5 * time.Second)); !ok(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %q", what, straysOf(marker))
			}
		}
	}
	var command int
	if _, err := fmt.Fscan(out, &command); err != nil {
		t.Fatal(err)
	}
	awaitOutcome("they cannot be seen", func() bool { return len(straysOf(marker)) >= 3 })
	_, reaper := bareProcesses(t, command)
	for _, kill := range []struct {
		pid int
		sig unix.Signal
	}{{cmd.Process.Pid, unix.SIGSTOP}, {reaper, unix.SIGKILL}} {
		if err := unix.Kill(kill.pid, kill.sig); err != nil {
			t.Fatal(err)
		}
	}
	awaitOutcome("left", func() bool { return len(straysOf(marker)) == 0 })
}
