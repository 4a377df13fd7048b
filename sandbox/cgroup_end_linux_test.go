package sandbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Facts about the end of cgroups: who gives them back, and what is left of whom.

// ReleaseCgroups beside starts: each of these is as if it had come before or after, and what runs is killed.
func TestCgroupReleasedBesideStarts(t *testing.T) {
	limit := inCgroup(t, Limits{PidsMax: 10, MemoryMax: 32 << 20})
	const callers, runs = 3, 15
	begun := make(chan struct{})
	var all sync.WaitGroup
	var untouched atomic.Int32
	for range callers {
		all.Go(func() {
			for range runs {
				spec := Spec{Args: []string{"true"}}
				limit(&spec)
				begun <- struct{}{}
				r, err := Run(context.Background(), spec)
				switch {
				case err == nil && r.Ended == Exited && r.ExitCode == 0: // before or after
					untouched.Add(1)
				case err == nil && r.Ended == Signaled && r.Signal == unix.SIGKILL: // in between
				case err != nil && r == nil && errors.Is(err, os.ErrProcessDone): // in between, twice
				default:
					t.Errorf("%v, %v", r, err)
				}
			}
		})
	}
	go func() { all.Wait(); close(begun) }()
	for range begun {
		if err := ReleaseCgroups(t.Context()); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d of %d runs were not touched", untouched.Load(), callers*runs)
	r := runScript(t, "exit 0", limit)
	if err := ReleaseCgroups(t.Context()); err != nil {
		t.Error(err)
	}
	if left := leaves(t, r); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// The kernel keeps no peak before Linux 5.19, and what is told instead knows which limit it was that was
// reached.
func TestCgroupPeakIsThatOfTheLimitItWasReachedUnder(t *testing.T) {
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	spec := Spec{Args: []string{"sh", "-c", "dd if=/dev/zero of=/dev/shm/x bs=1M count=24 2>/dev/null; echo; read x"}, Stdin: in}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	spec.Stdout = w
	inCgroup(t, Limits{MemoryMax: 64 << 20, PidsMax: 8})(&spec)
	c := Command(t.Context(), spec)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if _, err := r.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
	if err := c.Update(Limits{MemoryMax: 256 << 20, PidsMax: 100}); err != nil {
		t.Error(err)
	}
	out.Close()
	res, err := c.Wait()
	if err != nil || res.Ended != Exited {
		t.Fatal(res, err)
	}
	if peak := res.Usage.MemoryPeak; peak < 24<<20 || peak > 64<<20 {
		t.Errorf("a peak of %d bytes (sampled: %v)", peak, res.Usage.Sampled)
	}
	if peak := res.Usage.PidsPeak; peak < 1 || peak > 8+1 {
		t.Errorf("a peak of %d processes (sampled: %v)", peak, res.Usage.Sampled)
	}
}

// A caller that is killed takes everything with it, whatever its sandboxes left running, and the next start of
// anybody in the subtree removes its cgroups: that of the sandbox, and the one that was made for the next. What
// belongs to others is not touched.
func TestCgroupsOfKilledCallerAreRemovedByTheNextStart(t *testing.T) {
	subtree := subtreeOf(t)
	start := func() (cmd *exec.Cmd, leaf string) {
		t.Helper()
		cmd = caller(t, "killed")
		cmd.Env = append(cmd.Env, cgroupVariable+"="+subtree)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { in.Close(); _ = cmd.Process.Kill(); _ = cmd.Wait() })
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return cmd, strings.TrimSpace(line)
	}
	foreign := []string{filepath.Join(subtree, "ringfence-1-not-ours"), filepath.Join(subtree, "judge")}
	for _, dir := range foreign {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(dir)
	}
	dead, deadLeaf := start()
	living, livingLeaf := start()
	pids := processesIn(t, deadLeaf)
	if len(pids) < 4 { // PID 1, a shell, and two that it left
		t.Errorf("in %s run %v", deadLeaf, pids)
	}
	if err := dead.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = dead.Wait() // killed
	// The file tells when the last has ended; there is nobody whose child it would be.
	if !eventually(5*time.Second, func() bool { return len(processesIn(t, deadLeaf)) == 0 }) {
		t.Fatalf("in %s of a dead caller run %v", deadLeaf, processesIn(t, deadLeaf))
	}
	ours := func(pid int) []string {
		all, err := filepath.Glob(filepath.Join(subtree, "ringfence-"+strconv.Itoa(pid)+"-*"))
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	if got := ours(dead.Process.Pid); len(got) != 2 || !slices.Contains(got, deadLeaf) {
		t.Errorf("a dead caller left %q, want %s and one more", got, deadLeaf)
	}

	// The next start is that of another program.
	next := caller(t, "limited")
	next.Env = append(next.Env, cgroupVariable+"="+subtree)
	if out, err := next.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := ours(dead.Process.Pid); len(got) > 0 {
		t.Errorf("%q of a dead caller are still there", got)
	}
	for _, dir := range append(foreign, livingLeaf) {
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("what is somebody else's: %v", err)
		}
	}
	if len(processesIn(t, livingLeaf)) < 4 || living.Process.Signal(unix.Signal(0)) != nil {
		t.Errorf("in %s of a living caller run %v", livingLeaf, processesIn(t, livingLeaf))
	}
}

// processesIn returns the processes of a cgroup that is there.
func processesIn(t testing.TB, dir string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(data))
}

func init() { callers["killed"] = callKilled }

// callKilled runs a sandbox that does not end, says where, once everything in it runs, and waits for its own end.
func callKilled() error {
	ctx := context.Background()
	spec := Spec{Args: []string{"true"}, Limits: Limits{PidsMax: 10}, Cgroup: CgroupOptions{MoveCaller: true}}
	if _, err := Run(ctx, spec); err != nil { // for the first one nothing is made ahead
		return err
	}
	spec.Args = []string{"sh", "-c", "sleep 1000 & setsid sleep 1000 & echo; wait"}
	c := Command(ctx, spec)
	out, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		return err
	}
	// The cgroup of the next one is a matter of moments.
	others := func() []string {
		all, _ := filepath.Glob(filepath.Join(c.cell.tree.Path(), "ringfence-"+strconv.Itoa(os.Getpid())+"-*")) // a good pattern
		return all
	}
	for len(others()) < 2 {
		time.Sleep(time.Millisecond)
	}
	fmt.Println(c.cell.leaf.Path())
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
