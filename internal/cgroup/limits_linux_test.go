package cgroup

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

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
	s, sampled := NewEstimate(Limits{MemoryMax: 30 * mib}).Complete(stats(t, leaf), <-peaks)
	if got := s.OOMKilled(); got != OOMByLimit {
		t.Errorf("%v: %+v", got, s.Memory)
	}
	if used, err := leaf.Used(); err != nil || used.OOMKilled() != OOMByLimit || used.CPU.Usage <= 0 {
		t.Errorf("at the end: %+v, %v", used, err)
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
	s, _ := NewEstimate(Limits{PidsMax: most}).Complete(stats(t, leaf), Peaks{Unknown, Unknown})
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
	var used Stats
	var share float64
	for range 5 { // the clock of a machine that is itself held back is a bad one
		before, began := stats(t, leaf), time.Now()
		time.Sleep(2 * time.Second) // the share is one of time
		used = stats(t, leaf)
		share = (used.CPU.Usage - before.CPU.Usage).Seconds() / time.Since(began).Seconds()
		t.Logf("%.1f %% of a processor: %+v", 100*share, used.CPU)
		if math.Abs(share-0.2) <= 0.03 {
			break
		}
	}
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
