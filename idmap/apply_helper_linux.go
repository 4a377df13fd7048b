package idmap

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ApplyByHelper has newuidmap(1) and newgidmap(1) write uids and gids to the uid_map and gid_map of the
// process pid, which is in a new user namespace of the caller's that has none yet; a nil Map is not written.
// It is for a caller without privilege: each range must be the caller's own ID, with size 1, or among the
// ranges that OfCaller returns. newgidmap denies setgroups(2) in the namespace if no range is.
//
// The programs are those in PATH, or else in /usr/bin. They get no environment, and end with ctx.
//
// Every error is an *ApplyError, or the fault of a Map as Validate gives it, with nothing written then.
// An *ApplyError matches ErrNoHelper, ErrNoPrivilege, ErrNoSubordinate or ErrNotSubordinate where the cause
// is one of these, and ctx.Err() if ctx ended. Some of the files may have been written: the process is of no
// use any more.
//
// Preconditions: those of Apply; and the process is dumpable (prctl(2)), as a new one is, since the programs
// look at who owns its directory in /proc.
func ApplyByHelper(ctx context.Context, pid int, uids, gids Map) error {
	if err := uids.Validate(); err != nil {
		return fmt.Errorf("idmap: uids: %w", err)
	}
	if err := gids.Validate(); err != nil {
		return fmt.Errorf("idmap: gids: %w", err)
	}
	// One map does not wait for the other, and each program takes as long as the rest of a start.
	done := make(chan error)
	go func() {
		done <- helper{"newgidmap", fileGIDMap, "cap_setgid", unix.CAP_SETGID, gids}.run(ctx, pid, etc())
	}()
	err := helper{"newuidmap", fileUIDMap, "cap_setuid", unix.CAP_SETUID, uids}.run(ctx, pid, etc())
	if groupErr := <-done; err == nil {
		err = groupErr
	}
	return err
}

// helper is a program that writes one map.
type helper struct {
	name       string
	file       string // that it writes, below /proc/PID
	capability string
	capNumber  int
	m          Map
}

// run has the program write its map, if there is one.
func (h helper) run(ctx context.Context, pid int, f files) error {
	if h.m == nil {
		return nil
	}
	failed := &ApplyError{File: "/proc/" + strconv.Itoa(pid) + "/" + h.file, Helper: h.name}
	path, err := lookHelper(h.name)
	if err != nil {
		failed.Err, failed.Remedy = err, "install it: package uidmap of Debian and Ubuntu, shadow-utils of Fedora, shadow of Arch and SUSE, shadow-uidmap of Alpine"
		return failed
	}
	failed.Helper = path

	args := []string{strconv.Itoa(pid)}
	for _, r := range h.m {
		args = append(args, strconv.Itoa(r.ContainerID), strconv.Itoa(r.HostID), strconv.Itoa(r.Size))
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = []string{} // nil would be the caller's
	cmd.Dir = "/"
	// Out of reach of the signals that a terminal sends to the caller's process group.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.WaitDelay = time.Second // for what holds the pipe, should the program have left anything behind
	stderr := &firstBytes{}
	cmd.Stderr = stderr
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		failed.Err = ctx.Err()
		return failed
	case errors.Is(err, syscall.ECHILD):
		// Somebody in this program waits for every child, or ignores SIGCHLD: the program has ended, and nobody
		// is told how. It writes a map as a whole or not at all.
		if written, readErr := os.ReadFile(failed.File); readErr == nil && len(written) > 0 {
			return nil
		}
	case !errors.As(err, &exit):
		failed.Err = err
		return failed
	}
	text := stderr.buf.String()
	if text == "" {
		text = err.Error()
	}
	s, err := f.read(os.Geteuid())
	if err != nil {
		text += ": " + err.Error() // what the program made of such a line is not known
	}
	ranges := s.uids
	if h.file == fileGIDMap {
		ranges = s.gids
	}
	failed.Remedy, failed.Err = explainHelper(h.facts(path), text, s, ranges)
	return failed
}

// lookHelper returns the absolute path of a program.
func lookHelper(name string) (string, error) {
	// exec.LookPath refuses what a relative directory of PATH holds (exec.ErrDot).
	if path, err := exec.LookPath(name); err == nil && filepath.IsAbs(path) {
		return path, nil
	}
	if path, err := exec.LookPath("/usr/bin/" + name); err == nil {
		return path, nil
	}
	return "", ErrNoHelper
}

// firstBytes keeps the start of what is written to it.
type firstBytes struct{ buf bytes.Buffer }

func (f *firstBytes) Write(b []byte) (int, error) {
	const most = 1 << 10
	if room := most - f.buf.Len(); room > 0 {
		f.buf.Write(b[:min(room, len(b))])
	}
	return len(b), nil
}

// facts looks at what the privilege of the program at path depends on. What cannot be found out is taken to
// be in order.
func (h helper) facts(path string) helperFacts {
	f := helperFacts{path: path, capability: h.capability, setuidRoot: true}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err == nil {
		f.setuidRoot = st.Mode&unix.S_ISUID != 0 && st.Uid == 0
	}
	var data [24]byte // VFS_CAP_REVISION_3 of linux/capability.h
	if n, err := unix.Getxattr(path, "security.capability", data[:]); err == nil {
		f.fileCap = permits(data[:n], h.capNumber)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err == nil {
		f.nosuid = fs.Flags&unix.MS_NOSUID != 0 // ST_NOSUID of statfs(2) has the same value
	}
	if n, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err == nil {
		f.noNewPrivs = n == 1
	}
	if n, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(h.capNumber), 0, 0, 0); err == nil {
		f.bounded = n == 0
	}
	return f
}

// permits reports whether a struct vfs_cap_data (linux/capability.h) permits a capability below 32.
func permits(data []byte, number int) bool {
	const permittedAt = 4
	return len(data) >= permittedAt+4 && binary.LittleEndian.Uint32(data[permittedAt:])&(1<<number) != 0
}
