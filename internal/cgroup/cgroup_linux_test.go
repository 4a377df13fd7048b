package cgroup

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

const mib = 1 << 20

func stats(t testing.TB, l *Leaf) Stats {
	t.Helper()
	s, err := l.Stats()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func readFile(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

func TestCgroupIsFound(t *testing.T) {
	tree := findTree(t, Memory, Pids)
	t.Logf("%v, %s, by %v", tree.Way(), tree.Path(), tree.Entry())
	leaf := newLeaf(t, tree, Limits{PidsMax: 10, MemoryMax: 50 * mib})
	p := start(t, leaf, "wait")
	_, path, _ := strings.Cut(readFile(t, fmt.Sprintf("/proc/%d/cgroup", p.Process.Pid)), "0::")
	if !strings.HasSuffix(path, "/"+leaf.Name()) {
		t.Errorf("the process is in %s, not in %s", path, leaf.Path())
	}
	if tree.Way() == UserManager {
		return // a unit is the one program's
	}
	again, err := Find(t.Context(), Options{Path: tree.Path(), Need: []Controller{Memory}})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close(t.Context())
	if again.Way() != Given {
		t.Errorf("a given path was found by %v", again.Way())
	}
	if got := leaves(t, again); !slices.Contains(got, leaf.Path()) {
		t.Errorf("the cgroup of a caller that lives was removed: %q are left", got)
	}
}

func TestCgroupNotFoundSaysWhy(t *testing.T) {
	findTree(t) // or there is nothing to be found
	for _, test := range []struct {
		options Options
		want    error
		text    string
	}{
		{Options{Path: "/sys/fs/cgroup"}, ErrNotDelegated, "the given cgroup: make cgroups in /sys/fs/cgroup: not delegated"},
		{Options{Path: "/proc"}, nil, "the given cgroup"},
		{Options{Path: "/sys/fs/cgroup/none"}, os.ErrNotExist, "/sys/fs/cgroup/none"},
		{Options{Need: []Controller{"none"}, Move: true}, ErrNoController, "it lacks the controller none"},
	} {
		tree, err := Find(t.Context(), test.options)
		if tree != nil {
			tree.Close(t.Context())
			t.Errorf("%+v: found %s", test.options, tree.Path())
			continue
		}
		var e *FindError
		if !errors.As(err, &e) || !errors.Is(err, errors.ErrUnsupported) || test.want != nil && !errors.Is(err, test.want) ||
			!strings.Contains(err.Error(), test.text) {
			t.Errorf("%+v: %v", test.options, err)
		}
		t.Log(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if tree, err := Find(ctx, Options{Need: []Controller{"none"}}); tree != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// The limits are read back from the kernel.
func TestCgroupLimitsAreInForce(t *testing.T) {
	tree := findTree(t, Memory, Pids)
	limits := Limits{MemoryMax: 50 * mib, MemoryHigh: 40 * mib, PidsMax: 10}
	want := map[string]string{"memory.max": "52428800", "memory.high": "41943040", "memory.swap.max": "0", "memory.oom.group": "1", "pids.max": "10"}
	if tree.Enable(CPU) == nil {
		limits.CPUMax, limits.CPUWeight = 0.5, 50
		want["cpu.max"], want["cpu.weight"] = "50000 100000", "50"
	}
	if tree.Enable(CPUSet) == nil {
		limits.CPUs, limits.Mems = "0", "0"
		want["cpuset.cpus"], want["cpuset.mems"] = "0", "0"
	}
	leaf := newLeaf(t, tree, limits)
	check := func() {
		t.Helper()
		for file, value := range want {
			got, err := os.ReadFile(filepath.Join(leaf.Path(), file))
			if os.IsNotExist(err) && file == "memory.swap.max" && !hasSwap() {
				continue
			}
			if strings.TrimSpace(string(got)) != value {
				t.Errorf("%s is %q, want %q (%v)", file, got, value, err)
			}
		}
	}
	check()
	var by []string
	for _, s := range leaf.Settings() {
		by = append(by, s.By())
	}
	t.Log(by)
	if !slices.Contains(by, "cgroup memory.max") {
		t.Errorf("%q", by)
	}

	if err := leaf.Update(Limits{PidsMax: 20, MemoryMax: 60 * mib, MemorySwapMax: mib}); err != nil {
		t.Fatal(err)
	}
	for file := range want {
		want[file] = "max"
	}
	want["pids.max"], want["memory.max"], want["memory.swap.max"], want["memory.oom.group"] = "20", "62914560", "1048576", "1"
	for file, value := range map[string]string{"cpu.max": "max 100000", "cpu.weight": "100", "cpuset.cpus": "", "cpuset.mems": ""} {
		if _, ok := want[file]; ok {
			want[file] = value
		}
	}
	check()

	var e *Error
	if err := leaf.Update(Limits{Hugetlb: []HugetlbLimit{{2 << 20, 1}}}); !errors.As(err, &e) || !errors.Is(err, ErrNoController) {
		t.Errorf("a limit without its controller: %v", err)
	}
	if _, err := tree.New(t.Context(), Limits{IO: []IOLimit{{Device: sda, ReadBPS: 1}}}); !errors.Is(err, ErrNoController) {
		t.Errorf("a limit without its controller: %v", err)
	}
	if tree.Has(CPUSet) {
		if _, err := tree.New(t.Context(), Limits{CPUs: "4000"}); !errors.As(err, &e) || e.Remedy == "" {
			t.Errorf("a processor that does not exist: %v", err)
		}
	}
	if got := leaves(t, tree); len(got) != 1 {
		t.Errorf("failures left %q", got)
	}
}

func TestCgroupMemoryBombIsKilledAlone(t *testing.T) {
	tree := findTree(t, Memory, Pids)
	other := newLeaf(t, tree, Limits{MemoryMax: 100 * mib})
	neighbor := start(t, other, "memory 20")
	neighbor.says(t)
	leaf := newLeaf(t, tree, Limits{MemoryMax: 30 * mib})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	sampling, stop := context.WithCancel(ctx)
	peaks := make(chan Peaks)
	go func() { peaks <- leaf.SamplePeaks(sampling) }()
	bomb := start(t, leaf, "memory 200")
	if err := leaf.AwaitOOM(ctx); err != nil {
		t.Error(err)
	}
	_ = bomb.Wait() // the status is looked at
	stop()
	if status := bomb.end(); status.Signal() != syscall.SIGKILL {
		t.Errorf("the bomb ended with %v", status)
	}
	s, sampled := stats(t, leaf).WithPeaks(<-peaks, Limits{MemoryMax: 30 * mib})
	if got := s.OOMKilled(); got != OOMByLimit {
		t.Errorf("%v: %+v", got, s.Memory)
	}
	if quick, err := leaf.OOMKilled(); err != nil || quick != OOMByLimit {
		t.Errorf("%v, %v", quick, err)
	}
	if s.Memory.Peak < 25*mib || s.Memory.Peak > 31*mib {
		t.Errorf("the peak was %d bytes, sampled: %v", s.Memory.Peak, sampled)
	}
	t.Logf("%+v, sampled: %v", s, sampled)
	after := stats(t, other)
	if after.OOMKilled() != NoOOM || after.Memory.Current < 20*mib {
		t.Errorf("the neighbor: %+v", after.Memory)
	}
	if err := neighbor.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the neighbor: %v", err)
	}
}

// A SIGKILL by somebody is none by the kernel.
func TestCgroupKillIsNotOOM(t *testing.T) {
	tree := findTree(t, Memory, Pids)
	leaf := newLeaf(t, tree, Limits{MemoryMax: 100 * mib})
	p := start(t, leaf, "memory 10")
	p.says(t)
	if status := p.end(); status.Signal() != syscall.SIGKILL {
		t.Fatalf("%v", status)
	}
	if got := stats(t, leaf).OOMKilled(); got != NoOOM {
		t.Error(got)
	}
}

func TestCgroupForkBombIsHeld(t *testing.T) {
	tree := findTree(t, Memory, Pids)
	const most = 60
	leaf := newLeaf(t, tree, Limits{PidsMax: most})
	other := newLeaf(t, tree, Limits{PidsMax: most})
	bomb := start(t, leaf, "fork")
	said := bomb.says(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := leaf.AwaitPidsMax(ctx); err != nil {
		t.Error(err)
	}
	s, _ := stats(t, leaf).WithPeaks(Peaks{Unknown, Unknown}, Limits{PidsMax: most})
	t.Logf("%s: %+v", said, s.Pids)
	if s.Pids.MaxEvents < 1 || s.Pids.Peak > most || s.Pids.Peak < most-1 {
		t.Errorf("%+v", s.Pids)
	}
	start(t, other, "memory 1").says(t)
	if s := stats(t, other); s.Pids.MaxEvents != 0 {
		t.Errorf("the neighbor: %+v", s.Pids)
	}
	if err := leaf.Kill(ctx); err != nil {
		t.Error(err)
	}
	if err := leaf.AwaitEmpty(ctx); err != nil {
		t.Error(err)
	}
}

func TestCgroupHoldsProcessorTime(t *testing.T) {
	tree := findTree(t, CPU)
	leaf := newLeaf(t, tree, Limits{CPUMax: 0.2})
	start(t, leaf, "spin 2").says(t)
	before, began := stats(t, leaf), time.Now()
	time.Sleep(2 * time.Second) // the share is one of time
	used := stats(t, leaf).Since(before)
	share := used.CPU.Usage.Seconds() / time.Since(began).Seconds()
	t.Logf("%.1f %% of a processor: %+v", 100*share, used.CPU)
	if math.Abs(share-0.2) > 0.03 {
		t.Errorf("used %.1f %% of a processor, want 20 ± 3", 100*share)
	}
	if used.CPU.Throttled <= 0 || used.CPU.ThrottledPeriods <= 0 {
		t.Errorf("%+v", used.CPU)
	}
}

func TestCgroupProcessorTimeOfAllIsWatched(t *testing.T) {
	tree := findTree(t, Pids)
	leaf := newLeaf(t, tree, Limits{})
	for range 3 {
		start(t, leaf, "spin 1").says(t)
	}
	const limit = time.Second
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := leaf.AwaitCPUTime(ctx, limit); err != nil {
		t.Fatal(err)
	}
	used := stats(t, leaf).CPU.Usage
	t.Logf("%v of %v", used, limit)
	// How late it is seen depends on who else uses this machine.
	if used < limit {
		t.Errorf("%v were used when %v were said to be", used, limit)
	}
	cancel()
	if err := leaf.AwaitCPUTime(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestCgroupHoldsWritesToADisk(t *testing.T) {
	dir := os.Getenv("RINGFENCE_VM_DISK")
	if dir == "" {
		sandboxtest.Skip(t, "vm", "RINGFENCE_VM_DISK names no disk of a test's own")
	}
	device, err := DeviceOf(dir)
	if err != nil {
		sandboxtest.Skip(t, "vm", err.Error())
	}
	tree := findTree(t, IO)
	file := filepath.Join(dir, "cgroup-test-"+strconv.Itoa(os.Getpid()))
	defer os.Remove(file)
	const kib = 1024
	run := func(l Limits) (time.Duration, Stats) {
		leaf := newLeaf(t, tree, l)
		line := start(t, leaf, fmt.Sprintf("write %s %d", file, kib)).says(t)
		word, took, _ := strings.Cut(line, " ")
		d, err := time.ParseDuration(took)
		if word != "wrote" || err != nil {
			t.Fatal(line)
		}
		return d, stats(t, leaf)
	}
	free, _ := run(Limits{})
	held, s := run(Limits{IO: []IOLimit{{Device: device, WriteBPS: 512 << 10}}})
	t.Logf("1 MiB to %v: %v, and %v at 512 KiB a second: %+v", device, free, held, s.IO)
	if held < 1500*time.Millisecond || free > held/2 {
		t.Errorf("%v with the limit, %v without", held, free)
	}
	if total := s.TotalIO(); total.WriteBytes < kib<<10 || total.WriteOps < 1 {
		t.Errorf("%+v", s.IO)
	}
}

func TestCgroupPauseStopsTime(t *testing.T) {
	tree := findTree(t, Pids)
	leaf := newLeaf(t, tree, Limits{})
	start(t, leaf, "spin 1").says(t)
	if err := leaf.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := stats(t, leaf).CPU.Usage
	time.Sleep(200 * time.Millisecond) // in which a process that runs would use time
	if after := stats(t, leaf).CPU.Usage; after != before {
		t.Errorf("%v were used in a pause", after-before)
	}
	if err := leaf.Pause(t.Context()); err != nil {
		t.Errorf("pause again: %v", err)
	}
	if err := leaf.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := leaf.AwaitCPUTime(ctx, before+50*time.Millisecond); err != nil {
		t.Errorf("after Resume: %v", err)
	}
	if err := leaf.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := leaf.Remove(ctx); err != nil {
		t.Errorf("remove what is paused: %v", err)
	}
	if _, err := leaf.Stats(); !errors.Is(err, ErrRemoved) {
		t.Errorf("statistics of what was removed: %v", err)
	}
	if leaf.FD() != -1 || leaf.Remove(ctx) != nil {
		t.Error("a cgroup was removed twice")
	}
}

// The way before Linux 5.14 must work on every kernel.
func TestCgroupKillWithoutCgroupKill(t *testing.T) {
	tree := findTree(t, Pids)
	leaf := newLeaf(t, tree, Limits{PidsMax: 100})
	bomb := start(t, leaf, "fork")
	bomb.says(t)
	if err := os.Mkdir(leaf.Path()+"/below", 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := leaf.with("kill", func(d *dir) error { return d.killFrozen(ctx) }); err != nil {
		t.Fatal(err)
	}
	if err := leaf.AwaitEmpty(ctx); err != nil {
		t.Fatal(err)
	}
	if err := leaf.Remove(ctx); err != nil {
		t.Error(err)
	}
}

func TestCgroupsInARowLeaveNothing(t *testing.T) {
	tree := findTree(t, Memory, Pids)
	n := 1000
	if testing.Short() {
		n = 50
	}
	for i := range n {
		leaf, err := tree.New(t.Context(), Limits{MemoryMax: 10 * mib, PidsMax: 5})
		if err != nil {
			t.Fatal(i, err)
		}
		if tree.Entry() == EnterByClone {
			if err := cloneInto(leaf.FD()); err != nil {
				t.Fatal(i, err)
			}
		}
		if err := leaf.Remove(t.Context()); err != nil {
			t.Fatal(i, err)
		}
	}
	if got := leaves(t, tree); len(got) != 0 {
		t.Errorf("%q are left", got)
	}
}

func TestCgroupsOfDeadCallersAreRemoved(t *testing.T) {
	tree := findTree(t, Memory, Pids)
	if tree.Entry() != EnterByClone {
		sandboxtest.Skip(t, "cgroup-v2", "a child cannot find its way by itself: "+tree.Entry().String())
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	run := func() (*program, string, int) {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = []string{helperEnv + "=caller " + tree.Path()}
		p := &program{Cmd: cmd}
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdout, cmd.Stderr, p.out = w, os.Stderr, r
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		w.Close()
		t.Cleanup(func() { in.Close(); r.Close(); p.end() })
		f := strings.Fields(p.says(t))
		if len(f) != 3 {
			t.Fatal(f)
		}
		pid, err := strconv.Atoi(f[2])
		if err != nil {
			t.Fatal(err)
		}
		return p, f[1], pid
	}
	dead, deadLeaf, orphan := run()
	_, livingLeaf, _ := run()
	fd, err := unix.PidfdOpen(orphan, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	dead.end()
	if got := leaves(t, tree); !slices.Contains(got, deadLeaf) {
		t.Errorf("%s of a dead caller is not among %q", deadLeaf, got)
	}

	for range 3 { // others that come at the same time
		again, err := Find(ctx, Options{Path: tree.Path(), Need: []Controller{Pids}})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(again.Stale(), again.Close(ctx)); err != nil {
			t.Error(err)
		}
	}
	got := leaves(t, tree)
	if slices.Contains(got, deadLeaf) {
		t.Errorf("%s of a dead caller is still there", deadLeaf)
	}
	if !slices.Contains(got, livingLeaf) {
		t.Errorf("%s of a living caller is not among %q", livingLeaf, got)
	}
	if err := awaitEnd(ctx, fd); err != nil {
		t.Errorf("the process of a dead caller: %v", err)
	}
}

// awaitEnd waits for the end of a process that is not a child.
func awaitEnd(ctx context.Context, pidfd int) error {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 100)
		switch {
		case n > 0:
			return nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
}

// What the user's systemd gives is asked for even where the caller's own cgroup would do.
func TestCgroupOfTheUserManager(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.UnifiedCgroups(), sandboxtest.UserManager())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	f := &finder{host: thisHost(ctx), wants: wants{need: []Controller{Memory, Pids}}}
	var err error
	if f.place, err = locate(f.host); err != nil {
		t.Fatal(err)
	}
	own := f.own
	began := time.Now()
	tree, err := f.managed(ctx, UserManager)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s, by %v, after %v", tree.Path(), tree.Entry(), time.Since(began))
	if again, err := locate(f.host); err != nil || again.own != own {
		t.Errorf("the caller was moved from %s to %s (%v)", own, again.own, err)
	}
	leaf := newLeaf(t, tree, Limits{MemoryMax: 30 * mib, PidsMax: 20})
	bomb := start(t, leaf, "memory 100")
	if err := leaf.AwaitOOM(ctx); err != nil {
		t.Error(err)
	}
	if s := stats(t, leaf); s.OOMKilled() != OOMByLimit {
		t.Errorf("%+v", s.Memory)
	}
	_ = bomb.Wait() // killed
	// The unit outlives the end of a sandbox.
	next := newLeaf(t, tree, Limits{PidsMax: 20})
	start(t, next, "memory 1").says(t)
	if err := tree.Close(ctx); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(tree.Path()); !os.IsNotExist(err) {
		t.Errorf("the unit's cgroup after Close: %v", err)
	}
	if _, err := tree.New(ctx, Limits{}); !errors.Is(err, ErrRemoved) {
		t.Errorf("a cgroup in a closed tree: %v", err)
	}
}

// The cost of a cgroup, beside that of a process, by which machines can be compared.
func BenchmarkCgroup(b *testing.B) {
	tree := findTree(b, Memory, Pids)
	limits := Limits{MemoryMax: 100 * mib, PidsMax: 100}
	b.Run("process", func(b *testing.B) {
		for b.Loop() {
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = []string{helperEnv + "=wait"}
			if err := cmd.Run(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("clone", func(b *testing.B) {
		leaf := newLeaf(b, tree, limits)
		for b.Loop() {
			if err := cloneInto(leaf.FD()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("mkdir", func(b *testing.B) {
		for b.Loop() {
			d, err := tree.dir.create(leafPrefix)
			if err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			err = tree.dir.remove(filepath.Base(d.path))
			d.close()
			if err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
	b.Run("set", func(b *testing.B) {
		leaf := newLeaf(b, tree, limits)
		settings := leaf.Settings()
		for b.Loop() {
			if _, err := leaf.dir.set(settings); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("stats", func(b *testing.B) {
		leaf := newLeaf(b, tree, limits)
		for b.Loop() {
			stats(b, leaf)
		}
	})
	b.Run("rmdir", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			leaf, err := tree.New(b.Context(), limits)
			if err == nil && tree.Entry() == EnterByClone {
				err = cloneInto(leaf.FD())
			}
			if err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			if err := leaf.Remove(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			leaf, err := tree.New(b.Context(), limits)
			if err != nil {
				b.Fatal(err)
			}
			stats(b, leaf)
			if err := leaf.Remove(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
