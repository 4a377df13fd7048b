package launch

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A command that joins a sandbox is the child of its joiner, which is outside. If somebody kills the joiner, the
// command becomes the child of whoever reaps for it outside: of this program, where that is PID 1 of a
// container or a subreaper (prctl(2), PR_SET_CHILD_SUBREAPER). The kernel lets PID 1 of the sandbox end only when all
// others of its namespace are reaped (zap_pid_ns_processes in kernel/pid_namespace.c).

// orphanInterval is how often a program that reaps for others looks for orphans, while a sandbox ends.
const orphanInterval = 10 * time.Millisecond

// reapsOrphans reports whether orphans become children of this program.
func reapsOrphans() bool {
	if os.Getpid() == 1 {
		return true
	}
	return isSubreaper()
}

// awaitWithOrphans waits for the end of the child behind a pidfd, and reaps orphans meanwhile.
func awaitWithOrphans(pidfd int) {
	for !awaitEnd(pidfd, orphanInterval) {
		reapOrphans()
	}
}

// awaitEnd waits until the process behind a pidfd has ended, but not longer than patience.
func awaitEnd(pidfd int, patience time.Duration) bool {
	for until := time.Now().Add(patience); ; {
		left := max(time.Until(until), 0)
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int((left + time.Millisecond - 1).Milliseconds()))
		if !errors.Is(err, unix.EINTR) {
			return err == nil && n > 0
		}
	}
}

// reapOrphans reaps the children of this program that have ended, are of a deeper PID namespace, and not the
// first there: what this program starts itself is either of its own or the first of a new one.
func reapOrphans() {
	own := len(strings.Fields(statusLine("self", "NSpid:")))
	lists, _ := filepath.Glob("/proc/self/task/*/children") // the pattern is right
	for _, list := range lists {
		children, _ := os.ReadFile(list) // of a thread that has ended there is none
		for _, field := range strings.Fields(string(children)) {
			ids := strings.Fields(statusLine(field, "NSpid:"))
			dead := strings.HasPrefix(strings.TrimSpace(statusLine(field, "State:")), "Z")
			pid, err := strconv.Atoi(field)
			if err == nil && dead && len(ids) > own && ids[len(ids)-1] != "1" {
				_ = unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOHANG, nil) // another goroutine may have
			}
		}
	}
}

// statusLine returns a line of /proc/PID/status; "" if the process has gone.
func statusLine(pid, key string) string {
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return ""
	}
	return line(string(status), key)
}
