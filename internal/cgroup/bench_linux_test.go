package cgroup

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// The cost of a cgroup, in its parts. "all" is what a run took with a cgroup of its own before the next one was
// made ahead.
func BenchmarkCgroup(b *testing.B) {
	tree := busyTree(b, Memory, Pids)
	limits := Limits{MemoryMax: 100 * mib, PidsMax: 100}
	b.Run("clone", func(b *testing.B) {
		leaf := newLeaf(b, tree, limits)
		for b.Loop() {
			if err := cloneInto(leaf.fd()); err != nil {
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
	b.Run("used", func(b *testing.B) {
		leaf := newLeaf(b, tree, limits)
		for b.Loop() {
			used(b, leaf)
		}
	})
	b.Run("rmdir", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			leaf, err := tree.New(b.Context(), limits)
			if err == nil && tree.Entry() == EnterByClone {
				err = cloneInto(leaf.fd())
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
	b.Run("made ahead", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			tree.Ahead(limits)
			made(b, tree)
			b.StartTimer()
			leaf, err := tree.New(b.Context(), limits)
			if err != nil {
				b.Fatal(err)
			}
			used(b, leaf)
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
			used(b, leaf)
			if err := leaf.Remove(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func used(b *testing.B, leaf *Leaf) {
	b.Helper()
	if _, err := leaf.Used(); err != nil {
		b.Fatal(err)
	}
}

// What every host can do, by which times of a machine can be compared with those of another: a virtual one
// with its host. None of it needs a cgroup.
func BenchmarkYardstick(b *testing.B) {
	b.Run("process", benchProcess)
	b.Run("read", func(b *testing.B) {
		d, err := openDirAt(unix.AT_FDCWD, "/proc")
		if err != nil {
			b.Fatal(err)
		}
		defer d.close()
		buf := make([]byte, 0, valueSize)
		for b.Loop() {
			if _, err := d.readValue("loadavg", buf); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("mkdir and rmdir", func(b *testing.B) {
		dir := "/dev/shm/" + leafPrefix + randomName()
		for b.Loop() {
			if err := os.Mkdir(dir, 0o755); err != nil {
				b.Fatal(err)
			}
			if err := os.Remove(dir); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func benchProcess(b *testing.B) {
	for b.Loop() {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = []string{helperEnv + "=wait"}
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
	}
}
