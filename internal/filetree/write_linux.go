package filetree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Input says what may be written.
type Input struct {
	// MaxBytes is how much is written, of all files together; MaxFiles how many files and directories.
	MaxBytes int64
	MaxFiles int
	// Overwrite removes what is in the place of a file, and is no directory. It is never written to: it may
	// be a link, or have other names.
	Overwrite bool
	// Symlinks makes the symbolic links of the source, as links. Without it one is an ErrKind.
	Symlinks bool
	// As is who files are made by, as in Options.
	As *User
}

// Write makes the directories and files of src in the directory dst below root, which is made, with those
// above it, if it is not there. Modes are those of src, without setuid, setgid and sticky bits; the owner of
// a directory may do everything in it. The first error ends it, and what was made until then stays.
func Write(ctx context.Context, root int, dst string, src fs.FS, in Input) error {
	user, err := act(in.As)
	if err != nil {
		return err
	}
	defer user.close()
	w := &writer{ctx: ctx, in: in, src: src, user: user}
	w.left.bytes.Store(in.MaxBytes)
	w.left.files.Store(int64(in.MaxFiles))
	var top node
	user.do(func() { top, err = w.descend(root, dst) })
	if err != nil {
		return &PartError{Path: ".", Err: err}
	}
	defer top.close()
	return w.fill(&top, ".")
}

// writer writes one source.
type writer struct {
	ctx  context.Context
	in   Input
	src  fs.FS
	user *actor
	left budget
}

// descend finds a directory, and makes what is missing of it.
func (w *writer) descend(root int, dst string) (node, error) {
	at, err := find(root, ".")
	for name := range strings.SplitSeq(strings.TrimPrefix(path.Clean("/"+dst), "/"), "/") {
		if err != nil || name == "" {
			break
		}
		var below node
		below, _, err = enter(&at, name, 0o755)
		at.close()
		at = below
	}
	if err == nil {
		err = at.real()
	}
	if err != nil {
		at.close()
	}
	return at, err
}

// enter finds the directory with a name in another one, or makes it.
func enter(dir *node, name string, mode uint32) (n node, made bool, err error) {
	n, err = find(dir.fd, name)
	if errors.Is(err, fs.ErrNotExist) {
		if err = dir.real(); err != nil {
			return n, false, err
		}
		err = unix.Mkdirat(dir.fd, name, mode)
		made = err == nil
		if err == nil || errors.Is(err, fs.ErrExist) {
			n, err = find(dir.fd, name)
		}
	}
	if err == nil {
		if err = n.usable(false); err == nil && !n.isDir() {
			err = unix.ENOTDIR
		}
	}
	if err != nil {
		n.close()
	}
	return n, made, err
}

// fill makes what the directory name of the source holds, in dir.
func (w *writer) fill(dir *node, name string) error {
	if strings.Count(name, "/") >= MaxDepth {
		return &PartError{Path: name, Err: limit("more than %d directories deep", MaxDepth)}
	}
	entries, err := fs.ReadDir(w.src, name)
	if err != nil {
		return fmt.Errorf("read the source: %w", err)
	}
	for _, entry := range entries {
		if err := w.add(dir, path.Join(name, entry.Name()), entry); err != nil {
			return err
		}
	}
	return nil
}

// add makes one entry. The errors of the source come as they are.
func (w *writer) add(dir *node, name string, entry fs.DirEntry) error {
	err := context.Cause(w.ctx)
	if base := entry.Name(); err == nil && (!fs.ValidPath(base) || base == "." || strings.Contains(base, "/")) {
		err = fs.ErrInvalid
	}
	if err == nil {
		err = w.left.file()
	}
	if err != nil {
		return &PartError{Path: name, Err: err}
	}
	switch {
	case entry.IsDir():
		return w.addDir(dir, name, entry)
	case entry.Type().IsRegular():
		return w.addFile(dir, name)
	case entry.Type() == fs.ModeSymlink && w.in.Symlinks:
		target, err := fs.ReadLink(w.src, name)
		if err != nil {
			return fmt.Errorf("read the source: %w", err)
		}
		return w.place(name, dir, func(fd int, base string) error { return unix.Symlinkat(target, fd, base) })
	}
	return &PartError{Path: name, Err: &caseOf{ErrKind, "the source is no file, directory or link that is asked for"}}
}

func (w *writer) addDir(dir *node, name string, entry fs.DirEntry) error {
	info, err := entry.Info()
	if err != nil {
		return fmt.Errorf("read the source: %w", err)
	}
	var n node
	var made bool
	w.user.do(func() { n, made, err = enter(dir, path.Base(name), 0o700) })
	if err != nil {
		return &PartError{Path: name, Err: err}
	}
	defer n.close()
	if err := w.fill(&n, name); err != nil || !made {
		return err
	}
	// An embed.FS says that its directories may not be written, of which nobody could get rid inside.
	const owner = 0o700
	w.user.do(func() {
		var f *os.File
		if f, err = n.open(); err == nil {
			err = unix.Fchmod(int(f.Fd()), uint32(info.Mode().Perm()|owner))
			f.Close()
		}
	})
	if err != nil {
		return &PartError{Path: name, Err: err}
	}
	return nil
}

// place makes something new under a name.
func (w *writer) place(name string, dir *node, create func(fd int, base string) error) error {
	var err error
	w.user.do(func() {
		base := path.Base(name)
		if err = dir.real(); err != nil {
			return
		}
		for range attempts { // somebody may put something there again and again
			if err = create(dir.fd, base); !errors.Is(err, fs.ErrExist) || !w.in.Overwrite {
				return
			}
			if gone := unix.Unlinkat(dir.fd, base, 0); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
				err = gone
				return
			}
		}
	})
	if err != nil {
		return &PartError{Path: name, Err: err}
	}
	return nil
}

func (w *writer) addFile(dir *node, name string) error {
	from, err := w.src.Open(name)
	if err != nil {
		return fmt.Errorf("read the source: %w", err)
	}
	defer from.Close()
	info, err := from.Stat()
	if err != nil {
		return fmt.Errorf("read the source: %w", err)
	}
	var to *os.File
	if err := w.place(name, dir, func(fd int, base string) error {
		// O_EXCL follows no link, and opens nothing that is there.
		opened, err := unix.Openat(fd, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		if err == nil {
			to = os.NewFile(uintptr(opened), name)
		}
		return err
	}); err != nil {
		return err
	}
	r := &reader{ctx: w.ctx, left: &w.left, f: from}
	_, err = io.Copy(to, onlyReader{r})
	if err == nil {
		err = to.Chmod(info.Mode().Perm())
	}
	if closeErr := to.Close(); err == nil {
		err = closeErr
	}
	switch {
	case r.err != nil && !errors.Is(r.err, ErrLimit) && context.Cause(w.ctx) == nil:
		return fmt.Errorf("read the source: %w", r.err)
	case err != nil:
		return &PartError{Path: name, Err: cause(err)}
	}
	return nil
}

// onlyReader hides what else a Reader can do: everything that is written must be counted.
type onlyReader struct{ io.Reader }
