package cgroup

import (
	"context"
	"errors"
	"regexp"
	"time"

	"golang.org/x/sys/unix"
)

// ours is the form of the names that create gives.
var ours = regexp.MustCompile(`^ringfence-(caller-)?[0-9]+-[0-9a-f]{8}$`)

// stalePatience is how long the end of what a dead caller left is waited for: the next start finds it again.
const stalePatience = 2 * time.Second

// removeStale removes the cgroups below d whose owners are dead, with what is in them: those whose lock is
// free. It returns what was in the way.
func (d *dir) removeStale(ctx context.Context) []error {
	names, err := d.subdirs()
	if err != nil {
		return []error{&Error{Op: "list cgroups", Path: d.path, Err: err}}
	}
	ctx, cancel := context.WithTimeout(ctx, stalePatience)
	defer cancel()
	var failed []error
	for _, name := range names {
		kind := ours.FindStringSubmatch(name)
		if kind == nil {
			continue
		}
		if err := d.removeIfStale(ctx, name, kind[1] != ""); err != nil {
			failed = append(failed, &Error{Op: "remove what a dead caller left", Path: d.path + "/" + name, Err: err})
		}
	}
	return failed
}

// removeIfStale holds the lock while it works, so that two of them do not meet. A caller's own cgroup is
// not emptied: what is in it may be children of the caller that it meant to leave.
func (d *dir) removeIfStale(ctx context.Context, name string, caller bool) error {
	sub, err := d.open(name)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer sub.close()
	if err := unix.Flock(sub.fd(), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil // it lives
		}
		return err
	}
	if !caller {
		return d.discard(ctx, sub)
	}
	if err := d.remove(name); err != nil && !gone(err) && !errors.Is(err, unix.EBUSY) {
		return err
	}
	return nil
}
