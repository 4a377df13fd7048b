package victim

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

var stalkActs = map[string]act{"stalk": stalk, "sibling": sibling}

// sibling makes its parent the parent of another process, which exits with a code or, if that is 0, stays.
func sibling(arg string) (string, error) {
	code := number(arg)
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, unix.CLONE_PARENT|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if pid == 0 && errno == 0 {
		for code == 0 {
			_, _, _ = unix.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0) // until it is killed
		}
		_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, uintptr(code), 0, 0)
	}
	if errno != 0 {
		return "", errno
	}
	return strconv.Itoa(int(pid)), nil
}

// stalk looks for processes that are not yet what they will be, for so many milliseconds, and tries to look
// into each: "ms,name", where name is what they become. It tells how many it has seen, and what it got at.
func stalk(arg string) (string, error) {
	ms, becomes, _ := strings.Cut(arg, ",")
	seen, got := 0, map[string]bool{}
	for until := time.Now().Add(time.Duration(number(ms)) * time.Millisecond); time.Now().Before(until); {
		entries, err := os.ReadDir("/proc")
		if err != nil {
			return "", err
		}
		for _, e := range entries {
			dir := "/proc/" + e.Name()
			if name := e.Name()[0]; name < '0' || name > '9' {
				continue
			}
			before := comm(dir)
			if before == "" || before == becomes || before == comm("/proc/self") || dir == "/proc/1" {
				continue
			}
			seen++
			for name, look := range looks {
				if look(dir) && comm(dir) == before {
					got[name] = true
				}
			}
		}
	}
	names := make([]string, 0, len(got))
	for name := range got {
		names = append(names, name)
	}
	return fmt.Sprintf("%d seen, got at %v", seen, names), nil
}

func comm(dir string) string {
	b, err := os.ReadFile(dir + "/comm")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// looks are the ways into another process, by its directory in /proc.
var looks = map[string]func(dir string) bool{
	"mem":     func(dir string) bool { return opens(dir + "/mem") },
	"environ": func(dir string) bool { return opens(dir + "/environ") },
	"maps":    func(dir string) bool { return opens(dir + "/maps") },
	"fd":      func(dir string) bool { _, err := os.ReadDir(dir + "/fd"); return err == nil },
	"exe":     func(dir string) bool { _, err := os.Readlink(dir + "/exe"); return err == nil },
	"root":    func(dir string) bool { return opens(dir + "/root/usr") },
	"cwd":     func(dir string) bool { _, err := os.Readlink(dir + "/cwd"); return err == nil },
	"vm": func(dir string) bool {
		b := make([]byte, 8)
		local := []unix.Iovec{{Base: &b[0], Len: 8}}
		_, err := unix.ProcessVMReadv(number(filepath.Base(dir)), local, []unix.RemoteIovec{{Base: 0x10001000, Len: 8}}, 0)
		return err == nil
	},
	"pidfd": func(dir string) bool {
		pidfd, err := unix.PidfdOpen(number(filepath.Base(dir)), 0)
		if err != nil {
			return false
		}
		defer unix.Close(pidfd)
		fd, err := unix.PidfdGetfd(pidfd, 3, 0)
		if err == nil {
			unix.Close(fd)
		}
		return err == nil
	},
	"ptrace": func(dir string) bool {
		pid := number(filepath.Base(dir))
		if unix.PtraceSeize(pid) != nil {
			return false
		}
		_ = unix.PtraceDetach(pid) // it has not stopped
		return true
	},
}

func opens(path string) bool {
	f, err := os.Open(path)
	if err == nil {
		f.Close()
	}
	return err == nil
}
