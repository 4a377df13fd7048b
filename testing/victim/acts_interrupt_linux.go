package victim

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// interrupt makes a directory many times over while another thread sends signals to this one, so that the
// call is given up if it waits for anybody. The outcome is EINTR if that has ever happened, and the victim
// has gone on for a second.
func interrupt(path string) (string, error) {
	// Only a signal whose handler does not ask for a restart ends the call (sigaction(2), SA_RESTART).
	if err := withoutRestart(unix.SIGURG); err != nil {
		return "", err
	}
	var over atomic.Bool
	defer over.Store(true)
	pid, tid := unix.Getpid(), unix.Gettid()
	go func() {
		for !over.Load() {
			_ = unix.Tgkill(pid, tid, unix.SIGURG) // the runtime's own, which it takes at any time
		}
	}()
	const tries = 2000
	for i := range tries {
		err := unix.Mkdirat(unix.AT_FDCWD, path, 0o700)
		if errors.Is(err, unix.EINTR) {
			over.Store(true)
			time.Sleep(time.Second)
			return fmt.Sprintf("at try %d", i), err
		}
	}
	return "", nil
}
