package filetree

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// No path leads out, whatever it is made of.
func FuzzPath(f *testing.F) {
	top := f.TempDir()
	root := filepath.Join(top, "box")
	for _, dir := range []string{"box/a/b", "host"} {
		if err := os.MkdirAll(filepath.Join(top, dir), 0o755); err != nil {
			f.Fatal(err)
		}
	}
	for name, contents := range map[string]string{"host/secret": secret, "box/a/b/file": "mine", "box/file": "mine"} {
		if err := os.WriteFile(filepath.Join(top, name), []byte(contents), 0o644); err != nil {
			f.Fatal(err)
		}
	}
	for name, target := range map[string]string{"box/out": "../host", "box/a/abs": filepath.Join(top, "host"), "box/a/b/up": "../../..", "box/self": "/proc/self/root"} {
		if err := os.Symlink(target, filepath.Join(top, name)); err != nil {
			f.Fatal(err)
		}
	}
	fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { unix.Close(fd) })
	for _, seed := range []string{"file", "a/b/file", "out/secret", "../host/secret", "a/b/up/host/secret", "self" + top + "/host/secret", "/", "a/../../host/secret", "a//b/./file", "\x00", "a/abs/secret"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		var out bytes.Buffer
		read := func(name string) {
			tr, err := Open(t.Context(), fd, name, Options{MaxBytes: 1 << 10, MaxFiles: 100, Symlinks: true})
			if err != nil {
				return
			}
			defer tr.Close()
			_ = tr.Copy(&out)
			_ = tr.Tar(&out)
		}
		read(name)
		tr, err := Open(t.Context(), fd, "/", Options{MaxBytes: 1 << 10, MaxFiles: 100, Symlinks: true})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		if err := tr.FS(func(fsys fs.FS) error {
			data, err := fs.ReadFile(fsys, name)
			if err == nil && !fs.ValidPath(name) {
				t.Errorf("%q is no path", name)
			}
			out.Write(data)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), secret) {
			t.Errorf("%q leads out", name)
		}
	})
}

// Whatever a tree holds, the archive can be read, and says what was there.
func FuzzArchive(f *testing.F) {
	f.Add("name", []byte("contents"), uint32(0o644), int64(0), "target")
	f.Add("\xff\n=", []byte{}, uint32(0o7777), int64(1)<<40, "/etc/passwd")
	f.Add(strings.Repeat("x", 255), make([]byte, 1000), uint32(0), int64(-1)<<40, strings.Repeat("../", 200))
	f.Add("..x", []byte("x"), uint32(0o4755), int64(1)<<62, "\xff")
	f.Fuzz(func(t *testing.T, name string, contents []byte, mode uint32, seconds int64, target string) {
		b := newBox(t)
		file := path.Join(b.path("out"), "d-"+name)
		if strings.Contains(name, "/") || os.WriteFile(file, contents, 0o600) != nil {
			return // no name of a file
		}
		_ = os.Symlink(target, b.path("out/link")) // some are none
		_ = os.Chtimes(file, time.Unix(seconds, 0), time.Unix(seconds, 0))
		if err := os.Chmod(file, fs.FileMode(mode&0o777|0o400)|fs.ModeSetuid); err != nil {
			t.Fatal(err)
		}
		tr, err := b.open(t, "out", Options{MaxBytes: 1 << 20, MaxFiles: 100, Symlinks: true})
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := tr.Tar(&out); err != nil {
			t.Fatal(err)
		}
		found := false
		for r := tar.NewReader(&out); ; {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if h.Mode&^0o777 != 0 || !fs.ValidPath(strings.TrimSuffix(h.Name, "/")) && fs.ValidPath(name) {
				t.Errorf("%+v", h)
			}
			if h.Name != "d-"+name {
				continue
			}
			found = true
			if data, err := io.ReadAll(r); err != nil || !bytes.Equal(data, contents) || h.Mode != int64(mode&0o777|0o400) {
				t.Errorf("%+v with %q, %v", h, data, err)
			}
		}
		if !found {
			t.Errorf("%q is not there", "d-"+name)
		}
	})
}
