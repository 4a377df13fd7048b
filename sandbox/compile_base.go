//go:build linux

package sandbox

import (
	"path"
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
	// ".." of the root is what is mounted on top of it: nothing, or it would be another file system.
	b.Open("check that nothing is above the root", kernel.Openat2(unix.AT_FDCWD, "..", ownDir, unix.RESOLVE_NO_XDEV))
}

// compileDev makes a minimal /dev out of the host's devices.
func (c *compilation) compileDev(b *plan.Builder) {
	if c.rootTree == nil {
		// A directory of the root, which is read-only in the end, is as good as a mount of its own, and
		// takes less time to make and to remove.
		c.dev = c.openNew(b, c.root, "/dev")
	} else {
		c.dev = makeFS(b, "/dev", "tmpfs", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC, tmpfsOptions(devSize, "0755")...)
		c.mountOnRoot(b, "tmpfs", c.dev, "dev")
	}
	for _, d := range c.devices {
		b.Call("restrict "+d.entry.path, kernel.MountSetattr(d.fd, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC, false))
		attach(b, d, c.dev)
	}
	for _, l := range [...][2]string{
		{"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"}, {"pts/ptmx", "ptmx"},
	} {
		b.Call("link /dev/"+l[1]+" to "+l[0], kernel.Symlinkat(l[0], c.dev, l[1]))
	}
	c.pts = makeFS(b, "/dev/pts", "devpts", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC, devptsOptions()...)
	mountNew(b, "devpts", c.pts, c.dev, "/dev/pts")
	shm := makeFS(b, "/dev/shm", "tmpfs", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, tmpfsOptions(shmSize, "1777")...)
	mountNew(b, "tmpfs", shm, c.dev, "/dev/shm")
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

// compileProc mounts the sandbox's own /proc, without the entries that tell of the host or change it.
func (c *compilation) compileProc(b *plan.Builder) {
	if !c.newProc {
		if c.rootTree == nil {
			makeDir(b, c.root, "/proc")
			return
		}
		// The tree may hold the host's /proc: nothing is better than that.
		nothing := makeFS(b, "/proc", "tmpfs", maskAttrs, tmpfsOptions(4096, "0555")...)
		c.mountOnRoot(b, "tmpfs", nothing, "proc")
		return
	}
	c.mountOnRoot(b, "proc", c.proc, "proc")
	c.compileShares(b)
	c.hideHost(b, c.proc, "/proc")
}

// hideHost takes the entries that tell of the host away from a /proc that is mounted at a path, and makes those
// that change it read-only.
func (c *compilation) hideHost(b *plan.Builder, proc int, at string) {
	for _, e := range c.facts.ProcMasked {
		c.mask(b, proc, at, e)
	}
	for _, e := range c.facts.ProcReadOnly {
		name := path.Base(e.Path)
		p := at + "/" + name
		tree := b.Open("open "+p, kernel.OpenTree(proc, name))
		b.Call("make "+p+" read-only", kernel.MountSetattr(tree, unix.MOUNT_ATTR_RDONLY, true))
		b.Call("cover "+p+" with itself, read-only", kernel.MoveMountAt(tree, proc, name))
	}
}

// maskAttrs are the attributes of what stands in the place of something.
const maskAttrs = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC

// mask covers an entry of a /proc with nothing.
func (c *compilation) mask(b *plan.Builder, proc int, at string, e probe.Entry) {
	var tree int
	name := path.Base(e.Path)
	p := at + "/" + name
	if e.Dir {
		tree = makeFS(b, "the mask of "+p, "tmpfs", maskAttrs, tmpfsOptions(4096, "0555")...)
	} else {
		tree = b.Open("open /dev/null for "+p, kernel.OpenTree(c.dev, "null"))
	}
	b.Call("mask "+p, kernel.MoveMountAt(tree, proc, name))
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
			attach(b, s, c.root)
		}
	}
	c.compileEtc(b)
	c.compileCgroup(b)
	makeDir(b, c.root, "/run")
	variable := c.openNew(b, c.root, "/var")
	b.Call("link /var/tmp to /tmp", kernel.Symlinkat("/tmp", variable, "tmp"))
	b.Call("link /var/run to /run", kernel.Symlinkat("/run", variable, "run"))
	tmp := makeFS(b, "/tmp", "tmpfs", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, tmpfsOptions(DefaultTmpfsSize, "1777")...)
	mountNew(b, "tmpfs", tmp, c.root, "/tmp")
	home := makeFS(b, baseHome, "tmpfs", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, c.ownedBy(tmpfsOptions(DefaultTmpfsSize, "0700"))...)
	mountNew(b, "tmpfs", home, c.openNew(b, c.root, path.Dir(baseHome)), baseHome)
}

// compileCgroup shows the sandbox its own cgroup as the root of all, read-only, so that programs which ask
// how much memory and how many processors they have are told their limits. Without a cgroup namespace it
// would be the host's root.
func (c *compilation) compileCgroup(b *plan.Builder) {
	if !c.placement.placed() || c.namespaces&unix.CLONE_NEWCGROUP == 0 {
		return
	}
	fs := c.openNew(b, c.openNew(b, c.root, "/sys"), "/sys/fs")
	mountNew(b, "cgroup2", makeFS(b, "/sys/fs/cgroup", "cgroup2", maskAttrs), fs, "/sys/fs/cgroup")
}

// compileEtc makes an /etc that knows the sandbox's user and name and nobody else's.
func (c *compilation) compileEtc(b *plan.Builder) {
	etc := c.openNew(b, c.root, "/etc")
	for _, f := range c.etcFiles() {
		fd := b.Open("create /etc/"+f.name, kernel.Openat(etc, f.name, newFile, 0o644))
		b.WriteString("write /etc/"+f.name, fd, f.contents)
		b.Close(fd)
	}
	dirs := map[string]int{"/etc": etc}
	for _, s := range c.system {
		if dir := path.Dir(s.entry.path); strings.HasPrefix(s.entry.path, "/etc/") {
			attach(b, s, c.openBelow(b, dirs, dir))
		}
	}
}

// openBelow returns a directory of the base system, made with those above it if it is not in dirs.
func (c *compilation) openBelow(b *plan.Builder, dirs map[string]int, dir string) int {
	fd, ok := dirs[dir]
	if !ok {
		fd = c.openNew(b, c.openBelow(b, dirs, path.Dir(dir)), dir)
		dirs[dir] = fd
	}
	return fd
}

// compileSeal makes the root, or a /dev on a tree, read-only, now that everything is in it.
func (c *compilation) compileSeal(b *plan.Builder) {
	if c.rootTree == nil {
		b.Call("make the root read-only", kernel.MountSetattr(c.root, unix.MOUNT_ATTR_RDONLY, false))
	} else {
		b.Call("make /dev read-only", kernel.MountSetattr(c.dev, unix.MOUNT_ATTR_RDONLY, false))
	}
}

// option is an option of a file system.
type option struct{ key, value string }

// tmpfsOptions bounds a tmpfs in bytes and in files: each file takes memory of the kernel too.
func tmpfsOptions(size int64, mode string) []option {
	const page = 4096
	return []option{{"size", strconv.FormatInt(size, 10)}, {"nr_inodes", strconv.FormatInt(max(size/page, 64), 10)}, {"mode", mode}}
}

// maxTerminals is how many terminals a devpts of a sandbox may have. All of the host's together have 4096 (sysctl
// kernel.pty.max), of which 1024 are for the host's own (kernel.pty.reserve): the sandboxes share 3072.
const maxTerminals = 256

// devptsOptions lets anyone open /dev/pts/ptmx and only its user the terminals (the kernel's
// Documentation/filesystems/devpts.rst).
func devptsOptions() []option {
	return []option{{"ptmxmode", "0666"}, {"mode", "0600"}, {"max", strconv.Itoa(maxTerminals)}}
}

// makeFS makes a file system that is attached nowhere, and returns its mount. What it opens is closed
// with everything else before the command is made: closing one by one took a tenth of the set-up.
func makeFS(b *plan.Builder, what, fstype string, attrs uint64, options ...option) int {
	label := "make a " + fstype + " for " + what
	fs := b.Open(label, kernel.Fsopen(fstype))
	for _, o := range options {
		b.Call(label+": set "+o.key+" to "+o.value, kernel.FsconfigString(fs, o.key, o.value))
	}
	b.Call(label+": create it", kernel.FsconfigCreate(fs))
	return b.Open(label+": mount it", kernel.Fsmount(fs, attrs))
}

// mountOnRoot mounts a file system of ours on a directory of the root, which a Root.Path must have: a
// link there is not followed, and refused with ENOTDIR.
func (c *compilation) mountOnRoot(b *plan.Builder, fstype string, mount int, name string) {
	if c.rootTree == nil {
		makeDir(b, c.root, "/"+name)
	} else if c.writable {
		b.Call("create /"+name, kernel.Mkdirat(c.root, name, 0o755)).Tolerates("it may exist", unix.EEXIST)
	}
	b.Call("mount "+fstype+" on /"+name, kernel.MoveMountAt(mount, c.root, name))
}

// mountNew makes a directory below dir, which is ours, and mounts a file system on it.
func mountNew(b *plan.Builder, fstype string, mount, dir int, p string) {
	makeDir(b, dir, p)
	b.Call("mount "+fstype+" on "+p, kernel.MoveMountAt(mount, dir, path.Base(p)))
}

// makeDir makes the directory p below its parent dir.
func makeDir(b *plan.Builder, dir int, p string) {
	b.Call("create "+p, kernel.Mkdirat(dir, path.Base(p), 0o755))
}

// openNew makes the directory p below its parent dir, and opens it.
func (c *compilation) openNew(b *plan.Builder, dir int, p string) int {
	makeDir(b, dir, p)
	return b.Open("open "+p, kernel.Openat2(dir, path.Base(p), ownDir, unix.RESOLVE_NO_SYMLINKS))
}

// attach makes a mount point for a tree of the host in dir, which is ours, and attaches the tree.
func attach(b *plan.Builder, s source, dir int) {
	if s.entry.isDir {
		b.Call("create "+s.entry.path, kernel.Mkdirat(dir, s.entry.name, 0o755))
	} else {
		b.Call("create "+s.entry.path, kernel.Mknodat(dir, s.entry.name, 0o444))
	}
	b.Call("bind "+s.entry.path+" on "+s.entry.path, kernel.MoveMountAt(s.fd, dir, s.entry.name))
}
