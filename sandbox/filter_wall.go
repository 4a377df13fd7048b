//go:build linux

package sandbox

import (
	"sync"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/seccomp"
)

// The filter of a command without namespaces. It stands for what namespaces make harmless, and is loaded beside
// that of the Spec, which can therefore take more away, and give nothing back. It is the default policy with
// these rules in front, so that a call that nobody has looked at is not among those that are allowed.

// wallPolicy is for a version of Landlock, and with the host's network or without one.
func wallPolicy(abi int, hostNet bool) *seccomp.Policy {
	p := seccomp.Default()
	var rules []seccomp.Rule
	for _, add := range []func() []seccomp.Rule{wallFiles, wallDescriptors, wallProcesses} {
		rules = append(rules, add()...)
	}
	if abi < abiTruncate {
		rules = append(rules, wallTruncate()...)
	}
	if abi < abiScope {
		rules = append(rules, wallSignals()...)
	}
	p.Rules = append(append(rules, wallSockets(hostNet)...), p.Rules...)
	return p
}

// equal is a condition on an argument that is 32 bits wide in the kernel.
func equal(index int, value uint64) seccomp.Arg {
	return seccomp.Arg{Index: index, Op: seccomp.Equal, Value: value, Mask: seccomp.Low32}
}

func refuseCall(errno unix.Errno, args []seccomp.Arg, names ...string) seccomp.Rule {
	return seccomp.Rule{Names: names, Args: args, Action: seccomp.Errno(uint16(errno))}
}

func allowCall(args []seccomp.Arg, names ...string) seccomp.Rule {
	return seccomp.Rule{Names: names, Args: args, Action: seccomp.Allow}
}

// wallFiles refuses what is done to files by their path, or by any descriptor, and Landlock leaves to their modes:
// the command has the caller's own ID. A file's times, mode and attributes stay as they are also where it may be
// written, since a filter cannot tell which file it is.
func wallFiles() []seccomp.Rule {
	return []seccomp.Rule{
		refuseCall(unix.EPERM, nil, "chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchown", "fchownat",
			"utime", "utimes", "utimensat", "futimesat",
			"setxattr", "lsetxattr", "fsetxattr", "setxattrat", "removexattr", "lremovexattr", "fremovexattr", "removexattrat",
			"file_setattr", "file_getattr"),
		// Attributes are contents, of files that may not be opened.
		refuseCall(unix.EPERM, nil, "getxattr", "lgetxattr", "getxattrat", "listxattr", "llistxattr", "listxattrat"),
		// They tell who uses files that may not be opened, and where the host has what mounted.
		refuseCall(unix.EPERM, nil, "inotify_init", "inotify_init1", "inotify_add_watch", "fanotify_init", "fanotify_mark",
			"name_to_handle_at", "open_by_handle_at", "statmount", "listmount"),
		// The fourth access mode opens a file neither for reading nor for writing, which Landlock takes for nothing
		// to restrict, and is enough for ioctl(2) (open(2), "File access mode").
		refuseCall(unix.EPERM, []seccomp.Arg{{Index: 1, Op: seccomp.Equal, Value: unix.O_ACCMODE, Mask: unix.O_ACCMODE}}, "open"),
		refuseCall(unix.EPERM, []seccomp.Arg{{Index: 2, Op: seccomp.Equal, Value: unix.O_ACCMODE, Mask: unix.O_ACCMODE}}, "openat"),
		// Its flags are in memory, where a filter cannot see them; C libraries and Go use openat.
		refuseCall(unix.ENOSYS, nil, "openat2"),
		refuseCall(unix.EPERM, nil, "mount", "umount2", "pivot_root", "chroot", "fsopen", "fsconfig", "fsmount", "fspick", "move_mount",
			"open_tree", "open_tree_attr", "mount_setattr", "setns", "quotactl", "quotactl_fd"),
	}
}

// wallTruncate is for a Landlock that does not restrict truncation.
func wallTruncate() []seccomp.Rule {
	const how = unix.O_TRUNC | unix.O_ACCMODE
	return []seccomp.Rule{
		refuseCall(unix.EPERM, nil, "truncate"),
		refuseCall(unix.EPERM, []seccomp.Arg{{Index: 1, Op: seccomp.Equal, Value: unix.O_TRUNC | unix.O_RDONLY, Mask: how}}, "open"),
		refuseCall(unix.EPERM, []seccomp.Arg{{Index: 2, Op: seccomp.Equal, Value: unix.O_TRUNC | unix.O_RDONLY, Mask: how}}, "openat"),
	}
}

// The requests of ioctl(2) and fcntl(2) that stay: those on what a process does with its own descriptors. Others set
// attributes of files that may only be read, type at terminals, or send signals to processes by number.
var (
	wallIoctls = []uint64{
		unix.TCGETS, unix.TCSETS, unix.TCSETSW, unix.TCSETSF, unix.TIOCGWINSZ, unix.TIOCGPGRP, unix.TIOCOUTQ,
		unix.TIOCINQ, 0x5421 /* FIONBIO */, 0x5450 /* FIONCLEX */, 0x5451, /* FIOCLEX */
		unix.FICLONE, unix.FICLONERANGE, unix.FS_IOC_GETFLAGS,
	}
	// wallNetIoctls ask for interfaces and their addresses (netdevice(7)).
	wallNetIoctls = []uint64{
		unix.SIOCGIFNAME, unix.SIOCGIFCONF, unix.SIOCGIFFLAGS, unix.SIOCGIFADDR, unix.SIOCGIFDSTADDR, unix.SIOCGIFBRDADDR,
		unix.SIOCGIFNETMASK, unix.SIOCGIFMTU, unix.SIOCGIFHWADDR, unix.SIOCGIFINDEX, unix.SIOCATMARK,
	}
	wallFcntls = []uint64{
		unix.F_DUPFD, unix.F_GETFD, unix.F_SETFD, unix.F_GETFL, unix.F_SETFL, unix.F_GETLK, unix.F_SETLK, unix.F_SETLKW, unix.F_GETOWN,
		unix.F_OFD_GETLK, unix.F_OFD_SETLK, unix.F_OFD_SETLKW, unix.F_DUPFD_CLOEXEC, unix.F_DUPFD_QUERY, unix.F_GETLEASE,
		unix.F_SETPIPE_SZ, unix.F_GETPIPE_SZ, unix.F_ADD_SEALS, unix.F_GET_SEALS,
	}
)

func wallDescriptors() []seccomp.Rule {
	var rules []seccomp.Rule
	for _, request := range wallIoctls {
		rules = append(rules, allowCall([]seccomp.Arg{equal(1, request)}, "ioctl"))
	}
	for _, request := range wallNetIoctls {
		rules = append(rules, allowCall([]seccomp.Arg{equal(1, request)}, "ioctl"))
	}
	rules = append(rules, refuseCall(unix.ENOTTY, nil, "ioctl"))
	for _, command := range wallFcntls {
		rules = append(rules, allowCall([]seccomp.Arg{equal(1, command)}, "fcntl"))
	}
	return append(rules, refuseCall(unix.EPERM, nil, "fcntl"))
}

// wallProcesses keeps the command's processes in their group, and from others: by number, by user, or by what the
// IPC namespace divides elsewhere.
func wallProcesses() []seccomp.Rule {
	rules := []seccomp.Rule{
		refuseCall(unix.EPERM, nil, "setsid", "setpgid"),
		refuseCall(unix.EPERM, nil, "shmget", "shmat", "shmdt", "shmctl", "semget", "semop", "semtimedop", "semctl", "msgget", "msgsnd", "msgrcv", "msgctl",
			"mq_open", "mq_unlink", "mq_timedsend", "mq_timedreceive", "mq_notify", "mq_getsetattr"),
		refuseCall(unix.EPERM, nil, "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "pidfd_getfd", "kcmp",
			"move_pages", "migrate_pages", "perf_event_open", "bpf", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register",
			"keyctl", "add_key", "request_key"),
	}
	// Of itself, which is 0, a process may change what it likes.
	for _, name := range []string{"sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr", "prlimit64"} {
		rules = append(rules, allowCall([]seccomp.Arg{equal(0, 0)}, name), refuseCall(unix.EPERM, nil, name))
	}
	// A clock below 0 is one of a process or thread (clock_getcpuclockid(3)): of the complement of the ID, and three
	// bits, the third of which says that it is a thread, which the kernel asks to be one's own. ID 0 is oneself.
	const below, threadAndKind = 1 << 31, 7
	clocks := []string{"clock_gettime", "clock_getres", "clock_nanosleep", "timer_create"}
	for kind := uint64(0); kind < 3; kind++ { // CPUCLOCK_PROF, CPUCLOCK_VIRT, CPUCLOCK_SCHED
		rules = append(rules, allowCall([]seccomp.Arg{equal(0, seccomp.Low32&^threadAndKind|kind)}, clocks...),
			refuseCall(unix.EPERM, []seccomp.Arg{{Index: 0, Op: seccomp.Equal, Value: below | kind, Mask: below | threadAndKind}}, clocks...))
	}
	const ioprioProcess = 1 // IOPRIO_WHO_PROCESS of linux/ioprio.h
	return append(rules,
		allowCall([]seccomp.Arg{equal(0, unix.PRIO_PROCESS), equal(1, 0)}, "setpriority"), refuseCall(unix.EPERM, nil, "setpriority"),
		allowCall([]seccomp.Arg{equal(0, ioprioProcess), equal(1, 0)}, "ioprio_set"), refuseCall(unix.EPERM, nil, "ioprio_set"))
}

// wallSignals is for a Landlock that does not restrict signals. No filter knows the IDs of the command's own
// processes: what is left is the group as a whole.
func wallSignals() []seccomp.Rule {
	return []seccomp.Rule{
		allowCall([]seccomp.Arg{equal(0, 0)}, "kill"),
		refuseCall(unix.EPERM, nil, "kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_open", "pidfd_send_signal"),
	}
}

// wallSockets leaves pairs of sockets that are connected for good: one of datagrams could be connected anew, to a
// socket of the host's, and so could every socket that is not connected.
func wallSockets(hostNet bool) []seccomp.Rule {
	const typeMask = 0xf // SOCK_TYPE_MASK of linux/net.h
	pair := func(kind uint64) seccomp.Rule {
		return allowCall([]seccomp.Arg{equal(0, unix.AF_UNIX), {Index: 1, Op: seccomp.Equal, Value: kind, Mask: typeMask}}, "socketpair")
	}
	rules := []seccomp.Rule{pair(unix.SOCK_STREAM), pair(unix.SOCK_SEQPACKET), refuseCall(unix.EACCES, nil, "socketpair")}
	if hostNet {
		return append(rules, refuseCall(unix.EACCES, []seccomp.Arg{equal(0, unix.AF_UNIX)}, "socket"))
	}
	return append(rules, refuseCall(unix.EACCES, nil, "socket", "connect", "bind", "listen"))
}

// walls keeps what wallFilter has compiled.
var walls sync.Map

type wallKey struct {
	arch                       string
	truncates, scopes, hostNet bool
}

// wallFilter compiles a wallPolicy, once.
func wallFilter(arch string, abi int, hostNet bool) ([]byte, error) {
	key := wallKey{arch, abi >= abiTruncate, abi >= abiScope, hostNet}
	if raw, ok := walls.Load(key); ok {
		return raw.([]byte), nil
	}
	f, err := compileFilter(wallPolicy(abi, hostNet), arch, false, false)
	if err != nil {
		return nil, err
	}
	walls.Store(key, f.raw)
	return f.raw, nil
}
