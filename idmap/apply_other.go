//go:build !linux

package idmap

import (
	"context"
	"errors"
	"fmt"
)

// Apply writes the maps of a process in a new user namespace. There are none on this system: the
// error matches errors.ErrUnsupported.
func Apply(pid int, uids, gids Map, denySetgroups bool) error {
	return fmt.Errorf("idmap: user namespaces exist on Linux only: %w", errors.ErrUnsupported)
}

// ApplyByHelper has newuidmap(1) and newgidmap(1) write the maps. There are none on this system: the error
// matches errors.ErrUnsupported.
func ApplyByHelper(ctx context.Context, pid int, uids, gids Map) error {
	return Apply(pid, uids, gids, false)
}

// OfCaller returns the subordinate IDs of the caller's user. There are none on this system: the error matches
// errors.ErrUnsupported.
func OfCaller() (uids, gids []Subrange, err error) {
	return nil, nil, Apply(0, nil, nil, false)
}

// Reservation is subordinate IDs of the caller's user. There are none on this system.
type Reservation struct{ UIDs, GIDs Map }

// Auto reserves subordinate IDs. There are none on this system: the error matches errors.ErrUnsupported.
func Auto(n int) (*Reservation, error) {
	return nil, &AutoError{IDs: n, Err: Apply(0, nil, nil, false)}
}

// Close gives the IDs back.
func (r *Reservation) Close() error { return nil }
