//go:build linux

package sandbox

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Which Mounts Landlock can stand for, in a sandbox without namespaces.

// bareMount says why Landlock cannot stand for a mount; "" is that it can.
func bareMount(spec *Spec, m Mount) string {
	if m.Type != Bind {
		return "without a mount namespace nothing but files of the host can be shown"
	}
	target := path.Clean(m.Target)
	if path.Clean(m.Source) != target {
		return "without a mount namespace a file stays where it is, so that Source and Target must be the same"
	}
	for _, special := range []string{"/proc", "/dev", "/sys"} {
		if isAtOrBelow(special, target) {
			return special + " holds more than files: its processes and devices would be the host's"
		}
	}
	for _, o := range spec.Mounts {
		if above := path.Clean(o.Target); o.Writable && !m.Writable && above != target && isAtOrBelow(above, target) {
			return "it is read-only below " + above + ", which is writable: Landlock allows below what it allows above"
		}
	}
	return ""
}

func isAtOrBelow(dir, p string) bool {
	return p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/")
}

// kernelFilesystems are those that hold processes, devices and settings of the host, wherever they are mounted. That
// of /dev cannot be told from a tmpfs.
var kernelFilesystems = []uint32{unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.DEVPTS_SUPER_MAGIC, unix.DEBUGFS_MAGIC, unix.TRACEFS_MAGIC,
	unix.SECURITYFS_MAGIC, unix.BPF_FS_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC}

// filesystemType returns the type of the file system at a path.
func filesystemType(path string) (uint32, error) {
	var s unix.Statfs_t
	err := unix.Statfs(path, &s)
	return uint32(s.Type), err
}

// bareMounts adds the rules of Spec.Mounts. bareMount has compared paths as they are given: that holds of the files
// only where no part of them is a link.
func (r *resolved) bareMounts(spec *Spec, host *Host, why *UnsupportedError) error {
	var faults []error
	for i, m := range spec.Mounts {
		dir, err := isDir(host, m.Source)
		var found string
		var kind uint32
		if err == nil {
			found, err = host.real(m.Source)
		}
		if err == nil {
			kind, err = host.filesystem(m.Source)
		}
		target := path.Clean(m.Target)
		remedy, reason := why.Remedy, ""
		switch {
		case err != nil:
			faults = append(faults, &SpecError{Field: fmt.Sprintf("Mounts[%d].Source", i), Reason: err.Error()})
			continue
		case found != target:
			reason = fmt.Sprintf("%s is %s, and without a mount namespace Source and Target must name that", target, found)
			remedy = fmt.Sprintf("give %s as both, or: %s", found, remedy)
		case slices.Contains(kernelFilesystems, kind):
			reason = target + " holds more than files: its processes, devices and settings would be the host's"
		}
		if reason != "" {
			faults = append(faults, &UnsupportedError{Feature: MountNamespace, Needs: fmt.Sprintf("user namespaces, for Spec.Mounts[%d]: %s", i, reason), Remedy: remedy, Err: why.Err})
			continue
		}
		access := uint64(landlockReads)
		if m.Writable {
			access |= landlockWrites
		}
		r.allowFile(target, dir, access).exact = true
	}
	return errors.Join(faults...)
}
