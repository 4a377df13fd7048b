package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"golang.org/x/sys/unix"
)

// Facts about every kind of lure in a root tree of an attacker's, met by everything that takes a path inside: the
// host beside the tree is as it was, and nothing of it is inside.

// baited is a tree of an attacker's and what lies beside it on the host.
type baited struct {
	root, canary string
	contents     string // of the files of the canary
	before       string
}

// newBaited makes a tree with "L" in it, which lure makes, and with a decoy, if it has one: the place inside that
// the links would lead to if / were the tree's.
func newBaited(t *testing.T, l lure, decoy bool) *baited {
	t.Helper()
	a := &baited{contents: fmt.Sprintf("canary of %s %d", t.Name(), os.Getpid())}
	top := t.TempDir()
	a.root, a.canary = filepath.Join(top, "root"), filepath.Join(top, "canary")
	if err := os.Rename(tree(t), a.root); err != nil {
		t.Fatal(err)
	}
	a.fill(t, a.canary, a.contents)
	if decoy {
		a.fill(t, filepath.Join(a.root, a.canary), "decoy")
		a.fill(t, filepath.Join(a.root, "canary"), "decoy") // of a relative link
	}
	if err := l.make(a, filepath.Join(a.root, "L")); err != nil {
		t.Fatal(err)
	}
	a.before = a.snapshot(t)
	return a
}

func (a *baited) fill(t *testing.T, dir, contents string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"secret", "x/secret"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(contents), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// snapshot is all that can be told of the canary, and what it is mounted on.
func (a *baited) snapshot(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	if err := filepath.WalkDir(a.canary, func(p string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil {
			err = unix.Lstat(p, &st)
		}
		data, _ := os.ReadFile(p)
		fmt.Fprintf(&b, "%s %d:%d %o %d %v %q\n", p, st.Dev, st.Ino, st.Mode, st.Size, st.Mtim, data)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	fmt.Fprintf(&b, "%d mounts", bytes.Count(mounts, []byte(a.canary)))
	return b.String()
}

// untouched checks that nothing came of it outside.
func (a *baited) untouched(t *testing.T) {
	t.Helper()
	if now := a.snapshot(t); now != a.before {
		t.Errorf("the host has changed:\n%s\nwas\n%s", now, a.before)
	}
}

// lure is what an attacker puts where a directory is looked for. The errors are what comes of it without a decoy,
// for those who follow links inside and for those who follow none; nil is success.
type lure struct {
	name           string
	make           func(a *baited, p string) error
	follow, refuse error
	decoys         bool // it leads to the decoy, if there is one
}

func lures() []lure {
	to := func(target func(a *baited) string) func(*baited, string) error {
		return func(a *baited, p string) error { return os.Symlink(target(a), p) }
	}
	fixed := func(target string) func(*baited, string) error {
		return to(func(*baited) string { return target })
	}
	return []lure{
		{"relative link", fixed("../canary"), syscall.ENOENT, ErrNotCollected, true},
		{"absolute link", to(func(a *baited) string { return a.canary }), syscall.ENOENT, ErrNotCollected, true},
		{"link with many dots", to(func(a *baited) string { return strings.Repeat("../", 40) + a.canary[1:] }), syscall.ENOENT, ErrNotCollected, true},
		// The kernel takes 40, and counts those of an attempt that it has given up too: there are three.
		{"chain of links", func(a *baited, p string) error { return chain(p, 12, a.canary) }, syscall.ENOENT, ErrNotCollected, true},
		{"chain of too many links", func(a *baited, p string) error { return chain(p, 41, a.canary) }, syscall.ELOOP, ErrNotCollected, false},
		{"link with a newline", func(a *baited, p string) error {
			if err := os.Symlink(a.canary, filepath.Join(a.root, "a\nb")); err != nil {
				return err
			}
			return os.Symlink("a\nb", p)
		}, syscall.ENOENT, ErrNotCollected, true},
		{"link to the root of a process", to(func(a *baited) string { return "/proc/self/root" + a.canary }), syscall.ELOOP, ErrNotCollected, false},
		{"link to PID 1's root", to(func(a *baited) string { return "/proc/1/root" + a.canary }), syscall.ELOOP, ErrNotCollected, false},
		{"link to an open directory", fixed("/proc/self/fd/0"), syscall.ELOOP, ErrNotCollected, false}, // see attack.do
		{"link to standard input", fixed("/dev/stdin"), syscall.ELOOP, ErrNotCollected, false},
		{"link to the working directory", fixed("/proc/self/cwd"), syscall.ELOOP, ErrNotCollected, false},
		{"loop", fixed("L"), syscall.ELOOP, ErrNotCollected, false},
		{"link that leads nowhere", fixed("/no/such/place"), syscall.ENOENT, ErrNotCollected, false},
		{"link to a device", fixed("/dev/null"), syscall.ENOTDIR, ErrNotCollected, false},
		{"link to a fifo", func(a *baited, p string) error {
			if err := unix.Mkfifo(filepath.Join(a.root, "fifo"), 0o666); err != nil {
				return err
			}
			return os.Symlink("fifo", p)
		}, syscall.ENOTDIR, ErrNotCollected, false},
		{"fifo", func(_ *baited, p string) error { return unix.Mkfifo(p, 0o666) }, syscall.ENOTDIR, syscall.ENOTDIR, false},
		{"file", func(_ *baited, p string) error { return os.WriteFile(p, nil, 0o666) }, syscall.ENOTDIR, syscall.ENOTDIR, false},
		{"directory", func(_ *baited, p string) error { // the control: whatever fails below does so for the lure
			if err := os.MkdirAll(filepath.Join(p, "x"), 0o755); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(p, "secret"), []byte("decoy"), 0o755)
		}, nil, nil, false},
	}
}

// chain makes links of which each leads to the next.
func chain(p string, n int, target string) error {
	for i := range n - 1 {
		next := filepath.Base(p) + strconv.Itoa(i)
		if err := os.Symlink(next, p); err != nil {
			return err
		}
		p = filepath.Join(filepath.Dir(p), next)
	}
	return os.Symlink(target, p)
}

// attack is something that takes a path inside.
type attack struct {
	name    string
	follows bool // links, inside
	change  func(s *Spec, out *bytes.Buffer)
	copies  func(s *Sandbox, out *bytes.Buffer) error // of a sandbox that lives
}

func attacks(source string) []attack {
	mount := func(m Mount) func(*Spec, *bytes.Buffer) {
		return func(s *Spec, _ *bytes.Buffer) { s.Mounts = append(s.Mounts, m) }
	}
	collect := func(c Collect) func(*Spec, *bytes.Buffer) {
		return func(s *Spec, out *bytes.Buffer) { s.Collect = []Collect{taking(c, out)} }
	}
	return []attack{
		{"Bind", true, mount(Mount{Source: source, Target: "/L/x", Writable: true}), nil},
		{"Bind of a file", true, mount(Mount{Source: source + "/file", Target: "/L/f"}), nil},
		{"Bind that makes directories", true, mount(Mount{Source: source, Target: "/L/a/b"}), nil},
		{"Bind on it", true, mount(Mount{Source: source, Target: "/L"}), nil},
		{"File", true, mount(Mount{Type: File, Target: "/L/f", Data: []byte("data")}), nil},
		{"File on a file", true, mount(Mount{Type: File, Target: "/L/secret", Data: []byte("data"), Writable: true}), nil},
		{"Tmpfs", true, mount(Mount{Type: Tmpfs, Target: "/L/t"}), nil},
		{"Proc", true, mount(Mount{Type: Proc, Target: "/L/x"}), nil},
		{"Mqueue", true, mount(Mount{Type: Mqueue, Target: "/L/x"}), nil},
		{"Devpts", true, mount(Mount{Type: Devpts, Target: "/L/x"}), nil},
		{"Dir", true, func(s *Spec, _ *bytes.Buffer) { s.Dir = "/L/x" }, nil},
		{"Collect of a file", false, collect(Collect{Path: "/L/secret"}), nil},
		{"Collect of a tree", false, collect(Collect{Path: "/L/x", Symlinks: true}), nil},
		{"CopyOut", false, nil, func(s *Sandbox, out *bytes.Buffer) error {
			return s.CopyOut(context.Background(), taking(Collect{Path: "/L/secret"}, out))
		}},
		{"CopyOut of a tree", false, nil, func(s *Sandbox, out *bytes.Buffer) error {
			return s.CopyOut(context.Background(), taking(Collect{Path: "/L/x", Symlinks: true}, out))
		}},
		{"CopyIn", false, nil, func(s *Sandbox, _ *bytes.Buffer) error {
			return s.CopyIn(context.Background(), "/L", fstest.MapFS{"f": {Data: []byte("data"), Mode: 0o644}, "x/f": {}}, CopyOptions{Overwrite: true})
		}},
		{"Dir of a command that joins", true, nil, func(s *Sandbox, _ *bytes.Buffer) error {
			r, err := s.Run(context.Background(), Spec{Args: []string{"true"}, Dir: "/L/x"})
			return errors.Join(err, r.errUnlessNil())
		}},
	}
}

// errUnlessNil is Err of a Result that may be missing.
func (r *Result) errUnlessNil() error {
	if r == nil {
		return nil
	}
	return r.Err()
}

// taking lets a Collect write to out: a tree as an archive.
func taking(c Collect, out *bytes.Buffer) Collect {
	if c.Symlinks {
		c.Tar = out
	} else {
		c.File = out
	}
	return c
}

// do makes the attack on a tree, and returns what came out of the sandbox and what of it. A quiet command goes
// nowhere itself.
func (k attack) do(t *testing.T, a *baited, quiet bool) (string, error) {
	t.Helper()
	var out bytes.Buffer
	var spec Spec
	inTree(a.root)(&spec)
	spec.Root.Writable = true
	spec.Args, spec.Stdout = []string{"sh", "-c", "cat secret L/secret L/x/secret /L/secret /L/x/secret 2>/dev/null; echo more >>L/f 2>/dev/null; cat /proc/self/mountinfo; exit 0"}, &out
	if quiet {
		spec.Args = []string{"cat", "/proc/self/mountinfo"}
	}
	stdin, err := os.Open(a.canary) // a hole, which no link may lead through
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if k.copies != nil {
		spec.Args, spec.Stdout = nil, nil
		s, err := New(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		err = k.copies(s, &out)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		return out.String(), err
	}
	k.change(&spec, &out)
	if len(spec.Collect) > 0 {
		spec.Args, spec.Stdout = []string{"true"}, nil
	}
	spec.Stdin = stdin
	r, err := Run(t.Context(), spec)
	return out.String(), errors.Join(err, r.errUnlessNil())
}
