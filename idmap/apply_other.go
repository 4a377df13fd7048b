//go:build !linux

package idmap

import (
	"errors"
	"fmt"
)

// Apply writes the maps of a process in a new user namespace. There are none on this system: the
// error matches errors.ErrUnsupported.
func Apply(pid int, uids, gids Map, denySetgroups bool) error {
	return fmt.Errorf("idmap: user namespaces exist on Linux only: %w", errors.ErrUnsupported)
}
