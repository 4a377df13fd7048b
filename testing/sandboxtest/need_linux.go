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
		if err := UnifiedCgroups().Check(); err != nil {
			return err
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
		// One above may have been delegated: there the controllers are, until they are handed on.
		for dir := own; ; dir = filepath.Dir(dir) {
			list, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
			if err != nil {
				return err
			}
			missing := missingControllers(string(list))
			if len(missing) == 0 {
				return nil
			}
			if dir == root || unix.Access(filepath.Dir(dir), unix.W_OK) != nil {
				return fmt.Errorf("%s lacks the controllers %q", dir, missing)
			}
		}
	}}
}

func missingControllers(list string) []string {
	return slices.DeleteFunc([]string{"memory", "pids"}, func(c string) bool {
		return slices.Contains(strings.Fields(list), c)
	})
}
