package victim

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

var swapActs = map[string]act{"swapfiles": swapFiles}

// swapFiles puts other things in the place of files and directories of a directory, again and again until it is
// ended: "dir,secret", where secret is the path of a file of the host. It keeps dir/file and dir/dir/file,
// both of which hold "mine" whenever they are regular files of its own.
func swapFiles(arg string) (string, error) {
	dir, secret, _ := strings.Cut(arg, ",")
	file, below, aside := filepath.Join(dir, "file"), filepath.Join(dir, "dir"), filepath.Join(dir, "aside")
	if err := os.MkdirAll(below, 0o777); err != nil {
		return "", err
	}
	put := func(name string, create func(temporary string) error) {
		temporary := name + ".new"
		os.Remove(temporary)
		if create(temporary) == nil {
			_ = os.Rename(temporary, name) // what does not work is not worth more
		}
	}
	link := func(target string) func(string) error {
		return func(temporary string) error { return os.Symlink(target, temporary) }
	}
	mine := func(temporary string) error { return os.WriteFile(temporary, []byte("mine"), 0o666) }
	up := strings.Repeat("../", 20)
	lures := []func(){
		func() { put(file, mine) },
		func() { put(file, link(secret)) },
		func() { put(file, link(up+secret)) },
		func() { put(file, link("/proc/self/root"+secret)) },
		func() { put(file, link("/proc/1/root"+secret)) },
		func() { put(file, func(n string) error { return unix.Mkfifo(n, 0o666) }) },
		func() { put(file, func(n string) error { return unix.Mknod(n, unix.S_IFSOCK|0o666, 0) }) },
		func() { put(file, func(n string) error { return os.Link("/dev/zero", n) }) },
		func() { put(file, link("/dev/zero")) },
		func() { put(file, func(n string) error { return os.Link(filepath.Join(below, "file"), n) }) },
		func() { put(filepath.Join(below, "file"), link(secret)) },
		func() { put(filepath.Join(below, "file"), mine) },
		func() {
			if os.Rename(below, aside) == nil {
				_ = os.Symlink(filepath.Dir(secret), below)
				time.Sleep(20 * time.Microsecond) // so that somebody meets it
				os.Remove(below)
				_ = os.Rename(aside, below)
			}
		},
		func() {
			if fd, err := unix.Open(file, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err == nil {
				_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_WRLCK)
				unix.Close(fd)
			}
		},
	}
	for i := 0; ; i++ {
		lures[i*5%len(lures)]()
		if i == len(lures) {
			emit(Outcome{Act: "swapping"})
		}
	}
}
