package idmap

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// ApplyError says which file of /proc did not get its map, from Apply itself or from the program that
// ApplyByHelper runs.
type ApplyError struct {
	File   string // "/proc/7/gid_map"
	Helper string // the program that was to write it: "/usr/bin/newgidmap"; "" is none
	Remedy string // what the user can do; "" if nothing is known
	Err    error  // the cause: a syscall.Errno, or for a Helper mostly one of the errors below
}

func (e *ApplyError) Error() string {
	s := fmt.Sprintf("idmap: write %s: %v", e.File, e.Err)
	if e.Helper != "" {
		s = fmt.Sprintf("idmap: write %s by %s: %v", e.File, e.Helper, e.Err)
	}
	if e.Remedy != "" {
		s += " (" + e.Remedy + ")"
	}
	return s
}

// Unwrap returns the cause.
func (e *ApplyError) Unwrap() error { return e.Err }

// The causes for which IDs other than the caller's own cannot be had. Whoever returns one says in a Remedy
// what can be done.
var (
	// ErrNoHelper says that newuidmap(1) or newgidmap(1) is not installed.
	ErrNoHelper = errors.New("the program is not installed")
	// ErrNoPrivilege says that the program is there and gets no privilege by being executed.
	ErrNoPrivilege = errors.New("the program gets no privilege")
	// ErrNoSubordinate says that no subordinate IDs are set aside for the user, or fewer than are asked for.
	ErrNoSubordinate = errors.New("the user has not enough subordinate IDs")
	// ErrNotSubordinate says that an ID is neither the caller's own nor a subordinate one.
	ErrNotSubordinate = errors.New("not the caller's to map")
	// ErrInUse says that other sandboxes have the subordinate IDs of the user.
	ErrInUse = errors.New("subordinate IDs are in use by other sandboxes")
)

// The files that Apply writes, below /proc/PID.
const (
	fileSetgroups = "setgroups"
	fileUIDMap    = "uid_map"
	fileGIDMap    = "gid_map"
)

// remedy says what to do about err from writing file; user_namespaces(7) has the rules.
func remedy(file string, err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ESRCH):
		return "the process has ended, or /proc hides it"
	case errors.Is(err, fs.ErrPermission) && file == fileSetgroups:
		return "setgroups can be denied only before gid_map is written, and by the owner of the namespace"
	case errors.Is(err, fs.ErrPermission):
		s := "a map is written once; without CAP_SETUID and CAP_SETGID it holds the caller's own ID alone"
		if file == fileGIDMap {
			s += ", and setgroups must be denied first"
		}
		return s + "; for subordinate IDs use newuidmap and newgidmap"
	case errors.Is(err, syscall.EINVAL):
		return "every host ID must be mapped in the caller's own user namespace, and ranges may not overlap"
	}
	return ""
}
