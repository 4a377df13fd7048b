package filetree

import (
	"archive/tar"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Tar writes the tree to w as an archive: of a directory what is below it, of a file that file. Modes lose
// their setuid, setgid and sticky bits, and hard links are files of their own.
//
// What cannot be read is left out and told. Where a limit is reached the archive ends, and is whole as far
// as it goes; a file that changes its size while it is read, and a w that fails, break it off.
func (t *Tree) Tar(w io.Writer) error {
	a := &archive{t: t, w: tar.NewWriter(w)}
	var p problems
	var err error
	if t.top.isDir() {
		err = t.walk(&t.top, ".", &p, a.add)
	} else if err = t.left.file(); err == nil {
		err = a.add(".", &t.top)
	}
	if err != nil && !t.top.isDir() {
		err = t.part(&p, ".", err)
	}
	// Within a file this fails, since bytes are missing, and leaves the archive without its end.
	if closeErr := a.w.Close(); err == nil {
		err = closeErr
	}
	return p.join(err)
}

// archive is an archive in the making.
type archive struct {
	t *Tree
	w *tar.Writer
}

// add adds one entry.
func (a *archive) add(name string, n *node) error {
	if name == "." {
		name = a.t.name
	}
	i := n.info(name)
	h := &tar.Header{Name: name, Mode: int64(i.mode.Perm()), ModTime: i.time}
	if a.t.o.UID != nil {
		h.Uid = a.t.o.UID(n.stat.Uid)
	}
	if a.t.o.GID != nil {
		h.Gid = a.t.o.GID(n.stat.Gid)
	}
	var f *os.File
	var err error
	switch n.kind() {
	case unix.S_IFDIR:
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
	case unix.S_IFLNK:
		h.Typeflag = tar.TypeSymlink
		if h.Linkname, err = n.link(); err != nil {
			return err
		}
	case unix.S_IFREG:
		h.Typeflag = tar.TypeReg
		if f, err = a.t.openNode(n); err != nil {
			return err
		}
		defer f.Close()
		// The size of this moment: it may have changed since the file was found.
		var s unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &s); err != nil {
			return err
		}
		if h.Size = s.Size; h.Size > a.t.left.bytes.Load() {
			return a.t.left.exceeded()
		}
	default:
		return ErrKind
	}
	if err := a.w.WriteHeader(h); err != nil {
		return &fatalError{fmt.Errorf("write the archive: %w", err)}
	}
	if f == nil {
		return nil
	}
	r := &reader{ctx: a.t.ctx, left: &a.t.left, f: f}
	copied, err := io.Copy(onlyWriter{a.w}, io.LimitReader(r, h.Size))
	switch {
	case r.err != nil:
		return &fatalError{&PartError{Path: name, Err: r.err}}
	case err != nil:
		return &fatalError{err}
	case copied < h.Size:
		return &fatalError{&PartError{Path: name, Err: ErrChanged}}
	}
	return nil
}
