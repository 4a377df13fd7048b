package filetree

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"

	"golang.org/x/sys/unix"
)

// FS calls use with the directory that the tree must be. What use was given is of no use once it returns:
// files that it left open are closed, and the error is fs.ErrClosed.
//
// Entries of every kind are listed; only regular files and directories can be opened. Whatever is looked at
// or read twice counts twice.
func (t *Tree) FS(use func(fs.FS) error) error {
	if !t.top.isDir() {
		return &PartError{Path: ".", Err: unix.ENOTDIR}
	}
	v := &view{t: t, open: map[*file]bool{}}
	defer v.close()
	return use(v)
}

// view is a tree as an fs.FS. Its methods may be called at the same time.
type view struct {
	t *Tree

	mu     sync.Mutex
	open   map[*file]bool // that may still be read
	closed bool
}

var (
	_ fs.ReadDirFS  = (*view)(nil)
	_ fs.StatFS     = (*view)(nil)
	_ fs.ReadLinkFS = (*view)(nil)
)

func (v *view) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	for f := range v.open {
		f.file.Close()
	}
	v.open = nil
}

// do calls with what name is. No call outlives the view.
func (v *view) do(op, name string, call func(n *node) error) error {
	if !fs.ValidPath(name) {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	err := fs.ErrClosed
	if !v.closed {
		err = v.t.left.file()
	}
	var n node
	if err == nil {
		n, err = v.t.at(name)
	}
	if err == nil {
		err = call(&n)
		n.close()
	}
	if err != nil {
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}

func (v *view) Open(name string) (fs.File, error) {
	var opened fs.File
	err := v.do("open", name, func(n *node) error {
		if err := n.usable(false); err != nil {
			return err
		}
		i := n.info(path.Base(name))
		if n.isDir() {
			opened = &directory{v: v, name: name, info: i}
			return nil
		}
		o, err := v.t.openNode(n)
		if err != nil {
			return err
		}
		f := &file{reader: reader{ctx: v.t.ctx, left: &v.t.left, f: o}, v: v, file: o, info: i, name: name}
		v.open[f] = true
		opened = f
		return nil
	})
	return opened, err
}

// Stat does not follow links, as nothing here does.
func (v *view) Stat(name string) (fs.FileInfo, error) {
	return v.stat(name, func(n *node) error {
		if n.isLink() {
			return n.usable(false)
		}
		return nil
	})
}

func (v *view) Lstat(name string) (fs.FileInfo, error) {
	return v.stat(name, func(*node) error { return nil })
}

func (v *view) stat(name string, check func(*node) error) (fs.FileInfo, error) {
	var i *info
	err := v.do("stat", name, func(n *node) error {
		i = n.info(path.Base(name))
		return check(n)
	})
	if err != nil {
		return nil, err
	}
	return i, nil
}

// ReadLink returns the target of a link, if links are asked for: whoever copies a tree with its links must
// want to.
func (v *view) ReadLink(name string) (string, error) {
	var target string
	err := v.do("readlink", name, func(n *node) error {
		if !n.isLink() {
			return fs.ErrInvalid
		}
		err := n.usable(v.t.o.Symlinks)
		if err == nil {
			target, err = n.link()
		}
		return err
	})
	return target, err
}

func (v *view) ReadDir(name string) ([]fs.DirEntry, error) {
	var entries []fs.DirEntry
	err := v.do("open", name, func(n *node) error {
		if err := n.usable(false); err != nil {
			return err
		}
		if !n.isDir() {
			return unix.ENOTDIR
		}
		names, err := v.t.list(n)
		for _, entry := range names {
			child, err := v.t.at(path.Join(name, entry))
			if errors.Is(err, fs.ErrNotExist) {
				continue // removed since
			}
			if err != nil {
				return err
			}
			entries = append(entries, fs.FileInfoToDirEntry(child.info(entry)))
			child.close()
		}
		return err
	})
	return entries, err
}

// file is a regular file.
type file struct {
	reader
	v    *view
	file *os.File
	info *info
	name string
}

func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }

func (f *file) Read(p []byte) (int, error) {
	n, err := f.reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &fs.PathError{Op: "read", Path: f.name, Err: err}
	}
	return n, err
}

// Seek is as of an io.Seeker. What is read again counts again.
func (f *file) Seek(offset int64, whence int) (int64, error) {
	at, err := f.file.Seek(offset, whence)
	if err != nil {
		err = &fs.PathError{Op: "seek", Path: f.name, Err: cause(err)}
	}
	return at, err
}

func (f *file) Close() error {
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	delete(f.v.open, f)
	if err := f.file.Close(); err != nil {
		return &fs.PathError{Op: "close", Path: f.name, Err: cause(err)}
	}
	return nil
}

// directory is a directory whose entries are read when they are asked for.
type directory struct {
	v    *view
	name string
	info *info

	read    bool
	entries []fs.DirEntry
}

func (d *directory) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *directory) Close() error               { return nil }

func (d *directory) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: unix.EISDIR}
}

func (d *directory) ReadDir(n int) ([]fs.DirEntry, error) {
	if !d.read {
		entries, err := d.v.ReadDir(d.name)
		if err != nil {
			return nil, err
		}
		d.read, d.entries = true, entries
	}
	some := d.entries
	if n > 0 {
		if len(some) == 0 {
			return nil, io.EOF
		}
		some = some[:min(n, len(some))]
	}
	d.entries = d.entries[len(some):]
	return some, nil
}
