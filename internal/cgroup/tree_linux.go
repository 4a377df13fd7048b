package cgroup

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Tree is a subtree in which cgroups can be made. Its methods may be called at the same time.
type Tree struct {
	way    Way
	dir    *dir
	chain  []string // the path of dir, and of what is above it and the caller's too
	own    string   // the directory of the caller's cgroup
	unit   *unit    // whose subtree it is; nil is none
	caller *dir     // the cgroup that the caller was moved to; nil is none
	entry  Entry
	stale  []error

	making sync.RWMutex // read-locked while a cgroup is made, which Close waits for

	mu       sync.Mutex
	have     []Controller
	counters []counter // that the kernel has; nil is not known
	leaves   map[*Leaf]bool
	made     int   // by New
	spare    *Leaf // for the next New; nil is none
	ahead    bool  // one is being made
	closed   bool
}

// Entry is how a process gets into a cgroup of a tree.
type Entry int

// The ways in.
const (
	// EnterByClone is CLONE_INTO_CGROUP of clone3(2): syscall.SysProcAttr.UseCgroupFD, with Leaf.FD. The
	// process never was anywhere else.
	EnterByClone Entry = iota + 1
	// EnterByMove is Leaf.Enter, where clone3 is not to be had.
	EnterByMove
	// EnterByManager is Leaf.Enter too: systemd moves the process, which the caller may not. Its cgroup
	// is in another branch of the tree, as that of a login session is.
	EnterByManager
)

// String returns the entry in words.
func (e Entry) String() string {
	switch e {
	case EnterByClone:
		return "clone3(CLONE_INTO_CGROUP)"
	case EnterByMove:
		return "cgroup.procs"
	case EnterByManager:
		return "AttachProcessesToUnit of systemd"
	}
	return "Entry(0)"
}

// Way says how the subtree was come by.
func (t *Tree) Way() Way { return t.way }

// Path is the directory of the subtree.
func (t *Tree) Path() string { return t.dir.path }

// Entry says how a process gets in.
func (t *Tree) Entry() Entry { return t.entry }

// Has reports whether a controller is enabled.
func (t *Tree) Has(c Controller) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Contains(t.have, c)
}

// Stale returns why cgroups of dead callers could not be removed. The next Find tries again.
func (t *Tree) Stale() error { return oneLine(t.stale...) }

// Enable enables controllers that Find was not asked for. The error matches ErrNoController if one is not
// to be had here.
func (t *Tree) Enable(controllers ...Controller) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return ErrRemoved
	}
	c := choice{dir: t.dir.path, chain: t.chain, have: slices.Clone(t.have)}
	if err := (host{FS: os.DirFS("/")}).plan(&c, wants{need: controllers}); err != nil {
		return err
	}
	for _, step := range c.enable {
		if err := step.do(); err != nil {
			return err
		}
	}
	t.have, t.counters = c.have, nil
	return nil
}

func enableRemedy(c Controller, err error) string {
	switch {
	case errors.Is(err, unix.EBUSY):
		return "a process is in the cgroup itself: move it to one below"
	case errors.Is(err, unix.EPERM) && c == CPUSet:
		// Tasks are bound to processors anew then, which takes the right to do so (cpuset_can_attach).
		return "a process of another user is in the cgroup or below it"
	}
	return ""
}

// findEntry puts a process into a cgroup to see how that can be done.
func (t *Tree) findEntry(ctx context.Context) error {
	leaf, err := t.dir.create(leafPrefix)
	if err != nil {
		return err
	}
	defer leaf.close()
	t.entry, err = t.tryEntries(leaf)
	return oneLine(err, t.dir.discard(ctx, leaf))
}

func (t *Tree) tryEntries(leaf *dir) (Entry, error) {
	err := cloneInto(leaf.fd())
	if err == nil {
		return EnterByClone, nil
	}
	// EACCES is the kernel's word on the cgroups; all else is on the call: ENOSYS and EPERM of a container's
	// filter, EINVAL of Linux before 5.7.
	if !errors.Is(err, unix.EACCES) {
		var moveErr error
		if moveErr = writable(path.Join(commonAncestor(t.own, leaf.path), "cgroup.procs")); moveErr == nil {
			return EnterByMove, nil
		}
		err = oneLine(err, moveErr)
	}
	if t.unit != nil {
		return EnterByManager, nil
	}
	remedy := ""
	if errors.Is(err, fs.ErrPermission) {
		remedy = "the caller is in " + t.own + ", and moving a process from there takes write access to cgroup.procs of " +
			commonAncestor(t.own, leaf.path) + ": start the caller in a cgroup below " + t.dir.path
	}
	return 0, &Error{Op: "start a process", Path: t.dir.path, Err: err, Remedy: remedy}
}

// cloneInto makes a child in the cgroup behind fd, which then executes a file whose name is too long: an
// error that is execve's alone, and tells that the child was there. It is gone when this returns.
func cloneInto(fd int) error {
	pid, err := syscall.ForkExec(strings.Repeat("x", unix.PathMax+1), []string{"x"},
		&syscall.ProcAttr{Sys: &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd}})
	switch {
	case err == nil: // somebody killed it, and it had no say: it was there
		_, err = ignoringEINTR(func() (int, error) { return unix.Wait4(pid, nil, 0, nil) })
		return err
	case errors.Is(err, unix.ENAMETOOLONG):
		return nil
	}
	return err
}

// Close removes what t made: leaves that are still there, with all processes in them, and the unit. A
// caller that was moved stays where it is.
func (t *Tree) Close(ctx context.Context) error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil
	}
	t.closed = true
	t.mu.Unlock()
	t.making.Lock() // those that were begun have ended, and there will be no others
	defer t.making.Unlock()
	t.mu.Lock()
	leaves := slices.Collect(maps.Keys(t.leaves))
	if t.spare != nil {
		leaves = append(leaves, t.spare)
		t.spare = nil
	}
	t.mu.Unlock()
	var failed []error
	for _, l := range leaves {
		failed = append(failed, l.Remove(ctx))
	}
	if t.unit != nil {
		failed = append(failed, t.unit.stop(ctx))
	}
	if t.caller != nil {
		t.caller.close()
	}
	t.dir.close()
	return oneLine(failed...)
}
