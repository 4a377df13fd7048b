package kernel

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// The calls of a sandbox without namespaces: Landlock (landlock(7)), clone(2) in its old form, and signals of
// files to a group of processes.

// Ruleset is what a Landlock ruleset handles: what of it no rule allows is refused.
type Ruleset struct {
	FS, Net, Scoped uint64 // LANDLOCK_ACCESS_FS_*, LANDLOCK_ACCESS_NET_*, LANDLOCK_SCOPE_*
}

// LandlockCreateRuleset makes a ruleset. The struct is as long as it has anything: an older kernel refuses what
// it does not know unless that is zero.
func LandlockCreateRuleset(r Ruleset) Call {
	m := Zeroed(24) // struct landlock_ruleset_attr of ABI 6
	m.put64(0, r.FS)
	m.put64(8, r.Net)
	m.put64(16, r.Scoped)
	size := int64(8)
	if r.Net != 0 {
		size = 16
	}
	if r.Scoped != 0 {
		size = 24
	}
	return Call{Name: "landlock_create_ruleset", Args: []Arg{{Mem: m, Show: showRuleset}, num(size), num(0)}}
}

func showRuleset(a Arg) string {
	s := "{handled_access_fs=" + flags(a.Mem.uint64(0), landlockFS)
	if v := a.Mem.uint64(8); v != 0 {
		s += ", handled_access_net=" + flags(v, landlockNet)
	}
	if v := a.Mem.uint64(16); v != 0 {
		s += ", scoped=" + flags(v, landlockScopes)
	}
	return s + "}"
}

// LandlockAllow allows access to what fd stands for, and to all below it.
func LandlockAllow(ruleset, fd int, access uint64) Call {
	m := Zeroed(12) // struct landlock_path_beneath_attr, which is packed
	m.put64(0, access)
	m.put32(8, uint32(fd))
	return Call{Name: "landlock_add_rule", Args: []Arg{num(int64(ruleset)), named(unix.LANDLOCK_RULE_PATH_BENEATH, "LANDLOCK_RULE_PATH_BENEATH"),
		{Mem: m, Show: showPathBeneath}, num(0)}}
}

func showPathBeneath(a Arg) string {
	return fmt.Sprintf("{allowed_access=%s, parent_fd=%d}", flags(a.Mem.uint64(0), landlockFS), a.Mem.uint32(8))
}

// LandlockRestrictSelf holds the process, and all that come from it, to a ruleset.
func LandlockRestrictSelf(ruleset int) Call {
	return Call{Name: "landlock_restrict_self", Args: []Arg{num(int64(ruleset)), num(0)}}
}

var (
	landlockFS = []flag{
		{unix.LANDLOCK_ACCESS_FS_EXECUTE, "EXECUTE"}, {unix.LANDLOCK_ACCESS_FS_WRITE_FILE, "WRITE_FILE"},
		{unix.LANDLOCK_ACCESS_FS_READ_FILE, "READ_FILE"}, {unix.LANDLOCK_ACCESS_FS_READ_DIR, "READ_DIR"},
		{unix.LANDLOCK_ACCESS_FS_REMOVE_DIR, "REMOVE_DIR"}, {unix.LANDLOCK_ACCESS_FS_REMOVE_FILE, "REMOVE_FILE"},
		{unix.LANDLOCK_ACCESS_FS_MAKE_CHAR, "MAKE_CHAR"}, {unix.LANDLOCK_ACCESS_FS_MAKE_DIR, "MAKE_DIR"},
		{unix.LANDLOCK_ACCESS_FS_MAKE_REG, "MAKE_REG"}, {unix.LANDLOCK_ACCESS_FS_MAKE_SOCK, "MAKE_SOCK"},
		{unix.LANDLOCK_ACCESS_FS_MAKE_FIFO, "MAKE_FIFO"}, {unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK, "MAKE_BLOCK"},
		{unix.LANDLOCK_ACCESS_FS_MAKE_SYM, "MAKE_SYM"}, {unix.LANDLOCK_ACCESS_FS_REFER, "REFER"},
		{unix.LANDLOCK_ACCESS_FS_TRUNCATE, "TRUNCATE"}, {unix.LANDLOCK_ACCESS_FS_IOCTL_DEV, "IOCTL_DEV"},
	}
	landlockNet    = []flag{{unix.LANDLOCK_ACCESS_NET_BIND_TCP, "BIND_TCP"}, {unix.LANDLOCK_ACCESS_NET_CONNECT_TCP, "CONNECT_TCP"}}
	landlockScopes = []flag{{unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET, "ABSTRACT_UNIX_SOCKET"}, {unix.LANDLOCK_SCOPE_SIGNAL, "SIGNAL"}}
)

// Clone starts a process without namespaces of its own, by the call that filters of containers let through: they
// hide clone3(2), whose flags they cannot see. Of parent and child, which may be nil, the first takes what the
// flags say of it, and the second the ID of the new process, in its own memory.
func Clone(f CloneFlags, arch Arch, parent *Memory, at int, child *Memory, childAt int) Call {
	signal := ""
	bits := f
	if f&unix.CLONE_PARENT == 0 { // clone(2): with it, the exit signal is that of the parent
		bits |= CloneFlags(unix.SIGCHLD)
		signal = "|SIGCHLD"
	}
	args := []Arg{{Value: int64(bits), Text: flags(uint64(f), cloneFlags) + signal}, null(), null(), null(), null()}
	if f == 0 {
		args[0].Text = "SIGCHLD"
	}
	if parent != nil {
		args[2] = Arg{Mem: parent, Offset: at, Text: "&pid"}
		if f&unix.CLONE_PIDFD != 0 {
			args[2].Text = "&pidfd"
		}
	}
	if child != nil {
		args[CloneChildArg(arch)] = Arg{Mem: child, Offset: childAt, Text: "&own"}
	}
	return Call{Name: "clone", Args: args}
}

// CloneChildArg is which argument of clone(2) says where the new process finds its ID (clone(2), "C
// library/kernel differences").
func CloneChildArg(arch Arch) int {
	if arch == ARM64 {
		return 4
	}
	return 3
}

// Pipe opens a pipe, whose ends go to m.
func Pipe(m *Memory) Call {
	return Call{Name: "pipe2", Args: []Arg{{Mem: m, Text: "&ends"}, named(unix.O_CLOEXEC, "O_CLOEXEC")}}
}

// OwnerGroup is F_OWNER_PGRP of linux/fcntl.h: the first member of struct f_owner_ex, for a group of processes.
const OwnerGroup = 2

// PutOwner writes struct f_owner_ex for a group of processes to the given offset of m. The ID is OwnerID behind it.
func PutOwner(m *Memory, at int) { m.put32(at, OwnerGroup) }

// OwnerID is where the ID stands in struct f_owner_ex.
const OwnerID = 4

// SetOwnerOf makes who stands at the given offset of m the owner of the signals of fd.
func SetOwnerOf(fd int, m *Memory, at int) Call {
	return fcntl(fd, unix.F_SETOWN_EX, "F_SETOWN_EX", Arg{Mem: m, Offset: at, Text: "{F_OWNER_PGRP, own}"})
}

// SetSignal makes sig the signal of fd.
func SetSignal(fd int, sig unix.Signal) Call {
	return fcntl(fd, unix.F_SETSIG, "F_SETSIG", named(int64(sig), signalName(sig)))
}
