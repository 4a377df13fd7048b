package filetree

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// node is something that was found, held by a descriptor that can do nothing with it (O_PATH of open(2)).
type node struct {
	fd   int
	stat unix.Stat_t
}

const (
	// resolve keeps a path below where it starts: no link is followed, magic or not, and ".." of the root
	// is the root.
	resolve = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS
	// attempts bounds how often an interrupted call is made again. The kernel answers EAGAIN when a rename
	// or a mount anywhere came between the components of a path (openat2(2)).
	attempts = 64
)

// find returns what path is, from root, without a look at what it is good for.
func find(root int, path string) (node, error) {
	if path == "" {
		path = "."
	}
	var fd int
	err := again(func() (err error) {
		fd, err = unix.Openat2(root, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: resolve})
		return err
	})
	switch {
	case errors.Is(err, unix.ELOOP):
		return node{fd: -1}, &caseOf{ErrKind, "there is a symbolic link on the way, which is not followed"}
	case err != nil:
		return node{fd: -1}, err // with a NUL in the path fd is 0, somebody else's
	}
	n := node{fd: fd}
	if err := unix.Fstat(n.fd, &n.stat); err != nil {
		n.close()
		return n, err
	}
	return n, nil
}

// again calls until what interrupts it is over, or is taken to stay.
func again(call func() error) error {
	var err error
	for range attempts {
		if err = call(); !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
	return err
}

func (n *node) close() {
	if n.fd >= 0 {
		unix.Close(n.fd)
	}
	n.fd = -1
}

func (n *node) kind() uint32    { return n.stat.Mode & unix.S_IFMT }
func (n *node) isDir() bool     { return n.kind() == unix.S_IFDIR }
func (n *node) isRegular() bool { return n.kind() == unix.S_IFREG }
func (n *node) isLink() bool    { return n.kind() == unix.S_IFLNK }

// usable holds what must be true of everything that is read.
func (n *node) usable(links bool) error {
	switch n.kind() {
	case unix.S_IFREG, unix.S_IFDIR:
	case unix.S_IFLNK:
		if !links {
			return &caseOf{ErrKind, "a symbolic link, which is not followed"}
		}
	case unix.S_IFIFO:
		return &caseOf{ErrKind, "a fifo"}
	case unix.S_IFSOCK:
		return &caseOf{ErrKind, "a socket"}
	case unix.S_IFCHR, unix.S_IFBLK:
		return &caseOf{ErrKind, "a device"}
	default:
		return ErrKind
	}
	return n.real()
}

// pseudo are the file systems whose files the kernel makes up as they are read, by their numbers in
// linux/magic.h. What they tell is of the reader, or of the machine.
var pseudo = []int64{
	unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC, unix.DEVPTS_SUPER_MAGIC,
	unix.DEBUGFS_MAGIC, unix.TRACEFS_MAGIC, unix.SECURITYFS_MAGIC, unix.SELINUX_MAGIC, unix.SMACK_MAGIC, unix.BPF_FS_MAGIC,
	unix.NSFS_MAGIC, unix.PIPEFS_MAGIC, unix.SOCKFS_MAGIC, unix.ANON_INODE_FS_MAGIC, unix.PID_FS_MAGIC, unix.PSTOREFS_MAGIC,
	unix.EFIVARFS_MAGIC, unix.BINFMTFS_MAGIC, unix.AUTOFS_SUPER_MAGIC, unix.XENFS_SUPER_MAGIC,
	unix.DMA_BUF_MAGIC, unix.SECRETMEM_MAGIC,
	0x07655821, // RDTGROUP_SUPER_MAGIC of linux/magic.h
	0x62656570, // CONFIGFS_MAGIC of fs/configfs/mount.c
	0x19800202, // MQUEUE_MAGIC of ipc/mqueue.c
	0x65735543, // FUSE_CTL_SUPER_MAGIC of fs/fuse/control.c
	0x67596969, // RPCAUTH_GSSMAGIC of net/sunrpc/rpc_pipe.c
	0x6e667364, // NFSD_SUPER_MAGIC of fs/nfsd/nfsctl.c
}

// real reports an error for what is in a pseudo file system.
func (n *node) real() error {
	var s unix.Statfs_t
	if err := again(func() error { return unix.Fstatfs(n.fd, &s) }); err != nil {
		return err
	}
	if slices.Contains(pseudo, int64(s.Type)) {
		return ErrPseudo
	}
	return nil
}

// open opens a regular file or a directory that was found, for reading: that one, whatever its name stands
// for by now. A lease that somebody holds on it is an error and no wait (fcntl(2), F_SETLEASE).
func (n *node) open() (*os.File, error) {
	const how = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	path, flags := "/proc/thread-self/fd/"+strconv.Itoa(n.fd), how
	at := unix.AT_FDCWD
	if n.isDir() {
		at, path, flags = n.fd, ".", how|unix.O_DIRECTORY
	}
	var fd int
	err := again(func() (err error) {
		fd, err = unix.Openat(at, path, flags, 0)
		return err
	})
	if errors.Is(err, unix.EAGAIN) {
		return nil, &leased{err}
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "a file of the tree"), nil
}

// leased is EAGAIN of an open.
type leased struct{ error }

func (e *leased) Error() string { return "somebody holds a lease on it" }
func (e *leased) Unwrap() error { return e.error }

// link returns what a symbolic link holds.
func (n *node) link() (string, error) {
	buf := make([]byte, unix.PathMax)
	c, err := unix.Readlinkat(n.fd, "", buf)
	if err != nil {
		return "", err
	}
	return string(buf[:c]), nil
}

// info is what a file is like. It tells nothing of the host: no number of a device or of an owner.
type info struct {
	name string
	size int64
	mode fs.FileMode
	time time.Time
}

// latest is the last second that every format of an archive and of a time can hold. Anyone may give their
// files a time of any year.
const latest = 253402300799 // 9999-12-31T23:59:59Z

func (n *node) info(name string) *info {
	i := &info{name: name, size: n.stat.Size, mode: fs.FileMode(n.stat.Mode & 0o777)} // no setuid bit
	switch n.kind() {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		i.mode |= fs.ModeDir
	case unix.S_IFLNK:
		i.mode |= fs.ModeSymlink
	case unix.S_IFIFO:
		i.mode |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		i.mode |= fs.ModeSocket
	case unix.S_IFCHR:
		i.mode |= fs.ModeDevice | fs.ModeCharDevice
	case unix.S_IFBLK:
		i.mode |= fs.ModeDevice
	default:
		i.mode |= fs.ModeIrregular
	}
	if seconds := int64(n.stat.Mtim.Sec); seconds >= 0 && seconds <= latest {
		i.time = time.Unix(n.stat.Mtim.Unix())
	} else {
		i.time = time.Unix(min(max(seconds, 0), latest), 0)
	}
	return i
}

func (i *info) Name() string       { return i.name }
func (i *info) Size() int64        { return i.size }
func (i *info) Mode() fs.FileMode  { return i.mode }
func (i *info) ModTime() time.Time { return i.time }
func (i *info) IsDir() bool        { return i.mode.IsDir() }
func (i *info) Sys() any           { return nil }
