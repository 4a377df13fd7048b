package launch

import (
	"errors"

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

// isChild reports whether the process behind a pidfd is a child that nobody has reaped.
func isChild(pidfd int) bool {
	for {
		err := unix.Waitid(unix.P_PIDFD, pidfd, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err == nil
		}
	}
}
