//go:build linux

package sandbox

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
	"github.com/ringfence-go/ringfence/internal/plan"
)

const readOnly = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV

// compileSources opens every tree of the host that the sandbox will hold, while the host can still be
// seen, and with the caller's own IDs. Each is a copy of the mounts, private and restricted before it
// is attached anywhere.
func (c *compilation) compileSources(b *plan.Builder) {
	b.Call("keep mounts from propagating", kernel.MakePrivate())
	if c.rootPath != "" {
		fd := c.openSource(b, "use "+c.rootPath+" as the root", c.rootPath, c.writable)
		c.rootTree = &source{fd: fd}
	} else {
		for _, e := range c.facts.System {
			if e.Link == "" {
				c.addSystem(b, e.Path, e.Dir)
			}
		}
		for _, e := range c.facts.Config {
			c.addSystem(b, e.Path, e.Dir)
		}
		if c.hostNet && c.facts.Resolv {
			c.addSystem(b, resolvConf, false)
		}
	}
	for _, name := range c.facts.Devices {
		p := "/dev/" + name
		fd := b.Open("open "+p, kernel.OpenTree(unix.AT_FDCWD, p))
		c.devices = append(c.devices, source{fd, entry{path: p, name: name}})
	}
	for i, m := range c.mounts {
		if m.Type == Bind {
			label := fmt.Sprintf("bind %s on %s", m.Source, m.Target)
			c.sources[i] = source{fd: c.openSource(b, label, m.Source, m.Writable)}
		}
	}
}

func (c *compilation) addSystem(b *plan.Builder, p string, isDir bool) {
	fd := c.openSource(b, "bind "+p+" on "+p, p, false)
	c.system = append(c.system, source{fd, entry{path: p, name: path.Base(p), isDir: isDir}})
}

func (c *compilation) openSource(b *plan.Builder, label, p string, writable bool) int {
	fd := b.Open(label, kernel.OpenTree(unix.AT_FDCWD, p))
	attrs := uint64(readOnly)
	if writable {
		attrs &^= unix.MOUNT_ATTR_RDONLY
	}
	b.Call(label+": restrict it", kernel.MountSetattr(fd, attrs, true))
	return fd
}

// compileMounts attaches the mounts of the Spec, in order.
func (c *compilation) compileMounts(b *plan.Builder) {
	for i, m := range c.mounts {
		label, fd := c.makeMount(b, i, m)
		dir, target := c.resolveTarget(b, m)
		b.Call(label, kernel.MoveMount(fd, target))
		if m.Type == Proc && !m.Writable {
			c.hideHost(b, fd, m.Target)
		}
		b.Close(append(dir, target, fd)...)
	}
}

// makeMount returns a mount that is attached nowhere, and what it is called.
func (c *compilation) makeMount(b *plan.Builder, i int, m mount) (label string, fd int) {
	const attrs = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV
	switch m.Type {
	case Tmpfs:
		return "mount tmpfs on " + m.Target, makeFS(b, m.Target, "tmpfs", attrs, c.ownedBy(tmpfsOptions(m.Size, octalMode(m.Mode)))...)
	case File:
		return "put a file on " + m.Target, c.sources[i].fd
	case Proc:
		return "mount proc on " + m.Target, c.sources[i].fd
	case Devpts:
		return "mount devpts on " + m.Target, makeFS(b, m.Target, "devpts", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC, devptsOptions()...)
	case Mqueue:
		return "mount mqueue on " + m.Target, makeFS(b, m.Target, "mqueue", attrs|unix.MOUNT_ATTR_NOEXEC)
	}
	return fmt.Sprintf("bind %s on %s", m.Source, m.Target), c.sources[i].fd
}

// ownedBy adds the command's user as the owner, where PID 1, who makes the file system, is another.
func (c *compilation) ownedBy(options []option) []option {
	if uid, gid := c.ids.first(); c.ids.uid == uid && c.ids.gid == gid {
		return options
	}
	return append(options, option{"uid", strconv.Itoa(c.ids.uid)}, option{"gid", strconv.Itoa(c.ids.gid)})
}

// compileFiles writes the Files of the Spec to a tmpfs of their own. A single file can be mounted only from
// a file system that is attached (open_tree(2)): this one is on top of the host's root for as long, and
// taken off again. Left there it would come between the new root and the old, and the umount of the old
// root would take this one instead.
func (c *compilation) compileFiles(b *plan.Builder) {
	const slack = 16 << 20 // room for directories' pages and for what a writable file grows by
	size := int64(slack)
	for _, m := range c.mounts {
		if m.Type == File {
			size += int64(len(m.Data)) + 4096
		}
	}
	if size == slack {
		return
	}
	shelf := makeFS(b, "files", "tmpfs", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, tmpfsOptions(size, "0700")...)
	b.Call("put the files on top of the root", kernel.MoveMountOnRoot(shelf))
	for i, m := range c.mounts {
		if m.Type != File {
			continue
		}
		name, label := strconv.Itoa(i), "put a file on "+m.Target
		fd := b.Open(label+": create it", kernel.Openat(shelf, name, newFile, uint32(m.Mode.Perm())))
		if len(m.Data) > 0 {
			b.Call(label+": write it", kernel.WriteBytes(fd, m.Data)).Returns(int64(len(m.Data)))
		}
		b.Close(fd)
		tree := b.Open(label, kernel.OpenTree(shelf, name))
		attrs := uint64(readOnly)
		if m.Writable {
			attrs &^= unix.MOUNT_ATTR_RDONLY
		}
		b.Call(label+": restrict it", kernel.MountSetattr(tree, attrs, false))
		c.sources[i] = source{fd: tree}
	}
	b.Call("go to the files", kernel.Fchdir(shelf))
	b.Call("take the files off the root", kernel.UmountDetach("."))
}

// resolveTarget creates what is missing of a mount's target and returns a descriptor of it, and those
// of the directories above.
//
// Nothing here follows a link out of the sandbox: openat2(2) resolves each prefix within the root, and
// what is created is one component below a resolved directory.
func (c *compilation) resolveTarget(b *plan.Builder, m mount) (dirs []int, target int) {
	const resolve = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS
	parts := strings.Split(m.Target[1:], "/")
	parent, prefix := c.root, ""
	for _, part := range parts[:len(parts)-1] {
		b.Call("create "+prefix+"/"+part, kernel.Mkdirat(parent, part, 0o755)).Tolerates("it may exist", unix.EEXIST)
		prefix += "/" + part
		parent = b.Resolve("open "+prefix, kernel.Openat2(c.root, prefix[1:], ownDir, resolve))
		dirs = append(dirs, parent)
	}
	last, how := parts[len(parts)-1], unix.O_PATH|unix.O_CLOEXEC
	create := kernel.Mknodat(parent, last, 0o644)
	if m.dir {
		create, how = kernel.Mkdirat(parent, last, 0o755), ownDir
	}
	b.Call("create "+m.Target, create).Tolerates("it may exist", unix.EEXIST)
	return dirs, b.Resolve("open "+m.Target, kernel.Openat2(c.root, m.Target[1:], how, resolve))
}

// octalMode returns mode as the mode option of tmpfs(5) takes it.
func octalMode(mode fs.FileMode) string {
	const sticky = 0o1000
	bits := mode.Perm()
	if mode&fs.ModeSticky != 0 {
		bits |= sticky
	}
	return fmt.Sprintf("%04o", uint32(bits))
}
