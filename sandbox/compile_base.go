//go:build linux

package sandbox

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
	"github.com/ringfence-go/ringfence/internal/plan"
	"github.com/ringfence-go/ringfence/internal/probe"
)

// The sizes of the file systems that every sandbox has.
const (
	rootSize = 16 << 20 // the directories and the small files of the base system
	devSize  = 64 << 10
	shmSize  = 64 << 20 // /dev/shm; Docker's default
)

const (
	ownDir  = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC
	newFile = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
)

// compileRoot makes the new root and leaves the host's. From here on no path leads to the host: what is
// still needed of it was opened before.
func (c *compilation) compileRoot(b *plan.Builder) {
	c.compileFiles(b)
	c.makeProcs(b)
	if c.rootTree != nil {
		c.root = c.rootTree.fd
	} else {
		c.root = makeFS(b, "the root", "tmpfs", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, tmpfsOptions(rootSize, "0755")...)
	}
	b.Call("put the new root on top of the old", kernel.MoveMountOnRoot(c.root))
	b.Call("go to the new root", kernel.Fchdir(c.root))
	b.Call("make it the root", kernel.PivotRoot())
	b.Call("take the host's tree away", kernel.UmountDetach("."))
	b.Call("forget the way back", kernel.Chdir("/"))
}

// compileDev makes a minimal /dev out of the host's devices.
func (c *compilation) compileDev(b *plan.Builder) {
	dev := makeFS(b, "/dev", "tmpfs", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC, tmpfsOptions(devSize, "0755")...)
	c.attachOwn(b, "tmpfs", dev, c.root, "dev")
	for _, d := range c.devices {
		b.Call("restrict /dev/"+d.entry.name, kernel.MountSetattr(d.fd, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC, false))
		attach(b, "bind "+d.entry.path+" on /dev/"+d.entry.name, d, dev)
	}
	for _, l := range [...][2]string{
		{"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"}, {"pts/ptmx", "ptmx"},
	} {
		b.Call("link /dev/"+l[1]+" to "+l[0], kernel.Symlinkat(l[0], dev, l[1]))
	}
	pts := makeFS(b, "/dev/pts", "devpts", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC, devptsOptions()...)
	b.Call("create /dev/pts", kernel.Mkdirat(dev, "pts", 0o755))
	c.attachOwn(b, "devpts", pts, dev, "pts")
	shm := makeFS(b, "/dev/shm", "tmpfs", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, tmpfsOptions(shmSize, "1777")...)
	b.Call("create /dev/shm", kernel.Mkdirat(dev, "shm", 0o1777))
	c.attachOwn(b, "tmpfs", shm, dev, "shm")
	b.Call("make /dev read-only", kernel.MountSetattr(dev, unix.MOUNT_ATTR_RDONLY, false))
	b.Close(pts, shm, dev)
}

// compileProc mounts the sandbox's own /proc, without the entries that tell of the host or change it.
func (c *compilation) compileProc(b *plan.Builder) {
	if !c.newProc {
		if c.rootTree == nil {
			b.Call("create /proc", kernel.Mkdirat(c.root, "proc", 0o555))
		}
		return
	}
	c.attachOwn(b, "proc", c.proc, c.root, "proc")
	for _, e := range c.facts.ProcMasked {
		c.mask(b, e)
	}
	for _, e := range c.facts.ProcReadOnly {
		name := path.Base(e.Path)
		tree := b.Open("open "+e.Path, kernel.OpenTree(c.proc, name))
		b.Call("make "+e.Path+" read-only", kernel.MountSetattr(tree, unix.MOUNT_ATTR_RDONLY, true))
		c.cover(b, "cover "+e.Path+" with itself, read-only", tree, c.proc, name)
	}
}

// makeProcs makes every /proc while the host's can still be seen: the kernel gives a new one only to
// those who see one already (mount_too_revealing in fs/namespace.c).
func (c *compilation) makeProcs(b *plan.Builder) {
	const attrs = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
	if c.newProc {
		c.proc = makeFS(b, "/proc", "proc", attrs)
	}
	for i, m := range c.mounts {
		if m.Type == Proc {
			c.sources[i] = source{fd: makeFS(b, m.Target, "proc", attrs)}
		}
	}
}

// mask covers an entry of /proc with nothing.
func (c *compilation) mask(b *plan.Builder, e probe.Entry) {
	name := path.Base(e.Path)
	var tree int
	if e.Dir {
		tree = makeFS(b, "the mask of "+e.Path, "tmpfs", unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC, tmpfsOptions(4096, "0555")...)
	} else {
		target := b.Open("open /dev of the sandbox", kernel.Openat2(c.root, "dev", ownDir, unix.RESOLVE_NO_SYMLINKS))
		tree = b.Open("open /dev/null for "+e.Path, kernel.OpenTree(target, "null"))
		b.Close(target)
	}
	c.cover(b, "mask "+e.Path, tree, c.proc, name)
}

// cover mounts tree on an entry of a file system of the sandbox's own, and closes it.
func (c *compilation) cover(b *plan.Builder, label string, tree, dir int, name string) {
	target := b.Open("open "+name+" of /proc", kernel.Openat2(dir, name, unix.O_PATH|unix.O_CLOEXEC, unix.RESOLVE_NO_SYMLINKS))
	b.Call(label, kernel.MoveMount(tree, target))
	b.Close(target, tree)
}

// compileBase fills the root of the base system.
func (c *compilation) compileBase(b *plan.Builder) {
	if c.rootTree != nil {
		return
	}
	for _, e := range c.facts.System {
		if e.Link != "" {
			b.Call("link "+e.Path+" to "+e.Link, kernel.Symlinkat(e.Link, c.root, e.Path[1:]))
		}
	}
	for _, s := range c.system {
		if path.Dir(s.entry.path) == "/" {
			c.attachNew(b, s, c.root)
		}
	}
	c.compileEtc(b)
	c.makeDir(b, c.root, "/run", 0o755)
	c.makeDir(b, c.root, "/var", 0o755)
	b.Call("link /var/tmp to /tmp", kernel.Symlinkat("../tmp", c.root, "var/tmp"))
	b.Call("link /var/run to /run", kernel.Symlinkat("../run", c.root, "var/run"))
	c.mountTmpfs(b, c.root, "/tmp", tmpfsOptions(DefaultTmpfsSize, "1777")...)
	c.makeDir(b, c.root, path.Dir(baseHome), 0o755)
	home := append(tmpfsOptions(DefaultTmpfsSize, "0700"), option{"uid", strconv.Itoa(c.ids.uid)}, option{"gid", strconv.Itoa(c.ids.gid)})
	parent := b.Open("open "+path.Dir(baseHome), kernel.Openat2(c.root, path.Dir(baseHome)[1:], ownDir, unix.RESOLVE_NO_SYMLINKS))
	c.mountTmpfs(b, parent, baseHome, home...)
	b.Close(parent)
}

// compileEtc makes an /etc that knows the sandbox's user and name and nobody else's.
func (c *compilation) compileEtc(b *plan.Builder) {
	c.makeDir(b, c.root, "/etc", 0o755)
	etc := b.Open("open /etc", kernel.Openat2(c.root, "etc", ownDir, unix.RESOLVE_NO_SYMLINKS))
	for _, f := range c.etcFiles() {
		fd := b.Open("create /etc/"+f.name, kernel.Openat(etc, f.name, newFile, 0o644))
		b.WriteString("write /etc/"+f.name, fd, f.contents)
		b.Close(fd)
	}
	var made []string
	for _, s := range c.system {
		dir := path.Dir(s.entry.path)
		switch {
		case dir == "/etc":
			c.attachNew(b, s, etc)
		case strings.HasPrefix(dir, "/etc/"):
			for _, p := range parents(dir, "/etc") {
				if !slices.Contains(made, p) {
					made = append(made, p)
					c.makeDir(b, c.root, p, 0o755)
				}
			}
			fd := b.Open("open "+dir, kernel.Openat2(c.root, dir[1:], ownDir, unix.RESOLVE_NO_SYMLINKS))
			c.attachNew(b, s, fd)
			b.Close(fd)
		}
	}
	b.Close(etc)
}

// parents returns the directories from below base down to dir.
func parents(dir, base string) []string {
	var list []string
	for ; dir != base; dir = path.Dir(dir) {
		list = append(list, dir)
	}
	slices.Reverse(list)
	return list
}

// compileSeal makes the root read-only, now that everything is in it.
func (c *compilation) compileSeal(b *plan.Builder) {
	if c.rootTree == nil {
		b.Call("make the root read-only", kernel.MountSetattr(c.root, unix.MOUNT_ATTR_RDONLY, false))
	}
}

// option is an option of a file system.
type option struct{ key, value string }

// tmpfsOptions bounds a tmpfs in bytes and in files: each file takes memory of the kernel too.
func tmpfsOptions(size int64, mode string) []option {
	const page = 4096
	return []option{{"size", strconv.FormatInt(size, 10)}, {"nr_inodes", strconv.FormatInt(max(size/page, 64), 10)}, {"mode", mode}}
}

// devptsOptions lets anyone open /dev/pts/ptmx and only its user the terminals (the kernel's
// Documentation/filesystems/devpts.rst).
func devptsOptions() []option { return []option{{"ptmxmode", "0666"}, {"mode", "0600"}} }

// makeFS makes a file system that is attached nowhere, and returns its mount.
func makeFS(b *plan.Builder, what, fstype string, attrs uint64, options ...option) int {
	label := "make a " + fstype + " for " + what
	fs := b.Open(label, kernel.Fsopen(fstype))
	for _, o := range options {
		b.Call(fmt.Sprintf("%s: set %s to %s", label, o.key, o.value), kernel.FsconfigString(fs, o.key, o.value))
	}
	b.Call(label+": create it", kernel.FsconfigCreate(fs))
	fd := b.Open(label+": mount it", kernel.Fsmount(fs, attrs))
	b.Close(fs)
	return fd
}

// attachOwn attaches the mount of a file system of ours at dir/name, which for a Root.Path must be a
// directory and no link, and leaves the mount open.
func (c *compilation) attachOwn(b *plan.Builder, fstype string, mount, dir int, name string) {
	if dir == c.root && c.rootTree == nil {
		b.Call("create /"+name, kernel.Mkdirat(c.root, name, 0o755))
	}
	target := b.Open("open "+name+" to mount "+fstype, kernel.Openat2(dir, name, ownDir, unix.RESOLVE_NO_SYMLINKS))
	b.Call("mount "+fstype+" on "+name, kernel.MoveMount(mount, target))
	b.Close(target)
}

// mountTmpfs makes a directory of the base system and mounts a tmpfs on it.
func (c *compilation) mountTmpfs(b *plan.Builder, dir int, p string, options ...option) {
	mount := makeFS(b, p, "tmpfs", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, options...)
	b.Call("create "+p, kernel.Mkdirat(dir, path.Base(p), 0o755))
	target := b.Open("open "+p, kernel.Openat2(dir, path.Base(p), ownDir, unix.RESOLVE_NO_SYMLINKS))
	b.Call("mount tmpfs on "+p, kernel.MoveMount(mount, target))
	b.Close(target, mount)
}

func (c *compilation) makeDir(b *plan.Builder, dir int, p string, mode uint32) {
	b.Call("create "+p, kernel.Mkdirat(dir, p[1:], mode))
}

// attachNew attaches a tree of the host in a directory of the base system.
func (c *compilation) attachNew(b *plan.Builder, s source, dir int) {
	attach(b, "bind "+s.entry.path+" on "+s.entry.path, s, dir)
}

// attach creates a mount point in dir, which is ours, attaches a tree there, and closes the tree.
func attach(b *plan.Builder, label string, s source, dir int) {
	var target int
	if s.entry.isDir {
		b.Call("create "+s.entry.path, kernel.Mkdirat(dir, s.entry.name, 0o755))
		target = b.Open("open "+s.entry.path, kernel.Openat2(dir, s.entry.name, ownDir, unix.RESOLVE_NO_SYMLINKS))
	} else {
		target = b.Open("create "+s.entry.path, kernel.Openat(dir, s.entry.name, newFile, 0o444))
	}
	b.Call(label, kernel.MoveMount(s.fd, target))
	b.Close(target, s.fd)
}
