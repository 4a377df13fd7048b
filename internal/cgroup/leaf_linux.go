package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// Leaf is the cgroup of one sandbox. Its methods may be called at the same time, before Remove.
type Leaf struct {
	tree *Tree
	name string
	gone chan struct{} // closed once removed

	mu       sync.Mutex
	dir      *dir // nil once removed
	limits   Limits
	settings []Setting
}

// New makes a cgroup in which limits are in force. Each of its controllers must be enabled.
func (t *Tree) New(ctx context.Context, limits Limits) (*Leaf, error) {
	t.making.RLock()
	defer t.making.RUnlock()
	l, err := t.take()
	if err != nil {
		return nil, err
	}
	if err = l.Update(limits); err == nil {
		err = t.add(l)
	}
	if err != nil {
		return nil, oneLine(err, l.Remove(ctx))
	}
	return l, nil
}

// make makes a cgroup without limits, which nobody knows of yet.
func (t *Tree) make() (*Leaf, error) {
	d, err := t.dir.create(leafPrefix)
	if err != nil {
		return nil, err
	}
	return &Leaf{tree: t, name: path.Base(d.path), gone: make(chan struct{}), dir: d}, nil
}

func (t *Tree) add(l *Leaf) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return &Error{Op: "make a cgroup", Path: t.dir.path, Err: ErrRemoved}
	}
	if t.leaves == nil {
		t.leaves = map[*Leaf]bool{}
	}
	t.leaves[l] = true
	t.made++
	return nil
}

// Names of cgroups: "ringfence-PID-XXXXXXXX" for a sandbox, "ringfence-caller-PID-XXXXXXXX" for a caller
// that was moved. The number is for people: who is alive is told by the lock.
const (
	leafPrefix   = "ringfence-"
	callerPrefix = "ringfence-caller-"
)

// create makes a cgroup below d and locks its directory, which says that its owner lives. A lock ends with
// the process that holds it, whatever ends that, and means the same in every PID namespace.
func (d *dir) create(prefix string) (*dir, error) {
	// Between being made and being locked it looks as if its owner were dead: who removes it then is
	// right, and another one is made.
	const tries = 10
	for range tries {
		name := prefix + strconv.Itoa(os.Getpid()) + "-" + randomName()
		if err := unix.Mkdirat(d.fd(), name, 0o755); err != nil {
			return nil, d.createError(err)
		}
		leaf, err := d.open(name)
		if gone(err) {
			continue
		}
		if err != nil {
			return nil, oneLine(err, d.remove(name))
		}
		if unix.Flock(leaf.fd(), unix.LOCK_EX|unix.LOCK_NB) == nil && leaf.has("cgroup.procs") {
			return leaf, nil
		}
		leaf.close()
	}
	return nil, &Error{Op: "make a cgroup", Path: d.path, Err: errors.New("each one was removed at once by somebody else")}
}

func (d *dir) createError(err error) error {
	e := &Error{Op: "make a cgroup", Path: d.path, Err: err}
	switch {
	case gone(err):
		e.Err = fmt.Errorf("%w: %w", ErrRemoved, err)
	case errors.Is(err, unix.EAGAIN):
		e.Remedy = "raise cgroup.max.descendants or cgroup.max.depth of a cgroup above"
	}
	return e
}

// set writes settings, and returns those that are in force: all but one that there is nothing for.
func (d *dir) set(settings []Setting) ([]Setting, error) {
	var done []Setting
	for _, s := range settings {
		err := d.write(s.File, s.Value)
		if errors.Is(err, unix.ENOENT) && s.File == "memory.swap.max" && s.Value == "0" && !hasSwap() {
			continue // there is nothing to limit
		}
		if err != nil {
			return done, &Error{Op: "set " + s.File + " to " + strconv.Quote(s.Value), Path: d.path, Err: err, Remedy: s.remedy(err)}
		}
		done = append(done, s)
	}
	return done, nil
}

// hasSwap reports whether the kernel can swap: whether it does now may change.
func hasSwap() bool { return unix.Access("/proc/swaps", unix.F_OK) == nil }

func (s Setting) remedy(err error) string {
	switch {
	case errors.Is(err, unix.ENOENT) && s.File == "memory.swap.max":
		return "swap is not accounted: boot with swapaccount=1, or without swapaccount=0"
	case errors.Is(err, unix.ENODEV) && s.File == "io.max":
		return "limits are on whole disks that exist"
	case errors.Is(err, unix.EINVAL) && s.Controller == CPUSet, errors.Is(err, unix.ERANGE) && s.Controller == CPUSet:
		return "the host does not have all of these"
	}
	return ""
}

// Name is the name of the cgroup in its tree.
func (l *Leaf) Name() string { return l.name }

// Path is the directory of the cgroup.
func (l *Leaf) Path() string { return path.Join(l.tree.dir.path, l.name) }

// Born calls start with the descriptor of the directory, for syscall.SysProcAttr.CgroupFD. Until start
// returns it is that of no other file, even if the cgroup is removed meanwhile: then nothing can be born
// there, and an error of start's matches ErrRemoved too.
func (l *Leaf) Born(start func(fd int) error) error {
	l.mu.Lock()
	d := l.dir
	l.mu.Unlock()
	if d == nil {
		return l.fault("start a process", ErrRemoved)
	}
	conn, err := d.file.SyscallConn()
	if err == nil {
		var startErr error
		if err = conn.Control(func(fd uintptr) { startErr = start(int(fd)) }); err == nil && startErr == nil {
			return nil
		}
		err = oneLine(err, startErr) // one of them is nil
	}
	// Whoever removes it holds the lock: what is told by an errno of clone3 (ENOENT, ENODEV), or by a SIGKILL,
	// is then known to be that.
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dir == nil {
		return l.fault("start a process", fmt.Errorf("%w: %w", ErrRemoved, err))
	}
	return err
}

// Procs opens cgroup.procs for writing: a process that inherits it enters by writing "0" to it, if the
// entry of the tree is EnterByMove. The file is the caller's to close.
func (l *Leaf) Procs() (*os.File, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dir == nil {
		return nil, l.fault("open cgroup.procs", ErrRemoved)
	}
	fd, err := l.dir.openFile("cgroup.procs", unix.O_WRONLY)
	if err != nil {
		return nil, l.fault("open cgroup.procs", err)
	}
	return os.NewFile(uintptr(fd), l.Path()+"/cgroup.procs"), nil
}

// Enter moves a child of the caller into the cgroup, with all its threads, where the entry of the tree is
// not EnterByClone. The child must wait for that, and run nothing that is not trusted before.
func (l *Leaf) Enter(ctx context.Context, pid int) error {
	op := "move process " + strconv.Itoa(pid)
	if l.tree.entry != EnterByManager {
		return l.with(op, func(d *dir) error { return d.addProcess(pid) })
	}
	if err := l.tree.unit.enter(ctx, l.name, pid); err != nil {
		return l.fault(op, err)
	}
	// systemd says yes too when it only meant to.
	return l.with(op, func(d *dir) error {
		data, err := d.read("cgroup.procs")
		if err != nil {
			return err
		}
		for _, p := range numbers(data) {
			if p == pid {
				return nil
			}
		}
		return errors.New("systemd did not move it")
	})
}

// Settings returns what is in force.
func (l *Leaf) Settings() []Setting {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Setting(nil), l.settings...)
}

// Update puts other limits in force, also while processes run: what is zero in limits is no longer
// limited. If it fails, the old ones are in force, unless putting them back failed too.
func (l *Leaf) Update(limits Limits) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dir == nil {
		return l.fault("set limits", ErrRemoved)
	}
	todo, err := changes(&l.limits, &limits)
	if err != nil {
		return err
	}
	for _, s := range todo {
		if !l.tree.Has(s.Controller) {
			return &Error{Op: "set " + s.File, Path: l.tree.dir.path, Err: &MissingError{[]Controller{s.Controller}}}
		}
	}
	done, err := l.dir.set(todo)
	if err != nil {
		// Some may be in force: the old ones are put back.
		back, _ := changes(&limits, &l.limits) // both were read above
		_, backErr := l.dir.set(back)
		return oneLine(err, backErr)
	}
	all, err := limits.Settings()
	if err != nil {
		return err
	}
	l.settings = slices.DeleteFunc(all, func(s Setting) bool {
		return !slices.Contains(done, s) && !slices.Contains(l.settings, s)
	})
	l.limits = limits
	return nil
}

// with calls act with the directory of the cgroup, as long as there is one.
func (l *Leaf) with(op string, act func(*dir) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dir == nil {
		return l.fault(op, ErrRemoved)
	}
	return l.fault(op, act(l.dir))
}

// fault says what was attempted; ctx's own errors stay as they are.
func (l *Leaf) fault(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, unix.ENODEV):
		err = fmt.Errorf("%w: %w", ErrRemoved, err)
	}
	return &Error{Op: op, Path: l.Path(), Err: err}
}
