package victim

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

var fileActs = map[string]act{
	"read":     read,
	"list":     list,
	"readlink": os.Readlink,
	"openw": func(path string) (string, error) {
		return "", closing(unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0))
	},
	"open": func(path string) (string, error) {
		return "", closing(unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0))
	},
	"create":  create,
	"stat":    stat,
	"fds":     descriptors,
	"walkfds": walkDescriptors,
	"mkdir":   func(path string) (string, error) { return "", os.Mkdir(path, 0o777) },
	"mknod": func(path string) (string, error) {
		return "", unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3)))
	},
	"symlink": func(arg string) (string, error) {
		from, to, _ := strings.Cut(arg, ",")
		return "", os.Symlink(from, to)
	},
	"fill":    fill,
	"garbage": garbage,
}

func closing(fd int, err error) error {
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func read(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 1<<20))
	return string(data), err
}

func list(path string) (string, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return "", err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return strings.Join(names, " "), nil
}

func create(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return "", err
	}
	_, err = f.WriteString("made by the victim")
	f.Close()
	return "", err
}

// stat returns mode, owner and device number.
func stat(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return "", err
	}
	return fmt.Sprintf("%o %d:%d rdev %d:%d", st.Mode, st.Uid, st.Gid, unix.Major(st.Rdev), unix.Minor(st.Rdev)), nil
}

// descriptors returns the numbers of the open descriptors, but for those that the Go runtime opened.
func descriptors(string) (string, error) {
	fds, err := openDescriptors()
	return strings.Trim(fmt.Sprint(fds), "[]"), err
}

func openDescriptors() ([]int, error) {
	var fds []int
	for fd := range 1024 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			continue
		}
		target, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(target, "anon_inode:[event") {
			fds = append(fds, fd)
		}
	}
	return fds, nil
}

// walkDescriptors looks for a name in every directory that is open, and above it.
func walkDescriptors(name string) (string, error) {
	fds, err := openDescriptors()
	if err != nil {
		return "", err
	}
	var found []string
	for _, fd := range fds {
		for _, way := range []string{name, "../" + name, "../../" + name, "../../../" + name} {
			var st unix.Stat_t
			if unix.Fstatat(fd, way, &st, 0) == nil {
				found = append(found, fmt.Sprintf("%d/%s", fd, way))
			}
		}
	}
	if len(found) == 0 {
		return "", unix.ENOENT
	}
	return strings.Join(found, " "), nil
}

// fill writes to a file until there is no room, and returns how many bytes there was room for.
func fill(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var total int64
	block := make([]byte, 64<<10)
	for total < 1<<30 {
		n, err := f.Write(block)
		total += int64(n)
		if err != nil {
			return strconv.FormatInt(total, 10), err
		}
	}
	return strconv.FormatInt(total, 10), nil
}

// garbage writes to every descriptor but standard output.
func garbage(string) (string, error) {
	junk := slices.Repeat([]byte{4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}, 19) // like the record of an end
	var taken []string
	for fd := range 1024 {
		if fd == 1 {
			continue
		}
		if n, err := unix.Write(fd, junk); err == nil && n > 0 {
			taken = append(taken, strconv.Itoa(fd))
		}
	}
	return strings.Join(taken, " "), nil
}
