package filetree

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Options says how much is read and in which form.
type Options struct {
	// MaxBytes is how much is read, of all files together; a hole in a file counts as what it reads as.
	MaxBytes int64
	// MaxFiles is how many files, directories and links are looked at.
	MaxFiles int
	// Symlinks keeps symbolic links, as links. Without it one is an ErrKind.
	Symlinks bool
	// UID and GID give an archive the number of an owner; nil is 0.
	UID, GID func(id uint32) int
	// As is with whose rights files are opened, if the caller has more than an ordinary user; nil is with
	// the caller's.
	As *User
}

// Tree is a file, or a directory with what is below it. Its methods may be called one after another, and
// share one budget.
type Tree struct {
	ctx  context.Context
	o    Options
	top  node
	name string
	user *actor
	left budget
}

// Open finds the file or directory at path, below the directory that root is open on. The path is taken as
// if that were the root of all.
func Open(ctx context.Context, root int, name string, o Options) (*Tree, error) {
	user, err := act(o.As)
	if err != nil {
		return nil, err
	}
	t := &Tree{ctx: ctx, o: o, name: path.Base(path.Clean("/" + name)), user: user}
	t.left.bytes.Store(o.MaxBytes)
	t.left.files.Store(int64(o.MaxFiles))
	user.do(func() { t.top, err = find(root, name) })
	if err == nil {
		err = t.top.usable(o.Symlinks)
	}
	if err != nil {
		t.Close()
		return nil, &PartError{Path: ".", Err: err}
	}
	return t, nil
}

// Close lets go of the tree.
func (t *Tree) Close() {
	t.top.close()
	t.user.close()
}

// IsDir reports whether the tree is a directory.
func (t *Tree) IsDir() bool { return t.top.isDir() }

// Copy writes the one regular file that the tree must be to w.
func (t *Tree) Copy(w io.Writer) error {
	err := t.left.file()
	switch {
	case err != nil:
	case t.top.isDir():
		err = unix.EISDIR
	case !t.top.isRegular():
		err = ErrKind
	case t.top.stat.Size > t.left.bytes.Load():
		err = t.left.exceeded()
	}
	var f *os.File
	if err == nil {
		f, err = t.openNode(&t.top)
	}
	if err != nil {
		return &PartError{Path: ".", Err: err}
	}
	defer f.Close()
	r := &reader{ctx: t.ctx, left: &t.left, f: f}
	_, err = io.Copy(onlyWriter{w}, r)
	if r.err != nil {
		return &PartError{Path: ".", Err: r.err}
	}
	return err
}

// onlyWriter hides what else a Writer can do: everything that is read must be counted.
type onlyWriter struct{ io.Writer }

// at finds what name is below the top. It is not known to be usable.
func (t *Tree) at(name string) (node, error) {
	if err := context.Cause(t.ctx); err != nil {
		return node{fd: -1}, err
	}
	var n node
	var err error
	t.user.do(func() { n, err = find(t.top.fd, name) })
	return n, err
}

func (t *Tree) openNode(n *node) (*os.File, error) {
	var f *os.File
	var err error
	t.user.do(func() { f, err = n.open() })
	return f, err
}

// list returns the names in a directory, sorted.
func (t *Tree) list(n *node) ([]string, error) {
	f, err := t.openNode(n)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []string
	for {
		const some = 256 // a directory may hold more names than there is memory
		names, err := f.Readdirnames(some)
		for range names {
			if err := t.left.file(); err != nil {
				return nil, err
			}
		}
		all = append(all, names...)
		if errors.Is(err, io.EOF) {
			slices.Sort(all)
			return all, nil
		}
		if err == nil {
			err = context.Cause(t.ctx)
		}
		if err != nil {
			return nil, err
		}
	}
}

// walk visits what is below a directory, itself not included, in the order of names. What visit does with
// a node ends with it. An error that concerns one entry alone is a problem, and the walk goes on; any other
// ends it.
func (t *Tree) walk(dir *node, name string, p *problems, visit func(name string, n *node) error) error {
	names, err := t.list(dir)
	if err != nil {
		return t.part(p, name, err)
	}
	for _, entry := range names {
		if err := t.step(path.Join(name, entry), p, visit); err != nil {
			return err
		}
	}
	return nil
}

func (t *Tree) step(name string, p *problems, visit func(name string, n *node) error) error {
	n, err := t.at(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed since its directory was read
	}
	if err == nil {
		defer n.close()
		if err = n.usable(t.o.Symlinks); err == nil && strings.Count(name, "/") >= MaxDepth {
			err = limit("more than %d directories deep", MaxDepth)
			p.add(&PartError{Path: name, Err: err})
			return nil
		}
	}
	if err == nil {
		err = visit(name, &n)
	}
	if err != nil {
		return t.part(p, name, err)
	}
	if n.isDir() {
		return t.walk(&n, name, p, visit)
	}
	return nil
}

// part returns an error that ends the walk, and notes one that concerns a part of the tree alone.
func (t *Tree) part(p *problems, name string, err error) error {
	var fatal *fatalError
	if errors.As(err, &fatal) {
		return fatal.error
	}
	ends := errors.Is(err, ErrLimit) || t.ctx.Err() != nil
	err = &PartError{Path: name, Err: err}
	if ends {
		return err
	}
	p.add(err)
	return nil
}

// fatalError ends a walk.
type fatalError struct{ error }

// budget is what may still be read.
type budget struct{ bytes, files atomic.Int64 }

// file takes one file.
func (b *budget) file() error {
	if b.files.Add(-1) < 0 {
		return limit("more files than the limit")
	}
	return nil
}

func (b *budget) exceeded() error { return limit("more bytes than the limit") }

// take returns how many of n bytes may be read, and takes them.
func (b *budget) take(n int) int {
	for {
		left := b.bytes.Load()
		got := min(int64(n), left)
		if got <= 0 || b.bytes.CompareAndSwap(left, left-got) {
			return int(max(got, 0))
		}
	}
}

// reader reads a file within the budget.
type reader struct {
	ctx  context.Context
	left *budget
	f    io.Reader
	err  error // what reading failed with; nil at the end of the file
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = cause(err)
		r.err = err
	}
	return n, err
}

// cause returns what is in an error of an *os.File, whose name says nothing here.
func cause(err error) error {
	var inner *fs.PathError
	if errors.As(err, &inner) {
		return inner.Err
	}
	return err
}

func (r *reader) read(p []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	if len(p) == 0 {
		return 0, nil
	}
	room := r.left.take(len(p))
	if room == 0 {
		// Whether this is the end of the file or of the budget can only be told by reading.
		var one [1]byte
		n, err := r.f.Read(one[:])
		if n > 0 {
			return 0, r.left.exceeded()
		}
		return 0, err
	}
	n, err := r.f.Read(p[:room])
	r.left.bytes.Add(int64(room - max(n, 0)))
	return n, err
}
