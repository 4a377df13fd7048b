package victim

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Acts on whatever a path leads to.

func init() {
	register(map[string]act{
		"look":     func(path string) (string, error) { return look(path), nil },
		"path":     func(path string) (string, error) { return look(path) + " " + change(path), nil },
		"writable": writable,
		"head":     head,
		"put":      func(path string) (string, error) { return "", put(path, "1") },
	})
}

// said returns the name of an error, or "ok".
func said(err error) string {
	if err == nil {
		return "ok"
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errnoText(int(errno))
	}
	return err.Error()
}

// look reads: "stat=… read=…". A file or directory that holds nothing is "read=empty".
func look(path string) string {
	var st unix.Stat_t
	stat := said(unix.Stat(path, &st))
	return fmt.Sprintf("stat=%s read=%s", stat, peek(path))
}

// peek reads a few bytes, or whether a directory has entries.
func peek(path string) string {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return said(err)
	}
	defer unix.Close(fd)
	var buf [64]byte
	n, err := unix.Read(fd, buf[:])
	if errors.Is(err, unix.EISDIR) {
		var names []os.DirEntry
		names, err = os.ReadDir(path)
		n = len(names)
	}
	switch {
	case err != nil:
		return said(err)
	case n == 0:
		return "empty"
	}
	return "ok"
}

// change tries to open for writing, to make something below, and to remove: "write=… make=… remove=…". It is
// for a sandbox alone.
func change(path string) string {
	write := closing(unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0))
	below := filepath.Join(path, "made-by-the-victim")
	made := closing(unix.Open(below, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600))
	if made != nil {
		if err := unix.Mkdir(below, 0o700); err == nil {
			made = nil
		}
	}
	removed := unix.Unlink(path)
	if removed != nil {
		if err := unix.Rmdir(path); err == nil {
			removed = nil
		}
	}
	return fmt.Sprintf("write=%s make=%s remove=%s", said(write), said(made), said(removed))
}

// writable returns every file below a directory that can be opened for writing, and every directory in which
// something can be made, without following links: "dir,left out,left out".
func writable(arg string) (string, error) {
	parts := strings.Split(arg, ",")
	var found []string
	err := filepath.WalkDir(parts[0], func(path string, d fs.DirEntry, err error) error {
		if err != nil || slices.Contains(parts[1:], path) {
			return fs.SkipDir // also what cannot be listed, or has just gone
		}
		if d.Type()&fs.ModeSymlink != 0 {
			return nil
		}
		if d.IsDir() {
			name := filepath.Join(path, "made-by-the-victim")
			if closing(unix.Open(name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)) == nil {
				found = append(found, path+"/")
				_ = unix.Unlink(name)
			}
			return nil
		}
		if closing(unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)) == nil {
			found = append(found, path)
		}
		return nil
	})
	return strings.Join(found, " "), err
}

// put writes to a file that is there.
func put(path, text string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte(text))
	return err
}

// head reads the beginning of a file.
func head(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b := make([]byte, 4096)
	n, err := f.Read(b)
	return string(b[:n]), err
}
