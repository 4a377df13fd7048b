package cgroup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// made waits for what Ahead has begun, and returns the cgroup.
func made(t testing.TB, tree *Tree) *Leaf {
	t.Helper()
	for {
		tree.mu.Lock()
		spare, ahead := tree.spare, tree.ahead
		tree.mu.Unlock()
		if !ahead {
			return spare
		}
		// Its maker holds the other side of this lock, once it runs.
		tree.making.Lock()
		tree.making.Unlock() //nolint:staticcheck // nothing is to be done between
	}
}

// busyTree finds a tree in which cgroups were made before.
func busyTree(t testing.TB, need ...Controller) *Tree {
	t.Helper()
	tree := findTree(t, need...)
	for range 2 {
		if err := newLeaf(t, tree, Limits{}).Remove(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

func TestCgroupMadeAheadIsUsed(t *testing.T) {
	tree := busyTree(t, Memory, Pids)
	for range 2 {
		tree.Ahead(Limits{PidsMax: 5, MemoryMax: 10 * mib})
	}
	spare := made(t, tree)
	if all := leaves(t, tree); spare == nil || len(all) != 1 || all[0] != spare.Path() {
		t.Fatalf("%q were made ahead", all)
	}
	// Its limits are those of whoever asks for it, and no others.
	leaf := newLeaf(t, tree, Limits{PidsMax: 3})
	if leaf != spare {
		t.Errorf("%s was made, and %s not used", leaf.Path(), spare.Path())
	}
	for file, want := range map[string]string{"pids.max": "3", "memory.max": "max", "memory.oom.group": "0"} {
		if got := readFile(t, filepath.Join(leaf.Path(), file)); got != want {
			t.Errorf("%s is %s, want %s", file, got, want)
		}
	}
	if got := show(leaf.Settings()); got != show([]Setting{{"PidsMax", Pids, "pids.max", "3"}}) {
		t.Errorf("in force are %s", got)
	}

	tree.Ahead(Limits{PidsMax: 20})
	// One that somebody removed is none.
	if err := tree.dir.remove(made(t, tree).name); err != nil {
		t.Fatal(err)
	}
	start(t, newLeaf(t, tree, Limits{PidsMax: 20}), "memory 1").says(t)
}

// Limits that cannot be are for New to say, and nothing is left of the try.
func TestCgroupMadeAheadInVainIsRemoved(t *testing.T) {
	tree := busyTree(t, Pids)
	for _, l := range []Limits{{PidsMax: -1}, {CPUs: "999"}, {Hugetlb: []HugetlbLimit{{PageSize: 1 << 10}}}} {
		tree.Ahead(l)
		if spare := made(t, tree); spare != nil || len(leaves(t, tree)) > 0 {
			t.Errorf("%+v: %q", l, leaves(t, tree))
		}
	}
	tree.Ahead(Limits{PidsMax: 5})
	made(t, tree)
	if err := tree.Close(t.Context()); err != nil {
		t.Error(err)
	}
	tree.Ahead(Limits{PidsMax: 5}) // of a closed tree: none
	if made(t, tree) != nil || len(leaves(t, tree)) > 0 {
		t.Errorf("a closed tree has %q", leaves(t, tree))
	}
}

// A program that runs one sandbox leaves nothing, whether or not it closes the tree.
func TestCgroupIsNotMadeAheadForTheFirst(t *testing.T) {
	tree := findTree(t, Pids)
	leaf := newLeaf(t, tree, Limits{PidsMax: 5})
	tree.Ahead(Limits{PidsMax: 5})
	if spare := made(t, tree); spare != nil {
		t.Errorf("%s was made beside the first, %s", spare.Path(), leaf.Path())
	}
}

// Whoever closes a tree waits for what is being made in it, and nothing is left; whoever makes a cgroup then
// is told so. A descriptor is nobody else's while a process is born there.
func TestCgroupTreeClosedBesideStarts(t *testing.T) {
	rounds := 30
	if testing.Short() {
		rounds = 3
	}
	for range rounds {
		tree := findTree(t, Pids)
		var beside sync.WaitGroup
		for range 4 {
			beside.Go(func() {
				for {
					leaf, err := tree.New(context.Background(), Limits{PidsMax: 5})
					if err == nil {
						tree.Ahead(Limits{PidsMax: 5})
						err = born(tree, leaf)
					}
					if err == nil {
						err = leaf.Remove(context.Background())
					}
					if errors.Is(err, ErrRemoved) {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		for len(leaves(t, tree)) == 0 { // at least one is on its way
		}
		if err := tree.Close(t.Context()); err != nil {
			t.Error(err)
		}
		beside.Wait()
		if left := leaves(t, tree); len(left) > 0 {
			t.Errorf("%q are left", left)
		}
	}
}

// born starts a process in a leaf, if the host lets it be born there, with files opened and closed beside
// it: the number of a descriptor that was closed too early is soon that of another file.
func born(tree *Tree, leaf *Leaf) error {
	if tree.Entry() != EnterByClone {
		return nil
	}
	return leaf.Born(func(fd int) error {
		other, err := os.Open("/")
		if err != nil {
			return err
		}
		defer other.Close()
		var st unix.Statfs_t
		if err := unix.Fstatfs(fd, &st); err != nil || st.Type != unix.CGROUP2_SUPER_MAGIC {
			return errors.Join(errors.New("the descriptor is another file's"), err)
		}
		return cloneInto(fd)
	})
}
