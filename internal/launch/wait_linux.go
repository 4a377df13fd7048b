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

// waitForGroup waits for the children that are left in the process group of a stub that is reaped: a PID 1
// that the stub had no time to tell of, when both were killed, or could not tell of. Nothing of the program
// holds the report any more, so that such a one is dead or about to be.
//
// NOTE: without one the number is free, and may be that of a stub which is started at this very moment, once
// all other numbers were used since. No test has shown that.
func waitForGroup(group int) {
	for {
		if _, err := waitFor(unix.P_PGID, group, nil); err != nil {
			return // ECHILD
		}
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
