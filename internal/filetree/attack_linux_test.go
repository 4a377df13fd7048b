package filetree

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const secret = "a secret of the host"

// box is a tree that hostile code writes, and what lies outside of it.
type box struct {
	dir     string // the root that paths start from
	root    int
	outside string // a directory of the host, with the file "secret"
}

func newBox(t *testing.T) *box {
	t.Helper()
	top := t.TempDir()
	b := &box{dir: filepath.Join(top, "box"), outside: filepath.Join(top, "host")}
	for _, dir := range []string{b.dir, b.outside, filepath.Join(b.dir, "out"), filepath.Join(b.dir, "out", "dir")} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{filepath.Join(b.outside, "secret"), filepath.Join(b.outside, "file")} {
		if err := os.WriteFile(name, []byte(secret), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b.write(t, "out/file", "mine")
	b.write(t, "out/dir/file", "mine")
	fd, err := unix.Open(b.dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	b.root = fd
	t.Cleanup(func() { unix.Close(fd) })
	return b
}

func (b *box) path(name string) string { return filepath.Join(b.dir, name) }

func (b *box) write(t *testing.T, name, contents string) {
	t.Helper()
	if err := os.WriteFile(b.path(name), []byte(contents), 0o644); err != nil {
		t.Fatal(err)
	}
}

// open opens a tree that is closed at the end of the test.
func (b *box) open(t *testing.T, path string, o Options) (*Tree, error) {
	t.Helper()
	tr, err := Open(t.Context(), b.root, path, o)
	if err == nil {
		t.Cleanup(tr.Close)
	}
	return tr, err
}

// lures are what hostile code puts in the place of the file and of the directory.
func (b *box) lures() []func() {
	file, dir, aside := b.path("out/file"), b.path("out/dir"), b.path("aside")
	put := func(name string, made func(temporary string) error) {
		temporary := name + ".new"
		os.Remove(temporary)
		if made(temporary) == nil {
			_ = os.Rename(temporary, name) // a directory may be in the way
		}
	}
	link := func(target string) func(string) error {
		return func(temporary string) error { return os.Symlink(target, temporary) }
	}
	swap := func(target string) {
		if os.Rename(dir, aside) == nil {
			_ = os.Symlink(target, dir)
			time.Sleep(50 * time.Microsecond) // so that somebody meets it
			os.Remove(dir)
			_ = os.Rename(aside, dir)
		}
	}
	return []func(){
		func() { put(file, func(n string) error { return os.WriteFile(n, []byte("mine"), 0o644) }) },
		func() { put(file, link(filepath.Join(b.outside, "secret"))) },
		func() { put(file, link("../../host/secret")) },
		func() { put(file, link("/proc/self/root"+filepath.Join(b.outside, "secret"))) },
		func() { put(file, func(n string) error { return unix.Mkfifo(n, 0o644) }) },
		func() { put(file, func(n string) error { return os.Link(b.path("out/dir/file"), n) }) },
		func() { swap(b.outside) },
		func() { swap("../../host") },
		func() { put(b.path("out/dir/file"), link("../../../host/secret")) },
		func() {
			// A lease makes whoever opens the file without O_NONBLOCK wait for 45 s.
			if fd, err := unix.Open(file, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err == nil {
				_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_WRLCK)
				unix.Close(fd)
			}
		},
	}
}

// swapping runs the lures until the function that it returns is called.
func (b *box) swapping() (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	lures := b.lures()
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
				lures[i*7%len(lures)]()
			}
		}
	}()
	return func() { close(done); <-ended }
}

// raceFor is how long a race lasts that no side may win.
const raceFor = time.Second

// maxRace is how long a slow host has to show that somebody swaps at all.
const maxRace = 30 * time.Second

func TestNoSwapLeadsOutOfTheTree(t *testing.T) {
	b := newBox(t)
	stop := b.swapping()
	defer stop()
	n, fooled := 0, 0
	for start := time.Now(); time.Since(start) < raceFor || fooled == 0 && time.Since(start) < maxRace; n++ {
		var out bytes.Buffer
		// Errors are allowed: the tree changes under the reader.
		if tr, err := Open(t.Context(), b.root, "out/file", Options{MaxBytes: 1 << 20, MaxFiles: 100}); err == nil {
			_ = tr.Copy(&out)
			tr.Close()
		}
		if tr, err := Open(t.Context(), b.root, "out/dir/file", Options{MaxBytes: 1 << 20, MaxFiles: 100}); err == nil {
			_ = tr.Copy(&out)
			tr.Close()
		}
		if tr, err := Open(t.Context(), b.root, "out", Options{MaxBytes: 1 << 20, MaxFiles: 100, Symlinks: n%2 == 0}); err == nil {
			_ = tr.Tar(&out)
			_ = tr.FS(func(fsys fs.FS) error {
				return fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
					if err == nil && !d.IsDir() {
						data, _ := fs.ReadFile(fsys, p)
						out.Write(data)
					}
					return nil
				})
			})
			tr.Close()
		}
		if strings.Contains(out.String(), secret) {
			t.Fatalf("round %d holds what is outside", n)
		}
		// The control: the same tree, read as everybody does.
		for _, name := range []string{"out/file", "out/dir/file"} {
			if info, err := os.Stat(b.path(name)); err == nil && info.Mode().IsRegular() && naive(b.path(name)) == secret {
				fooled++
			}
		}
	}
	if fooled == 0 {
		t.Errorf("%d rounds, of which a naive reader was fooled in %d: this proves nothing", n, fooled)
	}
}

// What was looked at is read, whatever has its name by then: the moment that a swapper waits for, and one that
// no test of a race need meet. Where a file is opened by its name it is the host's.
func TestWhatWasLookedAtIsRead(t *testing.T) {
	b := newBox(t)
	for _, name := range []string{"out/file", "out/dir/file"} {
		tr, err := b.open(t, name, Options{MaxBytes: 100, MaxFiles: 1})
		if err != nil {
			t.Fatal(err)
		}
		if name == "out/file" {
			err = errors.Join(os.Remove(b.path(name)), os.Symlink(filepath.Join(b.outside, "secret"), b.path(name)))
		} else {
			err = errors.Join(os.Rename(b.path("out/dir"), b.path("aside")), os.Symlink(b.outside, b.path("out/dir")))
		}
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := tr.Copy(&out); err != nil || out.String() != "mine" {
			t.Errorf("%s: %q, %v, want what was there", name, &out, err)
		}
		if got := naive(b.path(name)); got != secret { // the control
			t.Errorf("%s: a naive reader gets %q: this proves nothing", name, got)
		}
	}
}

// naive reads a file by its path, but never waits for a fifo.
func naive(name string) string {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return ""
	}
	defer f.Close()
	var buf [64]byte
	n, _ := f.Read(buf[:])
	return string(buf[:n])
}

func TestPathsStayBelowTheRoot(t *testing.T) {
	b := newBox(t)
	for name, target := range map[string]string{
		"abs": filepath.Join(b.outside, "secret"), "rel": "../host/secret", "dirabs": b.outside, "loop": "loop", "self": "out/file",
	} {
		if err := os.Symlink(target, b.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]error{
		"abs": ErrKind, "rel": ErrKind, "dirabs/secret": ErrKind, "loop": ErrKind, "loop/x": ErrKind, "self": ErrKind,
		"../host/secret": fs.ErrNotExist, "out/../../host/secret": fs.ErrNotExist, "/../../host/secret": fs.ErrNotExist,
		"no": fs.ErrNotExist, "out/file/x": syscall.ENOTDIR, "": nil, "/": nil, "/out/./file": nil, "a\x00b": syscall.EINVAL,
	} {
		_, err := b.open(t, path, Options{MaxBytes: 100, MaxFiles: 100})
		if !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%q: %v, want %v", path, err, want)
		}
	}
}

// A call that opens nothing must close nothing: with a NUL the wrapper of openat2 returns 0 and an error.
func TestPathThatIsNoneClosesNothing(t *testing.T) {
	b := newBox(t)
	var before, after unix.Stat_t
	if err := unix.Fstat(0, &before); err != nil {
		t.Fatal(err)
	}
	if _, err := b.open(t, "a\x00b", Options{}); !errors.Is(err, syscall.EINVAL) {
		t.Error(err)
	}
	if err := unix.Fstat(0, &after); err != nil || after.Ino != before.Ino {
		t.Errorf("standard input: %v", err)
	}
}

func TestOnlyRegularFilesAreRead(t *testing.T) {
	b := newBox(t)
	if err := unix.Mkfifo(b.path("out/fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(socket)
	if err := unix.Bind(socket, &unix.SockaddrUnix{Name: b.path("out/socket")}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"out/fifo", "out/socket"} {
		if _, err := b.open(t, name, Options{MaxBytes: 100, MaxFiles: 100}); !errors.Is(err, ErrKind) {
			t.Errorf("%s: %v", name, err)
		}
	}
	tr, err := b.open(t, "out", Options{MaxBytes: 100, MaxFiles: 100})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := tr.Tar(&out); !errors.Is(err, ErrKind) || !strings.Contains(err.Error(), "fifo") || !strings.Contains(err.Error(), "socket") {
		t.Errorf("%v", err)
	}
	if got := names(t, &out); got != "dir/ dir/file file" {
		t.Errorf("the archive holds %s: what can be read must be there", got)
	}
	host, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(host)
	for path, want := range map[string]error{
		"dev/null": ErrKind, "dev/tty": ErrKind, "proc/self/status": ErrKind, "proc/cpuinfo": ErrPseudo, "proc": ErrPseudo, "sys/kernel": ErrPseudo,
		"proc/self/cwd/x": ErrKind, "proc/thread-self/root/etc/passwd": ErrKind,
	} {
		tr, err := Open(t.Context(), host, path, Options{MaxBytes: 100, MaxFiles: 100})
		if err == nil {
			tr.Close()
		}
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
}

func TestSymlinksAreKeptIfAskedAndNeverFollowed(t *testing.T) {
	b := newBox(t)
	target := filepath.Join(b.outside, "secret")
	if err := os.Symlink(target, b.path("out/link")); err != nil {
		t.Fatal(err)
	}
	for _, keep := range []bool{false, true} {
		tr, err := b.open(t, "out", Options{MaxBytes: 1 << 20, MaxFiles: 10_000, Symlinks: keep})
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := tr.Tar(&out); keep && err != nil || !keep && !errors.Is(err, ErrKind) {
			t.Errorf("Symlinks %v: %v", keep, err)
		}
		if strings.Contains(out.String(), secret) || strings.Contains(out.String(), target) != keep {
			t.Errorf("Symlinks %v: the archive holds %q", keep, &out)
		}
		if err := tr.FS(func(fsys fs.FS) error {
			if data, err := fs.ReadFile(fsys, "link"); !errors.Is(err, ErrKind) {
				t.Errorf("%q, %v", data, err)
			}
			if got, err := fs.ReadLink(fsys, "link"); keep && got != target || !keep && !errors.Is(err, ErrKind) {
				t.Errorf("Symlinks %v: %q, %v", keep, got, err)
			}
			// Whoever copies the tree gets no link to the host by accident.
			err := os.CopyFS(filepath.Join(t.TempDir(), "copy"), fsys)
			if keep != (err == nil) {
				t.Errorf("Symlinks %v: CopyFS: %v", keep, err)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
}

func TestLeasedFileDoesNotHoldUp(t *testing.T) {
	b := newBox(t)
	fd, err := unix.Open(b.path("out/file"), unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Fatal(err)
	}
	tr, err := b.open(t, "out/file", Options{MaxBytes: 100, MaxFiles: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Copy(io.Discard); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("%v, want EAGAIN", err)
	}
}
