//go:build linux

package sandbox

import (
	"context"

	"golang.org/x/sys/unix"
)

// meetListener finds out whether the caller is under a filter with a listener, for those who would find out too late.
// The try starts nothing: its command is a directory. How it fails otherwise, the caller will be told.
func meetListener(ctx context.Context) {
	mode, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0)
	if err != nil || mode != unix.SECCOMP_MODE_FILTER {
		return
	}
	if host, err := thisHost.get(); err != nil || host.listened {
		return
	}
	c := Command(ctx, Spec{Args: []string{"/"}, AllowMissing: features[:]})
	if c.Start() == nil {
		_, _ = c.Wait()
	}
}
