package sandboxtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// UserNamespaces is the requirement, named "user-namespaces", that a process of this user can start
// another in a new user namespace, with its own ID mapped.
func UserNamespaces() Requirement {
	return Requirement{Name: "user-namespaces", Check: func() error {
		cmd := exec.Command("true")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  unix.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
		}
		return cmd.Run()
	}}
}

// CgroupV2 is the requirement, named "cgroup-v2", that the process may make cgroups of version 2
// below its own, with the memory and pids controllers.
func CgroupV2() Requirement {
	return Requirement{Name: "cgroup-v2", Check: func() error {
		const root = "/sys/fs/cgroup"
		var st unix.Statfs_t
		if err := unix.Statfs(root, &st); err != nil {
			return &os.PathError{Op: "statfs", Path: root, Err: err}
		}
		if st.Type != unix.CGROUP2_SUPER_MAGIC {
			return errors.New(root + " is not a cgroup v2 file system")
		}
		data, err := os.ReadFile("/proc/self/cgroup")
		if err != nil {
			return err
		}
		// cgroups(7): the line of version 2 is "0::" and the path.
		_, path, ok := strings.Cut("\n"+string(data), "\n0::")
		if !ok {
			return errors.New("the process is in no cgroup of version 2")
		}
		path, _, _ = strings.Cut(path, "\n")
		own := filepath.Join(root, path)
		if err := unix.Access(own, unix.W_OK); err != nil {
			return fmt.Errorf("%s is not delegated: %w", own, err)
		}
		list, err := os.ReadFile(filepath.Join(own, "cgroup.controllers"))
		if err != nil {
			return err
		}
		for _, controller := range []string{"memory", "pids"} {
			if !slices.Contains(strings.Fields(string(list)), controller) {
				return fmt.Errorf("%s lacks the controller %q", own, controller)
			}
		}
		return nil
	}}
}
