package filetree

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"
)

// brought is what the tests write.
var brought = fstest.MapFS{
	"file":      {Data: []byte("brought"), Mode: 0o640},
	"dir/file":  {Data: []byte("brought too"), Mode: 0o755 | fs.ModeSetuid},
	"dir":       {Mode: fs.ModeDir | 0o750},
	"own":       {Mode: fs.ModeDir | 0o711},
	"own/empty": {Mode: 0o444},
}

var enough = Input{MaxBytes: 1 << 20, MaxFiles: 100}

func TestWritesLeadNowhereWhileTheTreeIsSwapped(t *testing.T) {
	b := newBox(t)
	before := listing(t, b.outside)
	stop := b.swapping()
	made := 0
	for start := time.Now(); time.Since(start) < raceFor || made == 0 && time.Since(start) < maxRace; {
		for _, overwrite := range []bool{false, true} {
			in := enough
			in.Overwrite = overwrite
			// Errors are allowed: the tree changes under the writer.
			if Write(t.Context(), b.root, "out", brought, in) == nil {
				made++
			}
			_ = Write(t.Context(), b.root, "out/dir/new/er", brought, in)
			os.RemoveAll(b.path("out/dir/new"))
			os.RemoveAll(b.path("out/own"))
		}
	}
	stop()
	if after := listing(t, b.outside); after != before {
		t.Errorf("outside there is now %s, before %s", after, before)
	}
	if made == 0 {
		t.Error("nothing could ever be written: this proves nothing")
	}
	// The control.
	os.Remove(b.path("out/file"))
	if err := os.Symlink("../../host/secret", b.path("out/file")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.path("out/file"), []byte("control"), 0o644); err != nil || listing(t, b.outside) == before {
		t.Errorf("a naive writer was not fooled, %v: this proves nothing", err)
	}
}

// listing returns all that is in a directory, with contents and modes.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	if err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		all.WriteString(p + " " + info.Mode().String())
		if d.Type().IsRegular() {
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			all.Write(data)
		}
		all.WriteString("\n")
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all.String()
}

func TestWhatIsWrittenIsTheSource(t *testing.T) {
	b := newBox(t)
	source := maps.Clone(brought)
	source["closed"], source["closed/empty"] = &fstest.MapFile{Mode: fs.ModeDir | 0o500}, &fstest.MapFile{Mode: 0o400}
	if err := Write(t.Context(), b.root, "/new/er", source, enough); err != nil {
		t.Fatal(err)
	}
	for name, f := range source {
		info, err := os.Lstat(b.path("new/er/" + name))
		if err != nil {
			t.Error(err)
			continue
		}
		want := f.Mode &^ fs.ModeSetuid
		if f.Mode.IsDir() {
			want |= 0o700
		}
		if info.Mode() != want {
			t.Errorf("%s: %v, want %v", name, info.Mode(), want)
		}
		if info.Mode().IsRegular() {
			if data, err := os.ReadFile(b.path("new/er/" + name)); err != nil || string(data) != string(f.Data) {
				t.Errorf("%s: %q, %v", name, data, err)
			}
		}
	}
}

func TestWhatIsThereIsReplacedIfAskedAndNeverWrittenTo(t *testing.T) {
	for name, put := range map[string]func(b *box, path string) error{
		"a file":      func(_ *box, p string) error { return os.WriteFile(p, []byte("old"), 0o644) },
		"a hard link": func(b *box, p string) error { return os.Link(filepath.Join(b.outside, "file"), p) },
		"a link":      func(b *box, p string) error { return os.Symlink(filepath.Join(b.outside, "file"), p) },
		"a fifo":      func(_ *box, p string) error { return unix.Mkfifo(p, 0o644) },
		"a link that leads nowhere": func(b *box, p string) error {
			return os.Symlink(filepath.Join(b.outside, "new"), p)
		},
	} {
		b := newBox(t)
		before := listing(t, b.outside)
		os.Remove(b.path("out/file"))
		if err := put(b, b.path("out/file")); err != nil {
			t.Fatal(err)
		}
		one := fstest.MapFS{"file": brought["file"]}
		var where *PartError
		if err := Write(t.Context(), b.root, "out", one, enough); !errors.Is(err, fs.ErrExist) || !errors.As(err, &where) || where.Path != "file" {
			t.Errorf("%s: %v", name, err)
		}
		in := enough
		in.Overwrite = true
		if err := Write(t.Context(), b.root, "out", one, in); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if info, err := os.Lstat(b.path("out/file")); err != nil || !info.Mode().IsRegular() || info.Size() != 7 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
		if after := listing(t, b.outside); after != before {
			t.Errorf("%s: outside there is %s", name, after)
		}
	}
}

func TestWritesAreRefusedWhereNothingBelongs(t *testing.T) {
	b := newBox(t)
	for name, target := range map[string]string{"link": b.outside, "rel": "../host"} {
		if err := os.Symlink(target, b.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	host, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(host)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		what string
		ctx  context.Context
		root int
		dst  string
		src  fs.FS
		in   Input
		want error
	}{
		{"a link", t.Context(), b.root, "link", brought, enough, ErrKind},
		{"a link on the way", t.Context(), b.root, "rel/x", brought, enough, ErrKind},
		{"a file", t.Context(), b.root, "out/file", brought, enough, syscall.ENOTDIR},
		{"/proc", t.Context(), host, "proc/self", brought, enough, ErrPseudo},
		{"too much", t.Context(), b.root, "a", brought, Input{MaxBytes: 17, MaxFiles: 100}, ErrLimit},
		{"too many", t.Context(), b.root, "b", brought, Input{MaxBytes: 1 << 20, MaxFiles: 4}, ErrLimit},
		{"canceled", canceled, b.root, "c", brought, enough, context.Canceled},
		{"a directory in the place of a file", t.Context(), b.root, "out", fstest.MapFS{"dir": {}}, Input{MaxBytes: 1, MaxFiles: 1, Overwrite: true}, syscall.EISDIR},
		{"a file in the place of a directory", t.Context(), b.root, "out", fstest.MapFS{"file/x": {}}, enough, syscall.ENOTDIR},
		{"a link that nobody asked for", t.Context(), b.root, "d", fstest.MapFS{"l": {Mode: fs.ModeSymlink, Data: []byte("x")}}, enough, ErrKind},
		{"a device", t.Context(), b.root, "e", fstest.MapFS{"l": {Mode: fs.ModeDevice}}, enough, ErrKind},
		{"a name with a slash", t.Context(), b.root, "f", oddFS{"../../host/new"}, enough, fs.ErrInvalid},
		{"a name that leads up", t.Context(), b.root, "f", oddFS{".."}, enough, fs.ErrInvalid},
	} {
		if err := Write(test.ctx, test.root, test.dst, test.src, test.in); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.what, err, test.want)
		}
	}
	if got := listing(t, b.outside); strings.Count(got, "\n") != 3 {
		t.Errorf("outside there is %s", got)
	}
	in := enough
	in.Symlinks = true
	if err := Write(t.Context(), b.root, "links", fstest.MapFS{"l": {Mode: fs.ModeSymlink, Data: []byte("/etc/passwd")}}, in); err != nil {
		t.Error(err)
	}
	if target, err := os.Readlink(b.path("links/l")); err != nil || target != "/etc/passwd" {
		t.Errorf("%q, %v", target, err)
	}
}

// oddFS is an fs.FS whose only entry has a name that is none.
type oddFS struct{ name string }

func (o oddFS) Open(name string) (fs.File, error) {
	if name == "." {
		return fstest.MapFS{"x": {}}.Open(".")
	}
	return fstest.MapFS{"x": {}}.Open("x")
}

func (o oddFS) ReadDir(string) ([]fs.DirEntry, error) {
	entries, err := fstest.MapFS{"x": {}}.ReadDir(".")
	return []fs.DirEntry{oddEntry{entries[0], o.name}}, err
}

type oddEntry struct {
	fs.DirEntry
	name string
}

func (o oddEntry) Name() string { return o.name }

// What root brings belongs to the sandbox, and goes only where its user may write.
func TestRootWritesWithTheRightsOfTheSandbox(t *testing.T) {
	const nobody = 65534
	dir := t.TempDir()
	for p := dir; p != "/" && p != os.TempDir(); p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o1777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "roots"), 0o755); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	before := rights(t)
	in := enough
	in.As = &User{UID: nobody, GID: nobody, DropGroups: true}
	if err := Write(t.Context(), fd, "roots", brought, in); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%v", err)
	}
	if err := Write(t.Context(), fd, "new", brought, in); err != nil {
		t.Error(err)
	}
	var s unix.Stat_t
	if err := unix.Lstat(filepath.Join(dir, "new/dir/file"), &s); err != nil || s.Uid != nobody || s.Gid != nobody {
		t.Errorf("%+v, %v", s, err)
	}
	if err := Write(t.Context(), fd, "roots", brought, enough); err != nil { // the control
		t.Error(err)
	}
	if after := rights(t); after != before {
		t.Errorf("afterwards a thread has other rights:\n%s\nbefore:\n%s", after, before)
	}
}
