package kernel

import (
	"fmt"
	"math/bits"
	"strconv"

	"golang.org/x/sys/unix"
)

// The calls of processes and of the interpreter itself. A constructor does nothing but write down
// the arguments; the man page of the same name says what they mean.

// Write writes all of m to fd. It is printed as shown.
func Write(fd int, m *Memory, shown string) Call {
	return Call{Name: "write", Args: []Arg{num(int64(fd)), {Mem: m, Text: shown}, num(int64(len(m.Bytes)))}}
}

// WriteBytes writes b to fd; only its size is printed.
func WriteBytes(fd int, b []byte) Call {
	return Call{Name: "write", Args: []Arg{num(int64(fd)), {Mem: &Memory{Bytes: b}, Show: showSize}, num(int64(len(b)))}}
}

func showSize(a Arg) string { return fmt.Sprintf("(%d bytes)", len(a.Mem.Bytes)) }

// WriteString writes s to fd.
func WriteString(fd int, s string) Call {
	return Call{Name: "write", Args: []Arg{num(int64(fd)), text(s), num(int64(len(s)))}}
}

// Read reads at most len(m.Bytes) from fd.
func Read(fd int, m *Memory) Call {
	return Call{Name: "read", Args: []Arg{num(int64(fd)), {Mem: m, Text: "buf"}, num(int64(len(m.Bytes)))}}
}

// Close closes fd.
func Close(fd int) Call { return Call{Name: "close", Args: []Arg{num(int64(fd))}} }

// LastDescriptor is the highest number that close_range(2) takes.
const LastDescriptor = 1<<32 - 1

// CloseRange closes first, last and every descriptor between them.
func CloseRange(first int, last int64) Call {
	return Call{Name: "close_range", Args: []Arg{num(int64(first)), {Value: last, Show: showLast}, num(0)}}
}

// CloseRangeOnExec makes first and every descriptor above it close on exec.
func CloseRangeOnExec(first int) Call {
	return Call{Name: "close_range", Args: []Arg{num(int64(first)), {Value: LastDescriptor, Show: showLast},
		named(unix.CLOSE_RANGE_CLOEXEC, "CLOSE_RANGE_CLOEXEC")}}
}

func showLast(a Arg) string {
	if a.Value == LastDescriptor {
		return "~0U"
	}
	return strconv.FormatInt(a.Value, 10)
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

// ExitThread ends the calling thread alone.
func ExitThread() Call { return Call{Name: "exit", Args: []Arg{num(0)}} }

// Wait4 waits for any child. Its wait status goes to the given offset of m, its usage to another.
func Wait4(m *Memory, status, rusage int) Call {
	return Call{Name: "wait4", Args: []Arg{num(-1), {Mem: m, Offset: status, Text: "&status"}, named(unix.WALL, "__WALL"),
		{Mem: m, Offset: rusage, Text: "&rusage"}}}
}

// Waitid waits for the end of the process behind a pidfd. How it ended goes to the given offset of m as a
// siginfo_t, its usage to another.
func Waitid(pidfd int, m *Memory, info, rusage int) Call {
	return Call{Name: "waitid", Args: []Arg{named(unix.P_PIDFD, "P_PIDFD"), num(int64(pidfd)), {Mem: m, Offset: info, Text: "&info"},
		named(unix.WEXITED, "WEXITED"), {Mem: m, Offset: rusage, Text: "&rusage"}}}
}

// WaitidKeeping is Waitid, and leaves the process to be waited for by somebody else: its ID stays its own.
func WaitidKeeping(pidfd int, m *Memory, info, rusage int) Call {
	c := Waitid(pidfd, m, info, rusage)
	c.Args[3] = named(unix.WEXITED|unix.WNOWAIT, "WEXITED|WNOWAIT")
	return c
}

// Getrusage writes to m what the children of the process have used that it has waited for, with theirs.
func Getrusage(m *Memory, at int) Call {
	return Call{Name: "getrusage", Args: []Arg{named(unix.RUSAGE_CHILDREN, "RUSAGE_CHILDREN"), {Mem: m, Offset: at, Text: "&rusage"}}}
}

// KillAll kills every process of the PID namespace but its first, which calls it.
func KillAll() Call {
	return Call{Name: "kill", Args: []Arg{num(-1), named(int64(unix.SIGKILL), "SIGKILL")}}
}

// SizeofRusage is the size of struct rusage of a 64-bit kernel.
const SizeofRusage = 144

// CloneFlags are what a new process gets of its own, and what it shares.
type CloneFlags uint64

// Clone3 starts a process or thread. Its ID, as the caller sees it, goes to the given offset of m. The
// exit signal is SIGCHLD; with CLONE_PARENT, clone(2) takes the caller's and allows no other, and a thread
// has none.
func Clone3(f CloneFlags, m *Memory, pid int) Call {
	f |= unix.CLONE_PARENT_SETTID
	args := Zeroed(64) // struct clone_args, CLONE_ARGS_SIZE_VER0
	args.put64(0, uint64(f))
	args.Refs = []Ref{{Offset: 24, To: m, ToOffset: pid}}
	if f&(unix.CLONE_PARENT|unix.CLONE_THREAD) == 0 {
		args.put64(32, uint64(unix.SIGCHLD))
	}
	return Call{Name: "clone3", Args: []Arg{{Mem: args, Show: showCloneArgs}, num(int64(len(args.Bytes)))}}
}

// Clone3Watched is Clone3 of a process of which the caller gets a pidfd, the next descriptor.
func Clone3Watched(f CloneFlags, m *Memory, pid int) Call {
	c := Clone3(f|unix.CLONE_PIDFD, m, pid)
	args := c.Args[0].Mem
	args.Refs = append(args.Refs, Ref{Offset: 8, To: Zeroed(4)})
	return c
}

// Clone3As is Clone3 of a thread with the given ID in its PID namespace, which takes CAP_SYS_ADMIN there.
func Clone3As(f CloneFlags, m *Memory, at int, tid uint32) Call {
	c := Clone3(f, m, at)
	set := Zeroed(4)
	set.put32(0, tid)
	args := c.Args[0].Mem
	args.Bytes = append(args.Bytes, make([]byte, 16)...) // CLONE_ARGS_SIZE_VER1
	args.Refs = append(args.Refs, Ref{Offset: 64, To: set})
	args.put64(72, 1)
	c.Args[1] = num(int64(len(args.Bytes)))
	return c
}

// Eventfd opens a counter on which one thread waits for another.
func Eventfd() Call {
	return Call{Name: "eventfd2", Args: []Arg{num(0), named(unix.EFD_CLOEXEC, "EFD_CLOEXEC")}}
}

// Post lets who waits at the counter fd go on.
func Post(fd int) Call {
	one := Zeroed(8)
	one.put64(0, 1)
	return Write(fd, one, "1")
}

var cloneFlags = []flag{
	{unix.CLONE_NEWUSER, "CLONE_NEWUSER"}, {unix.CLONE_NEWNS, "CLONE_NEWNS"}, {unix.CLONE_NEWPID, "CLONE_NEWPID"},
	{unix.CLONE_NEWNET, "CLONE_NEWNET"}, {unix.CLONE_NEWIPC, "CLONE_NEWIPC"}, {unix.CLONE_NEWUTS, "CLONE_NEWUTS"},
	{unix.CLONE_NEWCGROUP, "CLONE_NEWCGROUP"}, {unix.CLONE_PARENT, "CLONE_PARENT"},
	{unix.CLONE_PARENT_SETTID, "CLONE_PARENT_SETTID"}, {unix.CLONE_CHILD_SETTID, "CLONE_CHILD_SETTID"},
	{unix.CLONE_PIDFD, "CLONE_PIDFD"}, {unix.CLONE_VM, "CLONE_VM"}, {unix.CLONE_VFORK, "CLONE_VFORK"}, {unix.CLONE_FILES, "CLONE_FILES"},
	{unix.CLONE_SIGHAND, "CLONE_SIGHAND"}, {unix.CLONE_THREAD, "CLONE_THREAD"}, {unix.CLONE_CLEAR_SIGHAND, "CLONE_CLEAR_SIGHAND"},
}

func showCloneArgs(a Arg) string {
	shown := "{flags=" + flags(a.Mem.uint64(0), cloneFlags)
	if a.Mem.uint64(32) != 0 {
		shown += ", exit_signal=" + signalName(unix.Signal(a.Mem.uint64(32)))
	}
	shown += ", parent_tid=&pid"
	for _, r := range a.Mem.Refs {
		if r.Offset == 64 {
			shown += fmt.Sprintf(", set_tid=[%d]", r.To.uint32(0))
		}
	}
	return shown + "}"
}

// SendFDs sends data and descriptors over the socket fd.
func SendFDs(fd int, data *Memory, shown string, fds ...int) Call {
	control := Zeroed(unix.CmsgSpace(4 * len(fds)))
	control.put64(0, uint64(unix.CmsgLen(4*len(fds))))
	control.put32(8, unix.SOL_SOCKET)
	control.put32(12, unix.SCM_RIGHTS)
	for i, sent := range fds {
		control.put32(16+4*i, uint32(sent))
	}
	iovec := Zeroed(16)
	iovec.Refs = []Ref{{Offset: 0, To: data}}
	iovec.put64(8, uint64(len(data.Bytes)))
	msg := Zeroed(56) // struct msghdr of a 64-bit kernel
	msg.Refs = []Ref{{Offset: 16, To: iovec}, {Offset: 32, To: control}}
	msg.put64(24, 1)
	msg.put64(40, uint64(len(control.Bytes)))
	return Call{Name: "sendmsg", Args: []Arg{num(int64(fd)),
		{Mem: msg, Text: fmt.Sprintf("{%s, SCM_RIGHTS=%v}", shown, fds)}, named(unix.MSG_NOSIGNAL, "MSG_NOSIGNAL")}}
}

// HandleSignal makes the interpreter's handler take sig. The kernel's struct sigaction differs from
// the C library's: handler, flags, restorer where the architecture has one, mask.
func HandleSignal(sig unix.Signal, arch Arch) Call {
	const (
		restart  = 0x10000000 // SA_RESTART, asm-generic/signal-defs.h
		restorer = 0x04000000 // SA_RESTORER, asm/signal.h of x86: required there, unknown elsewhere
	)
	act := Zeroed(SizeofSigaction)
	act.Refs = []Ref{{Offset: 0}}
	bits := uint64(restart)
	if arch == AMD64 {
		// The handler leaves by rt_sigreturn itself; the kernel only wants an address.
		bits |= restorer
		act.Refs = append(act.Refs, Ref{Offset: 16})
	}
	act.put64(8, bits)
	return Call{Name: "rt_sigaction", Args: []Arg{{Value: int64(sig), Show: showSignal},
		{Mem: act, Text: "{sa_handler=&handler, sa_flags=SA_RESTART}"}, null(), num(8)}}
}

// ResetSignal gives a signal its default disposition. act is zeroed, and may be shared.
func ResetSignal(sig unix.Signal, act *Memory) Call {
	return Call{Name: "rt_sigaction", Args: []Arg{{Value: int64(sig), Show: showSignal}, {Mem: act, Text: "{sa_handler=SIG_DFL}"}, null(), num(8)}}
}

// SizeofSigaction is the size of the kernel's struct sigaction.
const SizeofSigaction = 32

// LastSignal is the highest signal, SIGRTMAX.
const LastSignal = 64

// SetSignalMask blocks no signal at all.
func SetSignalMask() Call {
	return Call{Name: "rt_sigprocmask", Args: []Arg{named(unix.SIG_SETMASK, "SIG_SETMASK"), {Mem: Zeroed(8), Text: "[]"}, null(), num(8)}}
}

// BlockSignal blocks one signal, and lets every other through.
func BlockSignal(sig unix.Signal) Call {
	mask := Zeroed(8)
	mask.put64(0, 1<<(sig-1))
	return Call{Name: "rt_sigprocmask", Args: []Arg{named(unix.SIG_SETMASK, "SIG_SETMASK"), {Mem: mask, Show: showMask}, null(), num(8)}}
}

func showMask(a Arg) string {
	return "[" + signalName(unix.Signal(bits.TrailingZeros64(a.Mem.uint64(0))+1)) + "]"
}

func showSignal(a Arg) string { return signalName(unix.Signal(a.Value)) }

func signalName(sig unix.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return fmt.Sprintf("%d", int(sig)) // a real-time signal
}

// Setsid starts a new session.
func Setsid() Call { return Call{Name: "setsid"} }

// Umask sets the file mode creation mask.
func Umask(mask uint32) Call { return Call{Name: "umask", Args: []Arg{octal(mask)}} }

// Setgroups sets the supplementary groups.
func Setgroups(gids []int) Call {
	m := Zeroed(4 * len(gids))
	for i, gid := range gids {
		m.put32(4*i, uint32(gid))
	}
	return Call{Name: "setgroups", Args: []Arg{num(int64(len(gids))), {Mem: m, Text: fmt.Sprint(gids)}}}
}

// Setresgid sets the real, effective and saved group ID.
func Setresgid(gid int) Call { return setres("setresgid", gid) }

// Setresuid sets the real, effective and saved user ID.
func Setresuid(uid int) Call { return setres("setresuid", uid) }

func setres(name string, id int) Call {
	return Call{Name: name, Args: []Arg{num(int64(id)), num(int64(id)), num(int64(id))}}
}

// Prctl acts on the calling process. All five arguments are passed: some options refuse garbage.
func Prctl(option, value int) Call {
	return Call{Name: "prctl", Args: []Arg{{Value: int64(option), Show: showPrctl}, num(int64(value)), num(0), num(0), num(0)}}
}

func showPrctl(a Arg) string {
	switch a.Value {
	case unix.PR_SET_PDEATHSIG:
		return "PR_SET_PDEATHSIG"
	case unix.PR_SET_CHILD_SUBREAPER:
		return "PR_SET_CHILD_SUBREAPER"
	case unix.PR_SET_DUMPABLE:
		return "PR_SET_DUMPABLE"
	case unix.PR_SET_NO_NEW_PRIVS:
		return "PR_SET_NO_NEW_PRIVS"
	case unix.PR_CAPBSET_DROP:
		return "PR_CAPBSET_DROP"
	case unix.PR_SET_KEEPCAPS:
		return "PR_SET_KEEPCAPS"
	case unix.PR_CAP_AMBIENT:
		return "PR_CAP_AMBIENT"
	}
	return strconv.FormatInt(a.Value, 10)
}

// Prlimit sets a resource limit of the calling process.
func Prlimit(resource int, name string, soft, hard uint64) Call {
	m := Zeroed(16)
	m.put64(0, soft)
	m.put64(8, hard)
	return Call{Name: "prlimit64", Args: []Arg{num(0), named(int64(resource), name), {Mem: m, Show: showRlimit}, null()}}
}

func showRlimit(a Arg) string {
	return fmt.Sprintf("{rlim_cur=%s, rlim_max=%s}", limit(a.Mem.uint64(0)), limit(a.Mem.uint64(8)))
}

func limit(v uint64) string {
	if v == ^uint64(0) {
		return "RLIM_INFINITY"
	}
	return strconv.FormatUint(v, 10)
}

// Execve replaces the program of the process by the one at path. The values of env are not printed.
func Execve(path string, argv, env *Memory) Call {
	return Call{Name: "execve", Base: unix.AT_FDCWD, Path: path, Args: []Arg{text(path), {Mem: argv, Show: showVector}, {Mem: env, Show: showEnv}}}
}

// ExecveFrom is Execve with the path at a low address.
func ExecveFrom(path string, argv, env *Memory) Call {
	c := Execve(path, argv, env)
	c.Args[0].Mem = &Memory{Text: path, Low: true}
	return c
}

// Personality sets how the kernel runs the process and what it executes.
func Personality(persona int64, name string) Call {
	return Call{Name: "personality", Args: []Arg{named(persona, name)}}
}

// AddrCompatLayout is ADDR_COMPAT_LAYOUT of linux/personality.h: free addresses are looked for from the
// bottom of the address space, as it was once, a third or a quarter up.
const AddrCompatLayout = 0x0200000

// Strings returns the memory of a list of strings as execve(2) takes it.
func Strings(list []string) *Memory { return vector(list) }

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
	ifreq.put32(unix.IFNAMSIZ, unix.IFF_UP|unix.IFF_RUNNING)
	return Call{Name: "ioctl", Args: []Arg{num(int64(fd)), named(unix.SIOCSIFFLAGS, "SIOCSIFFLAGS"), {Mem: ifreq, Show: showInterface}}}
}

func showInterface(a Arg) string {
	return fmt.Sprintf("{ifr_name=%q, ifr_flags=IFF_UP|IFF_RUNNING}", unix.ByteSliceToString(a.Mem.Bytes[:unix.IFNAMSIZ]))
}
