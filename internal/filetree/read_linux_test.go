package filetree

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// What comes out, in each form, and how much of it.

// names returns what an archive holds.
func names(t *testing.T, archive io.Reader) string {
	t.Helper()
	var all []string
	r := tar.NewReader(archive)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return strings.Join(all, " ")
		}
		if err != nil {
			t.Fatalf("%v after %q", err, all)
		}
		all = append(all, h.Name)
	}
}

func TestLimitsHold(t *testing.T) {
	b := newBox(t)
	if err := os.Truncate(b.path("out/file"), 1<<40); err != nil { // nothing on the disk
		t.Fatal(err)
	}
	deep := b.path("deep")
	for range MaxDepth + 2 {
		if err := os.Mkdir(deep, 0o755); err != nil {
			t.Fatal(err)
		}
		deep = filepath.Join(deep, "d")
	}
	for range 200 {
		name, err := os.CreateTemp(b.path("out/dir"), "")
		if err != nil {
			t.Fatal(err)
		}
		name.Close()
	}
	b.write(t, "ten", "0123456789")
	for _, test := range []struct {
		path  string
		bytes int64
		files int
		limit bool
	}{
		{"out/file", 1 << 20, 10, true}, {"out", 1 << 20, 1000, true}, {"out/dir", 1 << 20, 200, true}, {"out/dir", 1 << 20, 202, false},
		{"ten", 9, 1, true}, {"ten", 10, 1, false}, {"deep", 1, 1000, true},
	} {
		tr, err := b.open(t, test.path, Options{MaxBytes: test.bytes, MaxFiles: test.files})
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := tr.Tar(&out); errors.Is(err, ErrLimit) != test.limit || (err != nil) != test.limit {
			t.Errorf("%s within %d bytes and %d files: %v", test.path, test.bytes, test.files, err)
		}
		if out.Len() > 1<<20 {
			t.Errorf("%s: %d bytes", test.path, out.Len())
		}
		names(t, &out) // what there is, is an archive
	}
	for n, limit := range map[int64]bool{9: true, 10: false} {
		tr, err := b.open(t, "ten", Options{MaxBytes: n, MaxFiles: 1})
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := tr.Copy(&out); errors.Is(err, ErrLimit) != limit || int64(out.Len()) > n {
			t.Errorf("%d: %v, %q", n, err, &out)
		}
		read := func(fsys fs.FS) error {
			data, err := fs.ReadFile(fsys, "ten")
			if int64(len(data)) > n {
				t.Errorf("%d bytes", len(data))
			}
			return err
		}
		top, err := b.open(t, "/", Options{MaxBytes: n, MaxFiles: 100})
		if err != nil {
			t.Fatal(err)
		}
		if err := top.FS(read); errors.Is(err, ErrLimit) != limit {
			t.Errorf("as an fs.FS: %d: %v", n, err)
		}
	}
}

func TestFSIsOne(t *testing.T) {
	b := newBox(t)
	b.write(t, "out/dir/empty", "")
	if err := os.Chmod(b.path("out/file"), 0o755|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	tr, err := b.open(t, "out", Options{MaxBytes: 1 << 20, MaxFiles: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	var kept fs.FS
	var file fs.File
	if err := tr.FS(func(fsys fs.FS) error {
		kept = fsys
		if file, err = fsys.Open("file"); err != nil {
			return err
		}
		if info, err := file.Stat(); err != nil || info.Mode() != 0o755 {
			t.Errorf("%v, %v", info, err)
		}
		return fstest.TestFS(fsys, "file", "dir/file", "dir/empty")
	}); err != nil {
		t.Error(err)
	}
	if _, err := kept.Open("file"); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
	if _, err := file.Read(make([]byte, 1)); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("a file after the end: %v", err)
	}
}

func TestArchiveIsTheTree(t *testing.T) {
	b := newBox(t)
	odd := "\xff new\nline"
	b.write(t, "out/"+odd, "odd")
	for _, f := range []struct {
		name string
		mode os.FileMode
		time time.Time
	}{
		{"out/file", 0o640, time.Unix(1, 0)}, {"out/dir", 0o750 | os.ModeSticky | os.ModeSetgid, time.Unix(1<<40, 0)}, {"out/dir/file", 0o755 | os.ModeSetuid, time.Unix(-1<<40, 0)},
	} {
		if err := os.Chmod(b.path(f.name), f.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(b.path(f.name), f.time, f.time); err != nil {
			t.Fatal(err)
		}
	}
	o := Options{MaxBytes: 1 << 20, MaxFiles: 10, UID: func(uint32) int { return 7 }, GID: func(uint32) int { return 8 }}
	tr, err := b.open(t, "out", o)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := tr.Tar(&out); err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(&out)
	for _, want := range []struct {
		name, contents string
		mode           int64
	}{{"dir/", "", 0o750}, {"dir/file", "mine", 0o755}, {"file", "mine", 0o640}, {odd, "odd", 0o644}} {
		h, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil || h.Name != want.name || h.Mode != want.mode || string(data) != want.contents || h.Uid != 7 || h.Gid != 8 || h.Uname != "" {
			t.Errorf("%+v with %q, %v, want %+v", h, data, err, want)
		}
		if y := h.ModTime.UTC().Year(); y < 1970 || y > 9999 {
			t.Errorf("%s is of the year %d", h.Name, y)
		}
	}
	tr, err = b.open(t, "out/file", o)
	if err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if err := tr.Tar(&out); err != nil || names(t, &out) != "file" {
		t.Errorf("one file: %v", err)
	}
}

func TestEndOfTheContextEndsTheCopy(t *testing.T) {
	b := newBox(t)
	if err := os.Truncate(b.path("out/file"), 1<<40); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	tr, err := Open(ctx, b.root, "out/file", Options{MaxBytes: 1 << 50, MaxFiles: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if err := tr.Copy(writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
