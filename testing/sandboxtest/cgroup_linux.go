package sandboxtest

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// UnifiedCgroups is the requirement, named "cgroup-v2" too, that the host has cgroups of version 2 and no
// others. Whose they are is not part of it.
func UnifiedCgroups() Requirement {
	return Requirement{Name: "cgroup-v2", Check: func() error {
		const root = "/sys/fs/cgroup"
		var st unix.Statfs_t
		if err := unix.Statfs(root, &st); err != nil {
			return &os.PathError{Op: "statfs", Path: root, Err: err}
		}
		if st.Type != unix.CGROUP2_SUPER_MAGIC {
			return errors.New(root + " is not a cgroup v2 file system")
		}
		return nil
	}}
}

// UserManager is the requirement, named "user-manager", that a systemd of this user's can be spoken to.
func UserManager() Requirement {
	return Requirement{Name: "user-manager", Check: func() error {
		dir := os.Getenv("XDG_RUNTIME_DIR")
		if dir == "" {
			dir = "/run/user/" + strconv.Itoa(os.Geteuid())
		}
		conn, err := net.Dial("unix", filepath.Join(dir, "systemd/private"))
		if err != nil {
			return err
		}
		return conn.Close()
	}}
}
