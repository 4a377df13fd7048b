package sandbox

import (
	"os"
	"slices"
	"testing"
)

// Bombs that nothing but a cgroup bounds: memory in all its forms, and processes.

// quick are those of some bombs that a slow machine has the time for, unless RINGFENCE_BOMBS says that it has
// more.
func quick(all []string, slow ...string) []string {
	if os.Getenv("RINGFENCE_BOMBS") != "" {
		return all
	}
	return slices.DeleteFunc(all, func(name string) bool { return slices.Contains(slow, name) })
}

// Without a cgroup nothing bounds these but the memory of the host. The control is a limit that they keep: with
// RINGFENCE_BOMBS, since that takes its time.
func TestCgroupBoundsMemoryInEveryForm(t *testing.T) {
	const limit = 40 << 20
	bounded := inCgroup(t, Limits{MemoryMax: limit, PidsMax: 50})
	larger := inCgroup(t, Limits{MemoryMax: 10 * limit, PidsMax: 50})
	for _, form := range quick([]string{"anonymous", "pagetables", "memfd", "shm", "pipes", "sockets", "messages"}, "anonymous", "memfd", "shm", "messages") {
		t.Run(form, func(t *testing.T) {
			b := bomb{args: act("hold:" + form + ",100"), ended: OutOfMemory}
			r, told := b.run(t, bounded)
			if r.Ended != OutOfMemory || r.Usage.MemoryPeak < limit/2 || r.Usage.MemoryPeak > limit+1<<20 {
				t.Errorf("%v (%v) with a peak of %d bytes, want out of memory with a limit of %d", r, told, r.Usage.MemoryPeak, limit)
			}
			if by(r, MemoryLimit) != "cgroup memory.max" {
				t.Errorf("enforced by %q", by(r, MemoryLimit))
			}
			if os.Getenv("RINGFENCE_BOMBS") != "" {
				if r, told := b.run(t, larger); r.Ended != Exited || told.Err != "" || r.Usage.MemoryPeak < limit*3/2 { // of pipes a user has 64 MiB
					t.Errorf("the control: %v (%v) with a peak of %d bytes", r, told, r.Usage.MemoryPeak)
				}
			}
		})
	}
}

// What is in a file system of the sandbox's, and what the kernel keeps for each file, counts too: these end by
// the bounds of the file system, or earlier by the cgroup's.
func TestCgroupBoundsWhatTheKernelKeeps(t *testing.T) {
	const limit = 64 << 20
	bounded := inCgroup(t, Limits{MemoryMax: limit, PidsMax: 50})
	for _, thing := range quick([]string{"inode", "link", "directory", "pipe", "watch", "signal", "terminal"}, "inode", "link", "directory", "watch") {
		t.Run(thing, func(t *testing.T) {
			b := bomb{args: act("take:" + thing + ",100000"), ended: Exited}
			r, told := b.run(t, func(s *Spec) {
				bounded(s)
				s.Dir = "/tmp"
			})
			refused := r.Ended == Exited && slices.Contains([]string{"ENOSPC", "EMFILE", "EAGAIN", "ENOMEM"}, told.Err)
			if r.Ended != OutOfMemory && !refused || r.Usage.MemoryPeak > limit+1<<20 {
				t.Errorf("%v (%v) with a peak of %d bytes", r, told, r.Usage.MemoryPeak)
			}
		})
	}
}

func TestCgroupBoundsProcesses(t *testing.T) {
	const limit = 40
	bounded := inCgroup(t, Limits{PidsMax: limit})
	for _, b := range []bomb{
		{name: "fork", args: act("forks"), ended: TimedOut},
		{name: "processes", args: act("take:process,1000"), ended: Exited, err: "EAGAIN"},
		{name: "zombies", args: act("take:zombie,1000"), ended: Exited, err: "EAGAIN"},
	} {
		t.Run(b.name, func(t *testing.T) {
			r, told := b.run(t, bounded)
			if r.Ended != b.ended || told.Err != b.err {
				t.Errorf("%v, %v, want %v, %s", r, told, b.ended, b.err)
			}
			if r.Usage.PidsPeak < limit || r.Usage.PidsPeak > limit+2 || r.Usage.PidsMaxEvents < 1 {
				t.Errorf("at most %d at a time, refused %d times, want %d", r.Usage.PidsPeak, r.Usage.PidsMaxEvents, limit)
			}
			if by(r, PidsLimit) != "cgroup pids.max" {
				t.Errorf("enforced by %q", by(r, PidsLimit))
			}
		})
	}
}
