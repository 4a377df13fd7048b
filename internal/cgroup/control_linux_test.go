package cgroup

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

func TestCgroupPauseStopsTime(t *testing.T) {
	tree := findTree(t, Pids)
	leaf := newLeaf(t, tree, Limits{})
	start(t, leaf, "spin 1").says(t)
	if err := leaf.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := stats(t, leaf).CPU.Usage
	time.Sleep(200 * time.Millisecond) // in which a process that runs would use time
	// The last step before standing still may be counted after it was said to be done.
	if after := stats(t, leaf).CPU.Usage; after > before+20*time.Millisecond {
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
	if leaf.fd() != -1 || leaf.Remove(ctx) != nil {
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
			if err := cloneInto(leaf.fd()); err != nil {
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

// Where clone3 is not to be had, a process is moved before it does anything.
func TestCgroupIsEnteredByMove(t *testing.T) {
	tree := findTree(t, Memory, Pids)
	if tree.Entry() != EnterByClone {
		sandboxtest.Skip(t, "cgroup-v2", "the caller may not move processes: "+tree.Entry().String())
	}
	tree.entry = EnterByMove
	leaf := newLeaf(t, tree, Limits{PidsMax: 20})
	p := start(t, leaf, "memory 1")
	p.says(t)
	if got := readFile(t, filepath.Join(leaf.Path(), "cgroup.procs")); got != strconv.Itoa(p.Process.Pid) {
		t.Errorf("process %d is not among %q", p.Process.Pid, got)
	}
	// Or it moves itself, by a file that it was given.
	self := newLeaf(t, tree, Limits{PidsMax: 20})
	procs, err := self.Procs()
	if err != nil {
		t.Fatal(err)
	}
	defer procs.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{helperEnv + "=enter"}
	cmd.Stdout = procs
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if s := stats(t, self); s.CPU.Usage <= 0 {
		t.Errorf("nothing ran in %s: %+v", self.Path(), s.CPU)
	}
	var e *Error
	if err := leaf.Enter(t.Context(), 1<<30); !errors.As(err, &e) || !errors.Is(err, syscall.ESRCH) {
		t.Errorf("a process that does not exist: %v", err)
	}
}

func TestCgroupRemovedEndsWaits(t *testing.T) {
	tree := findTree(t, Memory, Pids)
	leaf := newLeaf(t, tree, Limits{MemoryMax: 50 * mib})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ends := make(chan error)
	waits := []func() error{
		func() error { return leaf.AwaitOOM(ctx) },
		func() error { return leaf.AwaitPidsMax(ctx) },
		func() error { return leaf.AwaitCPUTime(ctx, time.Hour) },
		func() error { leaf.SamplePeaks(ctx); return ErrRemoved },
	}
	for _, wait := range waits {
		go func() { ends <- wait() }()
	}
	start(t, leaf, "memory 1").says(t)
	if err := leaf.Remove(ctx); err != nil {
		t.Fatal(err)
	}
	for range waits {
		if err := <-ends; !errors.Is(err, ErrRemoved) {
			t.Error(err)
		}
	}
}
