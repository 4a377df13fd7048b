package idmap

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

var errNotProc = errors.New("not on a process file system")

// Apply writes uids and gids to the uid_map and gid_map of the process pid, which is in a new user
// namespace that has none yet; a nil Map is not written. With denySetgroups it denies setgroups(2) in
// that namespace first, which the kernel wants of a caller without CAP_SETGID (user_namespaces(7)).
//
// Every error is an *ApplyError, or the fault of a Map as Validate gives it, with nothing written
// then. After an *ApplyError some of the files may have been written: the process is of no use any
// more.
//
// Preconditions: /proc shows pid under this number, and the caller has not waited for the process,
// or pid may be another one by now.
func Apply(pid int, uids, gids Map, denySetgroups bool) error {
	if err := uids.Validate(); err != nil {
		return fmt.Errorf("idmap: uids: %w", err)
	}
	if err := gids.Validate(); err != nil {
		return fmt.Errorf("idmap: gids: %w", err)
	}
	dir := "/proc/" + strconv.Itoa(pid)
	proc, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &ApplyError{File: dir, Remedy: remedy("", err), Err: err}
	}
	defer unix.Close(proc)

	write := func(file, text string) error {
		if err := writeProc(proc, file, text); err != nil {
			return &ApplyError{File: dir + "/" + file, Remedy: remedy(file, err), Err: err}
		}
		return nil
	}
	// gid_map of an unprivileged caller needs setgroups denied; nothing depends on the order of the maps.
	if denySetgroups {
		if err := write(fileSetgroups, "deny"); err != nil {
			return err
		}
	}
	if uids != nil {
		if err := write(fileUIDMap, uids.String()); err != nil {
			return err
		}
	}
	if gids != nil {
		return write(fileGIDMap, gids.String())
	}
	return nil
}

// writeProc writes text to a file of a directory of /proc in one write: the kernel takes a map as a
// whole or not at all, and takes no second one.
func writeProc(dir int, name, text string) error {
	// map_write of kernel/user_namespace.c refuses a page or more with EINVAL, which says nothing.
	if len(text) >= os.Getpagesize() {
		return fmt.Errorf("a map of %d bytes, the kernel takes less than %d", len(text), os.Getpagesize())
	}
	fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// A tree mounted over /proc could pass the map to a file of its choice (CVE-2025-52881).
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return err
	}
	if st.Type != unix.PROC_SUPER_MAGIC {
		return errNotProc
	}
	n, err := unix.Write(fd, []byte(text))
	if err == nil && n != len(text) {
		err = fmt.Errorf("%d of %d bytes written", n, len(text))
	}
	return err
}
