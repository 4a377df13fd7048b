package cgroup

import (
	"context"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// thisHost shows this host as choose.go sees one.
func thisHost(ctx context.Context) host {
	return host{
		FS:        os.DirFS("/"),
		writable:  writable,
		delegated: func(name string) bool { return delegated(ctx, name) },
		pid:       os.Getpid(),
		uid:       os.Geteuid(),
	}
}

// writable asks as whom the caller acts, which access(2) by itself does not.
func writable(name string) error {
	if err := unix.Faccessat(unix.AT_FDCWD, name, unix.W_OK, unix.AT_EACCESS); err != nil {
		return &fs.PathError{Op: "write to", Path: name, Err: err}
	}
	return nil
}

// delegated reads the marks that systemd puts on cgroups: an old one, which only root can read, and one for
// everybody that newer versions have. Without them the manager is asked: version 252 marks no unit of a user.
func delegated(ctx context.Context, name string) bool {
	for _, attr := range []string{"user.delegate", "trusted.delegate"} {
		var value [8]byte
		if n, err := unix.Getxattr(name, attr, value[:]); err == nil {
			return string(value[:n]) == "1"
		}
	}
	// Names that the kernel could take for its own files are escaped (cg_escape).
	unit := strings.TrimPrefix(path.Base(name), "_")
	system := !strings.Contains(path.Dir(name)+"/", "/user@"+strconv.Itoa(os.Geteuid())+".service/")
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := dial(ctx, system)
	if err != nil {
		return false
	}
	defer conn.Close()
	yes, err := conn.isDelegated(ctx, unit, name)
	return err == nil && yes
}
