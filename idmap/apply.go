package idmap

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// ApplyError says which file of /proc did not take what Apply wrote to it.
type ApplyError struct {
	File   string // "/proc/7/gid_map"
	Remedy string // what the user can do; "" if nothing is known
	Err    error  // the cause: most often a syscall.Errno
}

func (e *ApplyError) Error() string {
	s := fmt.Sprintf("idmap: write %s: %v", e.File, e.Err)
	if e.Remedy != "" {
		s += " (" + e.Remedy + ")"
	}
	return s
}

// Unwrap returns the cause.
func (e *ApplyError) Unwrap() error { return e.Err }

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
