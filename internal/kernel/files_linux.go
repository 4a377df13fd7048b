package kernel

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// The calls of files and mounts.

func showOpenFlags(a Arg) string { return openFlags(uint64(a.Value)) }

func openFlags(v uint64) string {
	return flags(v, []flag{
		{unix.O_PATH, "O_PATH"}, {unix.O_DIRECTORY, "O_DIRECTORY"}, {unix.O_NOFOLLOW, "O_NOFOLLOW"}, {unix.O_WRONLY, "O_WRONLY"},
		{unix.O_CREAT, "O_CREAT"}, {unix.O_EXCL, "O_EXCL"}, {unix.O_CLOEXEC, "O_CLOEXEC"},
	})
}

// Openat opens path, from base.
func Openat(base int, path string, how int, mode uint32) Call {
	args := []Arg{dir(base), text(path), {Value: int64(how), Show: showOpenFlags}}
	if how&unix.O_CREAT != 0 {
		args = append(args, octal(mode))
	}
	return Call{Name: "openat", Base: base, Path: path, Args: args}
}

// Openat2 opens path, from base, within the bounds that resolve sets.
func Openat2(base int, path string, how int, resolve uint64) Call {
	m := Zeroed(unix.SizeofOpenHow)
	m.put64(0, uint64(how))
	m.put64(16, resolve)
	return Call{Name: "openat2", Base: base, Path: path, Resolve: resolve,
		Args: []Arg{dir(base), text(path), {Mem: m, Show: showOpenHow}, num(unix.SizeofOpenHow)}}
}

func showOpenHow(a Arg) string {
	return "{flags=" + openFlags(a.Mem.uint64(0)) + ", resolve=" + flags(a.Mem.uint64(16), []flag{
		{unix.RESOLVE_IN_ROOT, "RESOLVE_IN_ROOT"}, {unix.RESOLVE_NO_MAGICLINKS, "RESOLVE_NO_MAGICLINKS"},
		{unix.RESOLVE_NO_SYMLINKS, "RESOLVE_NO_SYMLINKS"}, {unix.RESOLVE_NO_XDEV, "RESOLVE_NO_XDEV"},
	}) + "}"
}

// Mkdirat makes a directory.
func Mkdirat(base int, path string, mode uint32) Call {
	return Call{Name: "mkdirat", Base: base, Path: path, Args: []Arg{dir(base), text(path), octal(mode)}}
}

// Mknodat makes an empty regular file, and opens nothing.
func Mknodat(base int, path string, mode uint32) Call {
	return Call{Name: "mknodat", Base: base, Path: path,
		Args: []Arg{dir(base), text(path), {Value: int64(unix.S_IFREG | mode), Show: showRegular}, num(0)}}
}

func showRegular(a Arg) string { return fmt.Sprintf("S_IFREG|%#o", a.Value&^unix.S_IFREG) }

// Symlinkat makes a symbolic link.
func Symlinkat(target string, base int, path string) Call {
	return Call{Name: "symlinkat", Base: base, Path: path, Args: []Arg{text(target), dir(base), text(path)}}
}

// Chdir changes the working directory.
func Chdir(path string) Call {
	return Call{Name: "chdir", Base: unix.AT_FDCWD, Path: path, Args: []Arg{text(path)}}
}

// Fchdir changes the working directory to an open one.
func Fchdir(fd int) Call { return Call{Name: "fchdir", Args: []Arg{num(int64(fd))}} }

// PivotRoot makes the working directory the root, and puts the old root on top of it.
func PivotRoot() Call { return Call{Name: "pivot_root", Args: []Arg{text("."), text(".")}} }

// UmountDetach takes what is mounted on path away from the tree.
func UmountDetach(path string) Call {
	return Call{Name: "umount2", Base: unix.AT_FDCWD, Path: path, Args: []Arg{text(path), named(unix.MNT_DETACH, "MNT_DETACH")}}
}

// MakePrivate stops mounts from propagating into and out of the mount namespace.
func MakePrivate() Call {
	return Call{Name: "mount", Args: []Arg{null(), text("/"), null(), named(unix.MS_REC|unix.MS_PRIVATE, "MS_REC|MS_PRIVATE"), null()}}
}

// OpenTree clones the mounts at path, with those below it, into a tree that is attached nowhere.
func OpenTree(base int, path string) Call {
	const how = unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_RECURSIVE
	return Call{Name: "open_tree", Base: base, Path: path,
		Args: []Arg{dir(base), text(path), named(how, "OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC|AT_RECURSIVE")}}
}

func mountAttrs(v uint64) string {
	return flags(v, []flag{
		{unix.MOUNT_ATTR_RDONLY, "MOUNT_ATTR_RDONLY"}, {unix.MOUNT_ATTR_NOSUID, "MOUNT_ATTR_NOSUID"},
		{unix.MOUNT_ATTR_NODEV, "MOUNT_ATTR_NODEV"}, {unix.MOUNT_ATTR_NOEXEC, "MOUNT_ATTR_NOEXEC"},
	})
}

// MountSetattr sets attributes on the mount behind fd and, if all is true, on those below it.
func MountSetattr(fd int, set uint64, all bool) Call {
	m := Zeroed(32) // struct mount_attr, MOUNT_ATTR_SIZE_VER0
	m.put64(0, set)
	how := named(unix.AT_EMPTY_PATH, "AT_EMPTY_PATH")
	if all {
		how = named(unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, "AT_EMPTY_PATH|AT_RECURSIVE")
	}
	return Call{Name: "mount_setattr", Args: []Arg{num(int64(fd)), text(""), how, {Mem: m, Show: showMountAttr}, num(32)}}
}

func showMountAttr(a Arg) string { return "{attr_set=" + mountAttrs(a.Mem.uint64(0)) + "}" }

// MoveMount attaches the mount behind fd to what target is open on.
func MoveMount(fd, target int) Call {
	const how = unix.MOVE_MOUNT_F_EMPTY_PATH | unix.MOVE_MOUNT_T_EMPTY_PATH
	return Call{Name: "move_mount", Args: []Arg{num(int64(fd)), text(""), num(int64(target)), text(""),
		named(how, "MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH")}}
}

// MoveMountAt attaches the mount behind fd to path, from base; a link at its end is not followed.
func MoveMountAt(fd, base int, path string) Call {
	return Call{Name: "move_mount", Base: base, Path: path, Args: []Arg{num(int64(fd)), text(""), dir(base), text(path),
		named(unix.MOVE_MOUNT_F_EMPTY_PATH, "MOVE_MOUNT_F_EMPTY_PATH")}}
}

// MoveMountOnRoot attaches the mount behind fd on top of the root.
func MoveMountOnRoot(fd int) Call {
	return MoveMountAt(fd, unix.AT_FDCWD, "/")
}

// Fsopen begins to make a file system.
func Fsopen(fstype string) Call {
	return Call{Name: "fsopen", Args: []Arg{text(fstype), named(unix.FSOPEN_CLOEXEC, "FSOPEN_CLOEXEC")}}
}

// FsconfigString sets an option of a file system.
func FsconfigString(fd int, key, value string) Call {
	return Call{Name: "fsconfig", Args: []Arg{num(int64(fd)), named(unix.FSCONFIG_SET_STRING, "FSCONFIG_SET_STRING"), text(key), text(value), num(0)}}
}

// FsconfigCreate makes the file system.
func FsconfigCreate(fd int) Call {
	return Call{Name: "fsconfig", Args: []Arg{num(int64(fd)), named(unix.FSCONFIG_CMD_CREATE, "FSCONFIG_CMD_CREATE"), null(), null(), num(0)}}
}

// Fsmount makes a mount of a file system, attached nowhere.
func Fsmount(fd int, attrs uint64) Call {
	return Call{Name: "fsmount", Args: []Arg{num(int64(fd)), named(unix.FSMOUNT_CLOEXEC, "FSMOUNT_CLOEXEC"), {Value: int64(attrs), Show: showAttrs}}}
}

func showAttrs(a Arg) string { return mountAttrs(uint64(a.Value)) }
