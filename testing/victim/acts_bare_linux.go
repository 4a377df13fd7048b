package victim

import (
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The acts on files and processes of somebody who has the victim's own ID, without a mount or PID namespace in
// between.
var bareActs = map[string]act{
	"chmod":  func(path string) (string, error) { return "", unix.Chmod(path, 0o600) },
	"fchmod": onOpen(func(fd int) error { return unix.Fchmod(fd, 0o600) }),
	"chown":  func(path string) (string, error) { return "", unix.Lchown(path, os.Getuid(), os.Getgid()) },
	"utime":  func(path string) (string, error) { return "", os.Chtimes(path, time.Time{}, time.Unix(1, 0)) },
	"futime": onOpen(func(fd int) error { return unix.Futimes(fd, make([]unix.Timeval, 2)) }),
	"setxattr": func(path string) (string, error) {
		return "", unix.Setxattr(path, "user.victim", []byte("x"), 0)
	},
	"fsetxattr": onOpen(func(fd int) error { return unix.Fsetxattr(fd, "user.victim", []byte("x"), 0) }),
	"getxattr": func(path string) (string, error) {
		_, err := unix.Getxattr(path, "user.victim", make([]byte, 8))
		return "", err
	},
	"truncate": func(path string) (string, error) { return "", unix.Truncate(path, 0) },
	"opentrunc": func(path string) (string, error) {
		return "", closing(unix.Open(path, unix.O_RDONLY|unix.O_TRUNC|unix.O_CLOEXEC, 0))
	},
	"opennone": func(path string) (string, error) {
		return "", closing(unix.Open(path, unix.O_ACCMODE|unix.O_CLOEXEC, 0))
	},
	"openat2": func(path string) (string, error) {
		return "", closing(unix.Openat2(unix.AT_FDCWD, path, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC}))
	},
	"watch": func(path string) (string, error) {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
		if err != nil {
			return "", err
		}
		defer unix.Close(fd)
		_, err = unix.InotifyAddWatch(fd, path, unix.IN_OPEN)
		return "", err
	},
	"flags":   onOpen(func(fd int) error { return unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, 0) }),
	"lease":   onOpen(func(fd int) error { _, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK); return err }),
	"setsid":  func(string) (string, error) { _, err := unix.Setsid(); return "", err },
	"setpgid": func(string) (string, error) { return "", unix.Setpgid(0, 0) },
	"owner":   owner,
	"cpuclock": func(pid string) (string, error) {
		return "", unix.ClockGettime(int32(^number(pid)<<3|2), &unix.Timespec{}) // CPUCLOCK_SCHED of a process
	},
	"datagram": datagram,
	"pair": func(kind string) (string, error) {
		fds, err := unix.Socketpair(unix.AF_UNIX, number(kind)|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return "", err
		}
		unix.Close(fds[0])
		return "", unix.Close(fds[1])
	},
}

// onOpen makes an act of what is done to a file that is open for reading.
func onOpen(do func(fd int) error) act {
	return func(path string) (string, error) {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return "", err
		}
		defer unix.Close(fd)
		return "", do(fd)
	}
}

// owner has the kernel send a process a signal, for a pipe that it is made the owner of: "pid,signal".
func owner(arg string) (string, error) {
	pid, sig := twoInts(arg)
	r, w, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer r.Close()
	defer w.Close()
	for _, set := range [][2]int{{unix.F_SETOWN, pid}, {unix.F_SETSIG, sig}, {unix.F_SETFL, unix.O_ASYNC}} {
		if _, err := unix.FcntlInt(r.Fd(), set[0], set[1]); err != nil {
			return "", err
		}
	}
	_, err = w.WriteString("x")
	return "", err
}

// datagram sends to a socket of the host's by a pair of sockets, one of which it connects anew.
func datagram(path string) (string, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	if strings.HasPrefix(path, "@") {
		path = "\x00" + path[1:]
	}
	return strconv.Itoa(len(path)), unix.Sendto(fds[0], []byte("x"), 0, &unix.SockaddrUnix{Name: path})
}
