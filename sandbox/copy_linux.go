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

// CopyOut takes files out of the sandbox while it lives: see Collect. What runs in it may change them
// meanwhile; then a file may be a mixture of what was there, or an error, and is never one from outside. A
// file that somebody holds a lease on is an error too (EAGAIN).
//
// The error is a *SpecError for what is wrong with what, an *OpError with ErrEnded for a sandbox that has
// ended, ctx's, and else *CollectErrors, joined. The end of ctx or of the sandbox ends it.
func (s *Sandbox) CopyOut(ctx context.Context, what Collect) error {
	f := &faults{}
	validateCollect(f, "Collect", &what)
	if err := f.err(); err != nil {
		return err
	}
	return s.copying(ctx, "copy out", func(ctx context.Context, root *os.File) error {
		return s.keeper.plan.resolved.copyOut(ctx, "copy out", root, &what)
	})
}

// CopyIn makes the directories and files of src in the directory dst inside, an absolute path, which is made
// with those above it if it is not there. They have the modes that src says, without setuid, setgid and sticky
// bits, but that the owner of a directory may do everything in it, and belong to the caller, for one that is root to Spec.User. Nothing that runs in the sandbox can lead
// it elsewhere: no symbolic link is followed, and nothing that is there is written to.
//
// The errors are as of CopyOut, and those of src. The first one ends it, and what was made until then stays.
func (s *Sandbox) CopyIn(ctx context.Context, dst string, src fs.FS, options CopyOptions) error {
	f := &faults{}
	validateCopyIn(f, dst, src, &options)
	if err := f.err(); err != nil {
		return err
	}
	r := s.keeper.plan.resolved
	in := filetree.Input{MaxBytes: options.MaxBytes, MaxFiles: options.MaxFiles, Overwrite: options.Overwrite, Symlinks: options.Symlinks, As: r.filesUser()}
	if in.MaxBytes == 0 {
		in.MaxBytes = DefaultCollectBytes
	}
	if in.MaxFiles == 0 {
		in.MaxFiles = DefaultCollectFiles
	}
	return s.copying(ctx, "copy in", func(ctx context.Context, root *os.File) error {
		err := filetree.Write(ctx, int(root.Fd()), dst, src, in)
		var where *filetree.PartError
		if err == nil || errors.As(err, &where) {
			return r.ids.collectError("copy in", dst, err)
		}
		return &CollectError{Op: "copy in", Path: path.Clean(dst), Err: err} // of the source
	})
}

// copying calls with the root of the sandbox, and with a context that ends with it.
func (s *Sandbox) copying(ctx context.Context, op string, call func(context.Context, *os.File) error) error {
	if ctx == nil {
		return errNilContext
	}
	ended := &OpError{Index: -1, Op: op, Err: ErrEnded}
	root, err := s.holdRoot()
	switch {
	case errors.Is(err, ErrEnded):
		return ended
	case err != nil:
		return &OpError{Index: -1, Op: op, Err: err}
	}
	defer root.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Not when the last of it has gone: somebody waits for that.
	defer context.AfterFunc(s.keeper.life, func() { cancel(ended) })()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	err = call(ctx, root)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

// holdRoot returns a descriptor of its own of the root: the sandbox may end at any time.
func (s *Sandbox) holdRoot() (*os.File, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.joins == nil || s.over() {
		return nil, ErrEnded
	}
	fd, err := unix.FcntlInt(s.root.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), "the sandbox's root"), nil
}
