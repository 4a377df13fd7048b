package cgroup

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Pause stops all processes of the cgroup and returns once they stand still. If ctx ends before, they go
// on.
func (l *Leaf) Pause(ctx context.Context) error {
	return l.freeze(ctx, "pause", true)
}

// Resume lets them go on.
func (l *Leaf) Resume(ctx context.Context) error {
	return l.freeze(ctx, "resume", false)
}

func (l *Leaf) freeze(ctx context.Context, op string, stop bool) error {
	value, want := "0", int64(0)
	if stop {
		value, want = "1", 1
	}
	var w *watch
	err := l.with(op, func(d *dir) error {
		var err error
		if w, err = d.watch("cgroup.events"); err != nil {
			return err
		}
		return d.write("cgroup.freeze", value)
	})
	if w == nil {
		return err
	}
	defer w.close()
	if err == nil {
		err = l.fault(op, w.until(ctx, func(data []byte) bool { return flatKey(data, "frozen") == want }))
	}
	if err != nil && stop {
		// The cause is what was said first.
		_ = l.with(op, func(d *dir) error { return d.write("cgroup.freeze", "0") })
	}
	return err
}

// Kill sends SIGKILL to every process of the cgroup, also to those that are being forked now.
func (l *Leaf) Kill(ctx context.Context) error {
	return l.with("kill", func(d *dir) error { return d.kill(ctx) })
}

// kill uses cgroup.kill, which came with Linux 5.14 (commit 661ee6280931).
func (d *dir) kill(ctx context.Context) error {
	err := d.write("cgroup.kill", "1")
	if !errors.Is(err, unix.ENOENT) || !d.has("cgroup.freeze") {
		return err
	}
	return d.killFrozen(ctx)
}

// killFrozen stops everything first, so that nothing forks away from the list. What is frozen can be
// killed (section "Core Interface Files", cgroup.freeze).
func (d *dir) killFrozen(ctx context.Context) error {
	w, err := d.watch("cgroup.events")
	if err != nil {
		return err
	}
	defer w.close()
	if err := d.write("cgroup.freeze", "1"); err != nil {
		return err
	}
	err = w.until(ctx, func(data []byte) bool {
		return flatKey(data, "frozen") == 1 || flatKey(data, "populated") == 0
	})
	if err == nil {
		err = d.signal(unix.SIGKILL)
	}
	return oneLine(err, d.write("cgroup.freeze", "0"))
}

// signal sends a signal to every process in the cgroup and below it.
func (d *dir) signal(sig unix.Signal) error {
	data, err := d.read("cgroup.procs")
	if err != nil {
		return err
	}
	for _, pid := range numbers(data) {
		if err := unix.Kill(pid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("signal process %d: %w", pid, err)
		}
	}
	names, err := d.subdirs()
	if err != nil {
		return err
	}
	for _, n := range names {
		sub, err := d.open(n)
		if gone(err) {
			continue
		}
		if err != nil {
			return err
		}
		err = sub.signal(sig)
		sub.close()
		if err != nil {
			return err
		}
	}
	return nil
}

// numbers reads a list of process IDs. A zero is a process that cannot be seen from here.
func numbers(data []byte) []int {
	var all []int
	for _, f := range strings.Fields(string(data)) {
		if n, err := strconv.Atoi(f); err == nil && n > 0 {
			all = append(all, n)
		}
	}
	return all
}

// Remove removes the cgroup, and kills what is in it. It returns nil if there is none any more. After an
// error other than ctx's, or with it, the cgroup is still l's, and Remove can be called again.
func (l *Leaf) Remove(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dir == nil {
		return nil
	}
	if err := l.tree.dir.discard(ctx, l.dir); err != nil {
		return l.fault("remove", err)
	}
	l.dir.close()
	l.dir = nil
	close(l.gone)
	l.tree.forget(l)
	return nil
}

func (t *Tree) forget(l *Leaf) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.leaves, l)
}

// discard removes the cgroup sub of d. Who is in it is killed, and rmdir(2) asked again when the kernel
// says that nobody is.
func (d *dir) discard(ctx context.Context, sub *dir) error {
	name := path.Base(sub.path)
	for {
		err := d.remove(name)
		switch {
		case err == nil || gone(err):
			return nil
		case !errors.Is(err, unix.EBUSY):
			return err
		}
		if err := sub.empty(ctx); err != nil && !gone(err) {
			return err
		}
	}
}

// empty kills every process in the cgroup and waits for their ends.
func (d *dir) empty(ctx context.Context) error {
	w, err := d.watch("cgroup.events")
	if err != nil {
		return err
	}
	defer w.close()
	if err := d.kill(ctx); err != nil {
		return err
	}
	return w.until(ctx, func(data []byte) bool { return flatKey(data, "populated") == 0 })
}
