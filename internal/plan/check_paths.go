//go:build linux

package plan

import (
	"encoding/binary"
	"strings"

	"golang.org/x/sys/unix"
)

// attachment is a mount that was attached below a directory, which this op opened.
type attachment struct {
	base int32
	name string
}

// openat creates a file below a directory of the sandbox, or opens one of the ID maps, or the mount namespace
// that PID 1 was born in.
func (c *checker) openat() *Fault {
	const create = unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW
	how := c.value(2)
	if how&create == create && len(c.op.Call.Args) == 4 {
		if f := c.create(0, 1); f != nil {
			return f
		}
		return c.open(descriptor{kind: created})
	}
	if c.handsOver(c.text(1)) && how == unix.O_RDONLY|unix.O_CLOEXEC && c.value(0) == cwd && c.process == Init && !c.has(didPivot) {
		return c.open(descriptor{kind: namespace})
	}
	d := descriptor{kind: created}
	switch c.text(1) {
	case "/proc/self/setgroups":
		d.onWrite = didDenySetgroups
	case "/proc/self/uid_map":
		d.onWrite = didUIDMap
	case "/proc/self/gid_map":
		d.onWrite = didGIDMap
	}
	switch {
	case c.has(didPivot):
		return c.fault(RulePath, "openat(%q) may follow a link", c.text(1))
	case d.onWrite == 0 || c.process != Init || how != unix.O_WRONLY|unix.O_CLOEXEC || c.value(0) != cwd:
		return c.fault(RuleHostPath, "%q is opened", c.text(1))
	}
	return c.open(d)
}

// openat2 resolves a path inside.
func (c *checker) openat2() *Fault {
	const howSize = 24
	base, path, how := c.value(0), c.text(1), c.bytes(2, howSize)
	if how == nil || c.value(3) != howSize {
		return c.fault(RuleMemory, "struct open_how")
	}
	resolve := binary.LittleEndian.Uint64(how[16:])
	flags := binary.LittleEndian.Uint64(how)
	bounded := resolve&(unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_MAGICLINKS) != 0
	if base != cwd {
		// From a descriptor, ".." and a path from the root would leave what it stands for.
		bounded = bounded && (resolve&unix.RESOLVE_IN_ROOT != 0 ||
			resolve&unix.RESOLVE_NO_SYMLINKS != 0 && isBelow(path))
	}
	if base == cwd && path == ".." && resolve == unix.RESOLVE_NO_XDEV {
		bounded = true // it stays in the file system
		if c.has(didHome) {
			c.done |= didAbove
		}
	}
	switch {
	case !c.has(didHome):
		return c.fault(RuleHostPath, "%q is opened", path)
	case c.isMaster(path, flags, resolve):
		return c.openMaster()
	case c.isShare(path, flags, resolve):
		return c.openShare()
	case !bounded:
		return c.fault(RulePath, "openat2(%q) has no bounds", path)
	case flags&(unix.O_CREAT|unix.O_TRUNC) != 0 || flags&(unix.O_PATH|unix.O_DIRECTORY) == 0:
		return c.fault(RulePath, "openat2(%q) does more than find it", path)
	}
	d := descriptor{kind: resolved}
	if base != cwd && (c.at(0).kind == ownMount || c.at(0).own) && resolve&unix.RESOLVE_NO_SYMLINKS != 0 && isComponent(path) {
		d.own, d.mount = true, c.at(0).mount
	}
	return c.open(d)
}

// isBelow reports whether a path without links in it stays below where it starts.
func isBelow(path string) bool {
	for rest, more := path, true; more; {
		var part string
		part, rest, more = strings.Cut(rest, "/")
		if part == "" || part == ".." {
			return false
		}
	}
	return true
}

func isComponent(name string) bool {
	return name != "" && name != "." && name != ".." && strings.IndexByte(name, '/') < 0
}

// create checks a call that makes a new entry in a directory. It follows no link in the last place, so
// all depends on what is above.
func (c *checker) create(base, path int) *Fault {
	name := c.text(path)
	if c.value(base) == cwd {
		return c.fault(RulePath, "%q is created below no descriptor", name)
	}
	if c.op.Call.Name == "mknodat" && (c.value(2)&unix.S_IFMT != unix.S_IFREG || c.value(3) != 0) {
		return c.fault(RuleCall, "%q is to be more than an empty file", name)
	}
	d := c.at(base)
	switch d.kind {
	case ownMount:
	case hostTree, resolved:
		if !c.has(didDetach) {
			return c.fault(RuleHostPath, "%q is created", name)
		}
	default:
		return c.fault(RuleDescriptor, "%q is created below what is no directory", name)
	}
	if !isComponent(name) {
		return c.fault(RulePath, "%q has more than one component", name)
	}
	return nil
}

// openTree copies a tree of the host, before its root is left, or of the sandbox's own.
func (c *checker) openTree() *Fault {
	base, path := c.value(0), c.text(1)
	if c.value(2) != unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE {
		return c.fault(RuleCall, "it does not copy the tree")
	}
	if base == cwd {
		if c.has(didPivot) {
			return c.fault(RulePath, "open_tree(%q) may follow a link", path)
		}
		if len(path) == 0 || path[0] != '/' && c.cwd != atStart {
			return c.fault(RuleHostPath, "open_tree(%q) depends on the working directory", path)
		}
		if !c.has(didPrivate) {
			return c.fault(RuleRoot, "mounts still propagate")
		}
		c.loose++
		return c.open(descriptor{kind: hostTree})
	}
	if !isComponent(path) {
		return c.fault(RulePath, "open_tree(%q) has more than one component", path)
	}
	d := c.at(0)
	if d.kind != ownMount && !d.own {
		return c.fault(RulePath, "open_tree(%q) may follow a link of a tree that is not the sandbox's own", path)
	}
	c.loose++
	// A copy of what was attached has its attributes.
	return c.open(descriptor{kind: ownTree, restricted: c.isAttached(d.op, path)})
}

func (c *checker) isAttached(base int32, name string) bool {
	for i := range c.put {
		if c.put[i].base == base && c.put[i].name == name {
			return true
		}
	}
	return false
}
