package sandbox

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The end of a sandbox without user namespaces, where something holds it up, or somebody outside meddles.

func init() {
	callers["bare once"] = func() error { return callBareOnce("sh", "-c", strayScript, os.Getenv(markerEnv)) }
	callers["bare subreaper"] = callSubreaper
	callers["bare true"] = func() error { return callBareOnce("true") }
}

// callBareOnce tells the ID of a command, and waits for its end.
func callBareOnce(args ...string) error {
	host, err := readHost()
	if err != nil {
		return err
	}
	host.refusal = &UnsupportedError{Feature: UserNamespace, Needs: "a host that has some"}
	c := Command(context.Background(), Spec{Args: args, AllowMissing: bareFeatures})
	c.on = host
	if err := c.Start(); err != nil {
		return err
	}
	fmt.Println(c.Pid())
	_, err = c.Wait()
	return err
}

// callSubreaper is a caller to whom orphans come. It kills a reaper, and tells of the children that it has after Wait.
func callSubreaper() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return err
	}
	host, err := readHost()
	if err != nil {
		return err
	}
	host.refusal = &UnsupportedError{Feature: UserNamespace, Needs: "a host that has some"}
	c := Command(context.Background(), Spec{Args: []string{"sh", "-c", strayScript, "subreaper"}, AllowMissing: bareFeatures})
	c.on = host
	if err := c.Start(); err != nil {
		return err
	}
	guard, err := parentOf(c.Pid())
	if err != nil {
		return err
	}
	reaper, err := parentOf(guard)
	if err != nil {
		return err
	}
	if err := unix.Kill(reaper, unix.SIGKILL); err != nil {
		return err
	}
	r, err := c.Wait()
	left, _ := filepath.Glob("/proc/self/task/*/children")
	for i, list := range left {
		b, _ := os.ReadFile(list) // of a thread that has ended there is none
		left[i] = string(b)
	}
	fmt.Printf("%v %v [%s]", r, err, strings.Join(left, ""))
	return nil
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
		if !eventually(5*time.Second, ok) {
			t.Fatalf("%s: %q", what, straysOf(marker))
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

// Descriptors that are sent and not received are counted for the user, in all sandboxes together: they stop who sends
// one more, once they are more than that one may have open (unix(7), ETOOMANYREFS). Seen to fail when the guard sent
// the caller a descriptor of the command.
func TestWithoutNamespacesDescriptorsInFlightStopNobody(t *testing.T) {
	t.Parallel()
	path, mounts := bareVictim(t)
	held, stdin := io.Pipe()
	defer stdin.Close()
	r, w := io.Pipe()
	c := bareCommand(t, 0, Spec{Args: []string{path, "take:inflight,2", "await:"}, Mounts: mounts, Stdin: held, Stdout: w})
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	told, err := bufio.NewReader(r).ReadString('\n')
	if err != nil || strings.Contains(told, "Err") {
		t.Errorf("%q, %v", told, err)
	}
	cmd := caller(t, "bare true")
	cmd.Args = []string{"sh", "-c", `ulimit -S -n 64; exec "$0"`, cmd.Path}
	cmd.Path, _ = exec.LookPath("sh") // which every host has
	output(t, cmd)
	go func() { _, _ = io.Copy(io.Discard, r) }()
	_ = c.Kill() // it has been started
	if _, err := c.Wait(); err != nil {
		t.Error(err)
	}
	w.Close()
}

// Seen to fail when nobody waited for what the reaper had left: the guard and the command stayed as zombies.
func TestWithoutNamespacesACallerThatReapsHasNoZombies(t *testing.T) {
	t.Parallel()
	bareHost(t, 0)
	if out := string(output(t, caller(t, "bare subreaper"))); out != "signal: killed <nil> []" {
		t.Errorf("%s", out)
	}
}
