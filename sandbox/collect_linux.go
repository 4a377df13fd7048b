package sandbox

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/filetree"
)

// Wait waits for the end of the command and of everything else in the sandbox, and until all output was
// copied and all of Spec.Collect was read: a Writer that blocks holds it up. The Result is never nil after a
// successful Start; the error is as from Run.
func (c *Cmd) Wait() (*Result, error) {
	r, err := c.wait()
	if c.uncollected != nil {
		return r, errors.Join(err, c.uncollected)
	}
	return r, err
}

// collect takes out what the Spec asks for, now that nothing in the sandbox runs: also when a limit or the
// context has ended it, since each of its parts is bounded. It returns what could not be had.
func (c *Cmd) collect() error {
	if len(c.spec.Collect) == 0 {
		return nil
	}
	held := c.process.Extra()[c.plan.resolved.firstHeld():]
	root := held[1] // the other one keeps its mounts
	var errs []error
	for i := range c.spec.Collect {
		errs = append(errs, c.plan.resolved.copyOut(context.Background(), "collect", root, &c.spec.Collect[i]))
	}
	return errors.Join(errs...)
}

// firstHeld returns where the descriptors of compileHold begin among those that the caller gets.
func (r *resolved) firstHeld() int {
	if r.watchCPU {
		return 1
	}
	return 0
}

// copyOut takes files out of the sandbox with this root.
//
// Preconditions: validateCollect found no fault in what.
func (r *resolved) copyOut(ctx context.Context, op string, root *os.File, what *Collect) error {
	i := &r.ids
	o := filetree.Options{
		MaxBytes: what.MaxBytes, MaxFiles: what.MaxFiles, Symlinks: what.Symlinks, As: r.filesUser(),
		UID: idInside(i.uids.ContainerID), GID: idInside(i.gids.ContainerID),
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultCollectBytes
	}
	if o.MaxFiles == 0 {
		o.MaxFiles = DefaultCollectFiles
	}
	t, err := filetree.Open(ctx, int(root.Fd()), what.Path, o)
	if err != nil {
		return i.collectError(op, what.Path, err)
	}
	defer t.Close()
	switch {
	case what.File != nil:
		err = t.Copy(what.File)
	case what.Tar != nil:
		err = t.Tar(what.Tar)
	default:
		if err = t.FS(what.FS); err != nil {
			// What is in it may be of any file, of the host too.
			return &CollectError{Op: op, Path: path.Clean(what.Path), Err: err}
		}
	}
	return i.collectError(op, what.Path, err)
}

// idInside returns the function that turns an ID outside into the one inside; nobody's, if there is none, as
// the command sees it.
func idInside(containerID func(hostID int) (int, bool)) func(uint32) int {
	return func(id uint32) int {
		if in, ok := containerID(int(id)); ok {
			return in
		}
		return overflowID
	}
}

// filesUser returns the command's user, by IDs outside. Groups that PID 1 could not leave are the command's too.
func (r *resolved) filesUser() *filetree.User {
	i := &r.ids
	uid, uidOK := i.uids.HostID(i.uid)
	gid, gidOK := i.gids.HostID(i.gid)
	if !uidOK || !gidOK { // resolveIDs refuses that
		uid, gid = overflowID, overflowID
	}
	return &filetree.User{UID: uid, GID: gid, DropGroups: !i.keepsGroups}
}

// single reports whether one ID is mapped, and so everything in the sandbox is its.
func (i *ids) single() bool {
	return len(i.uids) == 1 && i.uids[0].Size == 1 && len(i.gids) == 1 && i.gids[0].Size == 1
}

// collectError returns errors of a tree as *CollectErrors, joined.
func (i *ids) collectError(op, at string, err error) error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, e := range joined.Unwrap() {
			all = append(all, i.collectError(op, at, e))
		}
		return errors.Join(all...)
	}
	e := &CollectError{Op: op, Path: path.Clean(at), Err: err}
	var where *filetree.PartError
	if errors.As(err, &where) {
		e.Path, e.Err = path.Join(e.Path, where.Path), where.Err
	}
	switch {
	case errors.Is(err, filetree.ErrLimit):
		e.Remedy = "raise MaxBytes or MaxFiles, if so much is expected"
	case errors.Is(err, fs.ErrPermission) && op == "copy in":
		e.Remedy = "choose a directory that the command's user may write"
	case errors.Is(err, fs.ErrPermission) && !i.single():
		e.Remedy = "it belongs to another ID of the sandbox than the caller's: let the command make it readable by all, chmod -R a+rX"
	case errors.Is(err, fs.ErrPermission):
		e.Remedy = "let the command make it readable, chmod -R u+rX"
	case errors.Is(err, unix.EOVERFLOW):
		e.Remedy = "map the caller's own IDs too, in UIDs and GIDs: nobody inside would own the file"
	case errors.Is(err, filetree.ErrKind) && op != "copy in":
		e.Remedy = "let the command leave regular files there"
	}
	return e
}
