package cgroup

import (
	"os/exec"
	"path/filepath"
	"testing"
)

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
	b.Run("made ahead", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			if err := tree.Ahead(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
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
