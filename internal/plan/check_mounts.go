//go:build linux

package plan

import (
	"encoding/binary"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// The bounds of a tmpfs.
const (
	sizeSet uint8 = 1 << iota
	inodesSet
	isTmpfs
)

func (c *checker) fsconfig() *Fault {
	d := c.at(0)
	if d.kind != fsContext {
		return c.fault(RuleDescriptor, "%d is no file system in the making", c.value(0))
	}
	tmpfs := c.isTmpfs(d.op)
	switch {
	case c.value(1) == unix.FSCONFIG_SET_STRING && c.op.Call.Args[2].Mem != nil && c.op.Call.Args[3].Mem != nil:
		if c.text(2) == "size" && c.text(3) != "0" {
			d.sized |= sizeSet
		}
		if c.text(2) == "nr_inodes" && c.text(3) != "0" {
			d.sized |= inodesSet
		}
	case c.value(1) != unix.FSCONFIG_CMD_CREATE || c.op.Call.Args[2].Mem != nil || c.op.Call.Args[3].Mem != nil:
		return c.fault(RuleCall, "fsconfig command %d", c.value(1))
	case tmpfs && d.sized != sizeSet|inodesSet:
		return c.fault(RuleTmpfs, "it is made without a size or a number of files")
	}
	return nil
}

// isTmpfs reports whether an fsopen was for a tmpfs.
func (c *checker) isTmpfs(op int32) bool {
	return text(&c.p.Ops[op].Call.Args[0]) == "tmpfs"
}

// harmless are the attributes of which every mount has the first and one of the others: no setuid
// program, and either no device or nothing that can be executed.
func harmless(attrs uint64) bool {
	return attrs&unix.MOUNT_ATTR_NOSUID != 0 && attrs&(unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC) != 0
}

func (c *checker) fsmount() *Fault {
	if c.at(0).kind != fsContext {
		return c.fault(RuleDescriptor, "%d is no file system in the making", c.value(0))
	}
	if c.value(1) != unix.FSMOUNT_CLOEXEC || !harmless(uint64(c.value(2))) {
		return c.fault(RuleRestrict, "attributes %#x", c.value(2))
	}
	of := text(&c.p.Ops[c.at(0).op].Call.Args[0])
	c.loose++
	return c.open(descriptor{kind: ownMount, restricted: true, mount: int32(c.i), devpts: of == "devpts", proc: of == "proc"})
}

func (c *checker) mountSetattr() *Fault {
	d, attr, how := c.at(0), c.bytes(3, 32), c.value(2)
	switch {
	case attr == nil || c.value(4) != 32 || !zeros(attr[8:]):
		return c.fault(RuleCall, "it does more than set attributes")
	case c.text(1) != "" || how&^unix.AT_RECURSIVE != unix.AT_EMPTY_PATH:
		return c.fault(RulePath, "it looks a path up")
	}
	set := binary.LittleEndian.Uint64(attr)
	switch d.kind {
	case hostTree:
		// A device is one file: nothing is mounted below it.
		d.restricted = d.restricted || harmless(set) && (how&unix.AT_RECURSIVE != 0 || c.isDevice(d.op))
	case ownTree:
		d.restricted = true
	case ownMount:
	default:
		return c.fault(RuleDescriptor, "%d is no mount", c.value(0))
	}
	if set&unix.MOUNT_ATTR_RDONLY != 0 && d.kind == ownMount {
		c.sealed = append(c.sealed, d.mount)
	}
	if set&unix.MOUNT_ATTR_RDONLY != 0 && c.has(didHome) && d.op == c.top {
		c.done |= didSeal
	}
	return nil
}

// isDevice reports whether an open_tree was of a file right below the host's /dev.
func (c *checker) isDevice(op int32) bool {
	name, ok := strings.CutPrefix(text(&c.p.Ops[op].Call.Args[1]), "/dev/")
	return ok && isComponent(name)
}

func (c *checker) moveMount() *Fault {
	d, how := c.at(0), c.value(4)
	if d.kind != hostTree && d.kind != ownTree && d.kind != ownMount {
		return c.fault(RuleDescriptor, "%d is no mount", c.value(0))
	}
	if !d.restricted || d.attached {
		return c.fault(RuleRestrict, "descriptor %d is not, or it is attached already", c.value(0))
	}
	if c.text(1) != "" {
		return c.fault(RulePath, "it looks a path up")
	}
	d.attached = true
	c.loose--
	path := c.text(3)
	switch base := c.value(2); {
	case base == cwd:
		if path != "/" || how != unix.MOVE_MOUNT_F_EMPTY_PATH {
			return c.fault(RulePath, "it looks %q up", path)
		}
		if c.has(didPivot) || !c.has(didPrivate) || c.under >= 0 {
			return c.fault(RuleRoot, "a mount on top of the root comes at another time")
		}
		c.under, c.top = c.top, d.op
		return nil
	case !c.has(didHome):
		return c.fault(RuleRoot, "it is still there")
	case how == unix.MOVE_MOUNT_F_EMPTY_PATH:
		// Without MOVE_MOUNT_T_SYMLINKS a link at the end is not followed.
		if !isComponent(path) {
			return c.fault(RulePath, "it looks %q up", path)
		}
		if k := c.at(2).kind; k != ownMount && k != hostTree && k != resolved {
			return c.fault(RuleDescriptor, "%d is no directory", base)
		}
		c.put = append(c.put, attachment{base: c.at(2).op, name: path})
		if in := c.at(2); d.kind == hostTree && c.isDevice(d.op) && (in.kind == ownMount || in.own) && !slices.Contains(c.devices, in.mount) {
			c.devices = append(c.devices, in.mount)
		}
		return nil
	case how != unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH || path != "":
		return c.fault(RulePath, "it looks %q up", path)
	}
	if k := c.at(2).kind; k != resolved {
		return c.fault(RuleDescriptor, "%d is no place to attach to", c.value(2))
	}
	return nil
}

// attached holds when every mount is where it belongs, and what holds devices can be changed by nobody.
func (c *checker) attached() *Fault {
	if c.loose > 0 {
		return c.fault(RuleAttach, "%d are not", c.loose)
	}
	for _, mount := range c.devices {
		if !slices.Contains(c.sealed, mount) {
			return c.fault(RuleSeal, "%s can be written", c.p.Ops[mount].Label)
		}
	}
	return nil
}

func (c *checker) makePrivate() *Fault {
	if c.process != Init || c.text(1) != "/" || c.value(3) != unix.MS_REC|unix.MS_PRIVATE || c.has(didPivot) {
		return c.fault(RuleCall, "mount does more than stop propagation")
	}
	c.done |= didPrivate
	return nil
}

func (c *checker) changeDirectory() *Fault {
	if c.op.Call.Name == "chdir" {
		if c.text(0) != "/" {
			return c.fault(RulePath, "chdir(%q)", c.text(0))
		}
		if !c.has(didDetach) {
			return c.fault(RuleRoot, "/ is still the host's")
		}
		c.done |= didHome
		return nil
	}
	d := c.at(0)
	// The new root before it is one, or a resolved directory once it is.
	if d.kind == resolved && c.has(didHome) || d.op == c.top && c.top >= 0 && !c.has(didPivot) {
		c.cwd = d.op
		return nil
	}
	if !c.has(didPivot) {
		return c.fault(RuleRoot, "descriptor %d is not the mount on top of it", c.value(0))
	}
	return c.fault(RulePath, "descriptor %d is no directory of the sandbox", c.value(0))
}

func (c *checker) pivotRoot() *Fault {
	if c.text(0) != "." || c.text(1) != "." {
		return c.fault(RulePath, "pivot_root(%q, %q)", c.text(0), c.text(1))
	}
	if c.process != Init || c.top < 0 || c.under >= 0 || c.cwd != c.top || c.has(didPivot) {
		return c.fault(RuleRoot, "the working directory is not the one mount on top of the root")
	}
	c.done |= didPivot
	return nil
}

func (c *checker) umount() *Fault {
	if c.text(0) != "." || c.value(1) != unix.MNT_DETACH {
		return c.fault(RulePath, "umount2(%q)", c.text(0))
	}
	if !c.has(didPivot) && c.top >= 0 && c.cwd == c.top {
		// What is on top of the root is taken off again; the program must not stay in it.
		c.top, c.under, c.cwd = c.under, -1, nowhere
		return nil
	}
	// "." is the old root only as long as nothing was done since it was put there.
	if !c.has(didPivot) || c.has(didDetach) || c.p.Ops[c.i-1].Call.Name != "pivot_root" {
		return c.fault(RuleRoot, "it is not the old root that is taken away")
	}
	c.done |= didDetach
	return nil
}
