package kernel

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The calls of processes and of the interpreter itself. A constructor does nothing but write down
// the arguments; the man page of the same name says what they mean.

// Write writes all of m to fd.
func Write(fd int, m *Memory, shown string) Call {
	return Call{Name: "write", Args: []Arg{num(int64(fd)), point(m, shown), num(int64(len(m.Bytes)))}}
}

// WriteString writes s to fd.
func WriteString(fd int, s string) Call {
	return Write(fd, &Memory{Bytes: []byte(s)}, quote(s))
}

// Read reads at most len(m.Bytes) from fd.
func Read(fd int, m *Memory) Call {
	return Call{Name: "read", Args: []Arg{num(int64(fd)), point(m, "buf"), num(int64(len(m.Bytes)))}}
}

// Close closes fd.
func Close(fd int) Call { return Call{Name: "close", Args: []Arg{num(int64(fd))}} }

// CloseRange closes first and every descriptor above it.
func CloseRange(first int) Call {
	return Call{Name: "close_range", Args: []Arg{num(int64(first)), named(1<<32-1, "~0U"), num(0)}}
}

// SetCloseOnExec makes fd close on exec.
func SetCloseOnExec(fd int) Call {
	return fcntl(fd, unix.F_SETFD, "F_SETFD", named(unix.FD_CLOEXEC, "FD_CLOEXEC"))
}

// SetOwner makes the calling process, by its pid, the owner of the signals of fd.
func SetOwner(fd, pid int) Call { return fcntl(fd, unix.F_SETOWN, "F_SETOWN", num(int64(pid))) }

// SetAsync makes fd non-blocking and a source of SIGIO.
func SetAsync(fd int) Call {
	return fcntl(fd, unix.F_SETFL, "F_SETFL", named(unix.O_ASYNC|unix.O_NONBLOCK, "O_ASYNC|O_NONBLOCK"))
}

func fcntl(fd int, cmd int64, name string, arg Arg) Call {
	return Call{Name: "fcntl", Args: []Arg{num(int64(fd)), named(cmd, name), arg}}
}

// Exit ends the process.
func Exit(code int) Call { return Call{Name: "exit_group", Args: []Arg{num(int64(code))}} }

// Wait4 waits for any child. Its wait status goes to the given offset of m, its usage to another.
func Wait4(m *Memory, status, rusage int) Call {
	return Call{Name: "wait4", Args: []Arg{num(-1), within(m, status, "&status"), named(unix.WALL, "__WALL"), within(m, rusage, "&rusage")}}
}

// SizeofRusage is the size of struct rusage of a 64-bit kernel.
const SizeofRusage = 144

// CloneFlags are what a new process gets of its own, and what it shares.
type CloneFlags uint64

var cloneFlags = []flag{
	{unix.CLONE_NEWUSER, "CLONE_NEWUSER"}, {unix.CLONE_NEWNS, "CLONE_NEWNS"}, {unix.CLONE_NEWPID, "CLONE_NEWPID"},
	{unix.CLONE_NEWNET, "CLONE_NEWNET"}, {unix.CLONE_NEWIPC, "CLONE_NEWIPC"}, {unix.CLONE_NEWUTS, "CLONE_NEWUTS"},
	{unix.CLONE_NEWCGROUP, "CLONE_NEWCGROUP"}, {unix.CLONE_PARENT, "CLONE_PARENT"}, {unix.CLONE_PIDFD, "CLONE_PIDFD"},
	{unix.CLONE_PARENT_SETTID, "CLONE_PARENT_SETTID"},
	{unix.CLONE_VM, "CLONE_VM"}, {unix.CLONE_VFORK, "CLONE_VFORK"}, {unix.CLONE_CLEAR_SIGHAND, "CLONE_CLEAR_SIGHAND"},
}

// Clone3 starts a process. Its pid, as the caller sees it, goes to the given offset of m, and its
// pidfd's number to another. The exit signal is SIGCHLD; with CLONE_PARENT, clone(2) takes the
// caller's and allows no other.
func Clone3(f CloneFlags, m *Memory, pid, pidfd int) Call {
	f |= unix.CLONE_PIDFD | unix.CLONE_PARENT_SETTID
	args := Zeroed(64) // struct clone_args, CLONE_ARGS_SIZE_VER0
	binary.LittleEndian.PutUint64(args.Bytes[0:], uint64(f))
	args.Refs = []Ref{{Offset: 8, To: m, ToOffset: pidfd}, {Offset: 24, To: m, ToOffset: pid}}
	shown := "{flags=" + flags(int64(f), cloneFlags).Text
	if f&unix.CLONE_PARENT == 0 {
		binary.LittleEndian.PutUint64(args.Bytes[32:], uint64(unix.SIGCHLD))
		shown += ", exit_signal=SIGCHLD"
	}
	return Call{Name: "clone3", Args: []Arg{point(args, shown+", parent_tid=&pid, pidfd=&pidfd}"), num(int64(len(args.Bytes)))}}
}

// SendFDs sends data and descriptors over the socket fd.
func SendFDs(fd int, data *Memory, shown string, fds ...int) Call {
	control := Zeroed(unix.CmsgSpace(4 * len(fds)))
	binary.LittleEndian.PutUint64(control.Bytes[0:], uint64(unix.CmsgLen(4*len(fds))))
	binary.LittleEndian.PutUint32(control.Bytes[8:], unix.SOL_SOCKET)
	binary.LittleEndian.PutUint32(control.Bytes[12:], unix.SCM_RIGHTS)
	for i, sent := range fds {
		binary.LittleEndian.PutUint32(control.Bytes[16+4*i:], uint32(sent))
	}
	iovec := Zeroed(16)
	iovec.Refs = []Ref{{Offset: 0, To: data}}
	binary.LittleEndian.PutUint64(iovec.Bytes[8:], uint64(len(data.Bytes)))
	msg := Zeroed(56) // struct msghdr of a 64-bit kernel
	msg.Refs = []Ref{{Offset: 16, To: iovec}, {Offset: 32, To: control}}
	binary.LittleEndian.PutUint64(msg.Bytes[24:], 1)
	binary.LittleEndian.PutUint64(msg.Bytes[40:], uint64(len(control.Bytes)))
	return Call{Name: "sendmsg", Args: []Arg{num(int64(fd)),
		point(msg, fmt.Sprintf("{%s, SCM_RIGHTS=%v}", shown, fds)), named(unix.MSG_NOSIGNAL, "MSG_NOSIGNAL")}}
}

// HandleSignal makes the interpreter's handler take sig. The kernel's struct sigaction differs from
// the C library's: handler, flags, restorer where the architecture has one, mask.
func HandleSignal(sig unix.Signal, arch Arch) Call {
	const (
		restart  = 0x10000000 // SA_RESTART, asm-generic/signal-defs.h
		restorer = 0x04000000 // SA_RESTORER, asm/signal.h of x86: required there, unknown elsewhere
	)
	act := Zeroed(32)
	act.Refs = []Ref{{Offset: 0}}
	bits := uint64(restart)
	if arch == AMD64 {
		// The handler leaves by rt_sigreturn itself; the kernel only wants an address.
		bits |= restorer
		act.Refs = append(act.Refs, Ref{Offset: 16})
	}
	binary.LittleEndian.PutUint64(act.Bytes[8:], bits)
	return Call{Name: "rt_sigaction", Args: []Arg{named(int64(sig), signalName(sig)),
		point(act, "{sa_handler=&handler, sa_flags=SA_RESTART}"), null(), num(8)}}
}

// SetSignalMask blocks no signal at all.
func SetSignalMask() Call {
	return Call{Name: "rt_sigprocmask", Args: []Arg{named(unix.SIG_SETMASK, "SIG_SETMASK"), point(Zeroed(8), "[]"), null(), num(8)}}
}

func signalName(sig unix.Signal) string { return unix.SignalName(sig) }

// Setsid starts a new session.
func Setsid() Call { return Call{Name: "setsid"} }

// Umask sets the file mode creation mask.
func Umask(mask uint32) Call { return Call{Name: "umask", Args: []Arg{octal(mask)}} }

// Setgroups sets the supplementary groups.
func Setgroups(gids []int) Call {
	m := Zeroed(4 * len(gids))
	for i, gid := range gids {
		binary.LittleEndian.PutUint32(m.Bytes[4*i:], uint32(gid))
	}
	return Call{Name: "setgroups", Args: []Arg{num(int64(len(gids))), point(m, fmt.Sprint(gids))}}
}

// Setresgid sets the real, effective and saved group ID.
func Setresgid(gid int) Call { return setres("setresgid", gid) }

// Setresuid sets the real, effective and saved user ID.
func Setresuid(uid int) Call { return setres("setresuid", uid) }

func setres(name string, id int) Call {
	return Call{Name: name, Args: []Arg{num(int64(id)), num(int64(id)), num(int64(id))}}
}

var prctls = []flag{
	{unix.PR_SET_DUMPABLE, "PR_SET_DUMPABLE"}, {unix.PR_SET_NO_NEW_PRIVS, "PR_SET_NO_NEW_PRIVS"},
	{unix.PR_CAPBSET_DROP, "PR_CAPBSET_DROP"}, {unix.PR_SET_KEEPCAPS, "PR_SET_KEEPCAPS"},
}

// Prctl acts on the calling process. All five arguments are passed: some options refuse garbage.
func Prctl(option, value int) Call {
	name := named(int64(option), strconv.Itoa(option))
	for _, p := range prctls {
		if p.value == int64(option) {
			name.Text = p.name
		}
	}
	return Call{Name: "prctl", Args: []Arg{name, num(int64(value)), num(0), num(0), num(0)}}
}

// Capset drops every capability of the calling thread.
func Capset() Call {
	header := Zeroed(8)
	binary.LittleEndian.PutUint32(header.Bytes, unix.LINUX_CAPABILITY_VERSION_3)
	return Call{Name: "capset", Args: []Arg{point(header, "{version=3, pid=0}"), point(Zeroed(24), "{effective=0, permitted=0, inheritable=0}")}}
}

// Seccomp loads a filter: instructions in the layout of struct sock_filter.
func Seccomp(filter []byte) Call {
	prog := Zeroed(16) // struct sock_fprog
	count := len(filter) / 8
	binary.LittleEndian.PutUint16(prog.Bytes, uint16(count))
	prog.Refs = []Ref{{Offset: 8, To: &Memory{Bytes: filter}}}
	return Call{Name: "seccomp", Args: []Arg{named(unix.SECCOMP_SET_MODE_FILTER, "SECCOMP_SET_MODE_FILTER"), num(0),
		point(prog, fmt.Sprintf("{len=%d}", count))}}
}

// Prlimit sets a resource limit of the calling process.
func Prlimit(resource int, name string, soft, hard uint64) Call {
	m := Zeroed(16)
	binary.LittleEndian.PutUint64(m.Bytes, soft)
	binary.LittleEndian.PutUint64(m.Bytes[8:], hard)
	return Call{Name: "prlimit64", Args: []Arg{num(0), named(int64(resource), name),
		point(m, fmt.Sprintf("{rlim_cur=%s, rlim_max=%s}", limit(soft), limit(hard))), null()}}
}

func limit(v uint64) string {
	if v == ^uint64(0) {
		return "RLIM_INFINITY"
	}
	return strconv.FormatUint(v, 10)
}

// Execve replaces the program of the process. The values of env are not printed.
func Execve(path string, argv, env []string) Call {
	var shown []string
	for _, arg := range argv {
		shown = append(shown, quote(arg))
	}
	var keys []string
	for _, e := range env {
		key, _, _ := strings.Cut(e, "=")
		keys = append(keys, quote(key+"=…"))
	}
	return Call{Name: "execve", Base: unix.AT_FDCWD, Path: path, Args: []Arg{text(path),
		point(vector(argv), "["+strings.Join(shown, ", ")+"]"), point(vector(env), "["+strings.Join(keys, ", ")+"]")}}
}

// Faccessat2 asks whether path can be executed.
func Faccessat2(path string) Call {
	return Call{Name: "faccessat2", Base: unix.AT_FDCWD, Path: path,
		Args: []Arg{dir(unix.AT_FDCWD), text(path), named(unix.X_OK, "X_OK"), named(unix.AT_EACCESS, "AT_EACCESS")}}
}

// Sethostname names the machine.
func Sethostname(name string) Call {
	return Call{Name: "sethostname", Args: []Arg{text(name), num(int64(len(name)))}}
}

// Socket opens a datagram socket to configure interfaces with.
func Socket() Call {
	return Call{Name: "socket", Args: []Arg{named(unix.AF_INET, "AF_INET"),
		named(unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, "SOCK_DGRAM|SOCK_CLOEXEC"), num(0)}}
}

// SetInterfaceUp brings a network interface up (netdevice(7)).
func SetInterfaceUp(fd int, name string) Call {
	ifreq := Zeroed(40)
	copy(ifreq.Bytes, name)
	binary.LittleEndian.PutUint16(ifreq.Bytes[unix.IFNAMSIZ:], unix.IFF_UP|unix.IFF_RUNNING)
	return Call{Name: "ioctl", Args: []Arg{num(int64(fd)), named(unix.SIOCSIFFLAGS, "SIOCSIFFLAGS"),
		point(ifreq, fmt.Sprintf("{ifr_name=%q, ifr_flags=IFF_UP|IFF_RUNNING}", name))}}
}
