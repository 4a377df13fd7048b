package launch

import (
	"errors"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// waitFor waits for the end of a child, by its pidfd or its ID.
func waitFor(idType, id int, usage *unix.Rusage) (unix.WaitStatus, error) {
	for {
		var info unix.Siginfo
		err := unix.Waitid(idType, id, &info, unix.WEXITED, usage)
		if errors.Is(err, unix.EINTR) {
			continue // the runtime's own signals
		}
		if err != nil {
			return 0, err
		}
		return waitStatus(&info), nil
	}
}

// parsePid returns the number in the Pid line of a pidfd's fdinfo; 0 if it says that there is none.
func parsePid(fdinfo string) int {
	for line := range strings.Lines(fdinfo) {
		if value, ok := strings.CutPrefix(line, "Pid:"); ok {
			pid, err := strconv.Atoi(strings.TrimSpace(value))
			if err != nil || pid < 0 {
				return 0
			}
			return pid
		}
	}
	return 0
}
