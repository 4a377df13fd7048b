package victim

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// Random system calls: "callers" starts processes that make them, again and again, until it is killed.

var callActs = map[string]act{"callers": callers, "randomcalls": randomCalls}

// CallsMade is what a process that makes random calls writes to standard error after every hundred.
const CallsMade = "\x01a hundred calls\n"

// callers keeps so many processes that make random calls, and replaces them, and whatever they have forked,
// by new ones: "seed,milliseconds,processes,pid,…". A process makes calls for so long at most, and they all are replaced
// after thirty times as long. The calls are also about these processes.
func callers(arg string) (string, error) {
	seed, rest, _ := strings.Cut(arg, ",")
	ms, rest, _ := strings.Cut(rest, ",")
	n, pids, _ := strings.Cut(rest, ",")
	if err := boundMemory(); err != nil {
		return "", err
	}
	for i := uint64(number(seed)); ; i++ {
		var all []*exec.Cmd
		for p := range number(n) {
			cmd := exec.Command(Path)
			cmd.Args = []string{Path, fmt.Sprintf("randomcalls:%d,%d,%s,%s", i, p, ms, pids)}
			cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
			cmd.Env = append(os.Environ(), "GOTRACEBACK=none")
			if cmd.Start() == nil { // there may be no room left, until all are killed
				all = append(all, cmd)
			}
		}
		time.Sleep(30 * time.Duration(number(ms)) * time.Millisecond)
		_ = unix.Kill(-1, unix.SIGKILL) // all but this process and PID 1; there may be none
		for _, cmd := range all {
			_ = cmd.Wait() // however it ended
		}
	}
}

// boundMemory keeps what random calls ask for small, also where no cgroup does: a quarter of a gigabyte more
// than is mapped, which is much under the race detector.
func boundMemory() error {
	const more = 256 << 20
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return err
	}
	pages, _, _ := strings.Cut(string(b), " ")
	bound := uint64(number(pages))*uint64(os.Getpagesize()) + more
	return unix.Setrlimit(unix.RLIMIT_AS, &unix.Rlimit{Cur: bound, Max: bound})
}

// caller makes random calls.
type caller struct {
	*rand.Rand
	calls                        []callEntry
	fds, pointers, paths, values []uintptr
	pids                         []uintptr
	scratch                      []byte
}

type callEntry struct {
	number uintptr
	name   string
}

// shapes say what the arguments of some calls are, so that these come further than a bad descriptor: d is a
// descriptor, p a path, m memory, n a number, i a process, s a signal, x anything.
var shapes = map[string]string{
	"read": "dmn", "write": "dmn", "pread64": "dmnn", "pwrite64": "dmnn", "openat": "dpnn", "openat2": "dpmn", "open": "pnn",
	"fstat": "dm", "newfstatat": "dpmn", "statx": "dpnnm", "fcntl": "dnx", "ioctl": "dnx", "ftruncate": "dn", "fallocate": "dnnn",
	"getdents64": "dmn", "unlinkat": "dpn", "renameat2": "dpdpn", "linkat": "dpdpn", "symlinkat": "pdp", "mkdirat": "dpn",
	"mknodat": "dpnn", "readlinkat": "dpmn", "fchmodat": "dpn", "fchownat": "dpnnn", "chdir": "p", "fchdir": "d", "chroot": "p",
	"dup3": "ddn", "dup": "d", "lseek": "dnn", "splice": "dmdmnn", "tee": "ddnn", "vmsplice": "dmnn", "sendfile": "ddmn", "copy_file_range": "dmdmnn",
	"kill": "is", "tkill": "is", "tgkill": "iis", "rt_sigqueueinfo": "ism", "pidfd_open": "in", "pidfd_send_signal": "dsmn", "pidfd_getfd": "ddn",
	"ptrace": "nixx", "process_vm_readv": "imnmnn", "process_vm_writev": "imnmnn", "prlimit64": "inmm", "setpriority": "nin",
	"sched_setaffinity": "inm", "sched_setscheduler": "inm", "setpgid": "ii", "wait4": "imnm", "waitid": "nimnm",
	"mmap": "xnnndn", "mprotect": "mnn", "mremap": "mnnnx", "madvise": "mnn", "msync": "mnn", "mlock2": "mnn",
	"socket": "nnn", "socketpair": "nnnm", "bind": "dmn", "connect": "dmn", "sendto": "dmnnmn", "sendmsg": "dmn", "recvmsg": "dmn",
	"setsockopt": "dnnmn", "getsockopt": "dnnmm", "accept4": "dmmn", "listen": "dn", "shutdown": "dn",
	"epoll_ctl": "dndm", "epoll_pwait": "dmnnmn", "inotify_add_watch": "dpn", "timerfd_settime": "dnmm", "signalfd4": "dmnn",
	"mount": "pppnm", "umount2": "pn", "pivot_root": "pp", "move_mount": "dpdpn", "open_tree": "dpn", "mount_setattr": "dpnmn",
	"fsopen": "mn", "fsconfig": "dnmmn", "fsmount": "dnn", "setns": "dn", "unshare": "n", "clone": "nxmmx", "execve": "pmm", "execveat": "dpmmn",
	"prctl": "nxxxx", "seccomp": "nnm", "bpf": "nmn", "io_setup": "nm", "io_submit": "xnm", "setxattr": "pmmnn", "fsetxattr": "dmmnn",
	"add_key": "mmmnn", "keyctl": "nxxxx", "memfd_create": "mn", "shmget": "nnn", "shmat": "nmn", "mq_open": "mnnm", "personality": "n",
}

// randomCalls has children make calls at random, one after another: "seed,stream,milliseconds,pid,…". Each
// ends by one of its calls, after some thousand of them, or after so long.
func randomCalls(arg string) (string, error) {
	parts := strings.Split(strings.TrimSuffix(arg, ","), ",")
	source := rand.NewPCG(uint64(number(parts[0])), uint64(number(parts[1])))
	c := caller{Rand: rand.New(source)}
	for _, pid := range append(parts[3:], "0", "1", "5", "8", "13", "21", "34", "55") {
		c.pids = append(c.pids, uintptr(number(pid)))
	}
	if err := c.prepare(); err != nil {
		return "", err
	}
	// Whatever is the matter with a child, it is to end without a word of the runtime's.
	for _, sig := range []unix.Signal{unix.SIGALRM, unix.SIGVTALRM, unix.SIGPROF, unix.SIGSEGV, unix.SIGBUS, unix.SIGILL, unix.SIGFPE, unix.SIGTRAP, unix.SIGSYS, unix.SIGXFSZ, unix.SIGPIPE} {
		if err := defaultAction(int(sig)); err != nil {
			return "", err
		}
	}
	shared, err := unix.Mmap(-1, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return "", err
	}
	for made := uint32(0); ; {
		seed := c.Uint64()
		pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		if pid == 0 && errno == 0 {
			source.Seed(seed, seed)
			c.make(shared)
		}
		if errno != 0 {
			return "", errno // the number of processes is bounded, and there is a next one
		}
		if fd, err := unix.PidfdOpen(int(pid), 0); err == nil {
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, number(parts[2]))
			unix.Close(fd)
		}
		_ = unix.Kill(int(pid), unix.SIGKILL) // it may have ended
		_, _ = unix.Wait4(int(pid), nil, 0, nil)
		for now := binary.NativeEndian.Uint32(shared); now-made >= 100; made += 100 {
			_, _ = unix.Write(2, []byte(CallsMade)) // nobody may listen any more
		}
	}
}

// make makes calls until it ends, in a process of its own, which may use nothing of the runtime.
func (c *caller) make(made []byte) {
	_, _, _ = unix.RawSyscall(unix.SYS_SETPGID, 0, 0, 0)
	for left := 5000; left > 0; left-- {
		if c.IntN(64) == 0 {
			c.shake()
		}
		number, forks, args := c.next()
		r, _, errno := unix.RawSyscall6(number, args[0], args[1], args[2], args[3], args[4], args[5])
		if forks && r == 0 && errno == 0 {
			left = min(left, 300)
		}
		binary.NativeEndian.PutUint32(made, binary.NativeEndian.Uint32(made)+1)
	}
	for {
		_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
}

// prepare opens one of everything that a call could be about.
func (c *caller) prepare() error {
	arch := kernel.Arch(runtime.GOARCH)
	for i := range arch.Len() {
		nr, name := arch.At(i)
		c.calls = append(c.calls, callEntry{uintptr(nr), name})
	}
	mem, addr, err := mapped(16 * pageSize)
	if err != nil {
		return err
	}
	c.scratch = mem
	c.pointers = []uintptr{0, 1, addr, addr + 8, addr + pageSize, addr + 2*pageSize - 8, addr + 16*pageSize - 4, addr + 3*pageSize, ^uintptr(0), ^(^uintptr(0) >> 1), ^uintptr(4095), 0x10000}
	at := addr + 12*pageSize
	for _, p := range []string{"/tmp/x", "/tmp/d", "/tmp/d/..", "/", ".", "", "/dev/shm/x", "/dev/ptmx", "/dev/pts/0", "/proc/self/mem", "/proc/1/mem", "/proc/self/exe",
		"/proc/self/fd/0", "/proc/1/root", "/proc/1/environ", "/proc/self/ns/user", "/proc/1/ns/mnt", "/usr/bin/env", "/usr/bin/no", "/etc/passwd", "/victim", "/home/sandbox/x",
		"/proc/self/uid_map", "/proc/sys/kernel/core_pattern", "/proc/self/attr/current", "tmpfs", "proc", "overlay", "user.x", "/canary", "/proc/self/oom_score_adj"} {
		at += uintptr(copy(mem[at-addr:], p+"\x00"))
		c.paths = append(c.paths, at-uintptr(len(p))-1)
	}
	for _, shift := range []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 25, 26, 27, 28, 29, 30, 31, 32, 63} {
		c.values = append(c.values, 1<<shift, 1<<shift-1)
	}
	bad := ^uintptr(0)
	c.values = append(c.values, bad, bad-1, bad>>1, uintptr(uint64(bad)>>32), bad-4095, 0x5412, 0x541c, 0x5401, 0x5413)
	c.fds = []uintptr{0, 1, 2, bad, bad - 99} // the last is AT_FDCWD
	for fd := range uintptr(24) {
		c.fds = append(c.fds, 3+fd)
	}
	return c.open()
}

// open opens files, sockets and what else has a descriptor; what cannot be had is one the fewer.
func (c *caller) open() error {
	_ = os.Mkdir("/tmp/d", 0o777) // it is there, from the second process on
	for _, p := range []string{"/tmp/x", "/dev/shm/x", "/dev/null", "/dev/ptmx", "/proc/self/mem"} {
		_, _ = unix.Open(p, unix.O_RDWR|unix.O_CREAT|unix.O_NOCTTY, 0o666)
	}
	for _, p := range []string{"/", "/tmp/d", "/proc/self", "/proc/self/ns/user", "/usr/bin/env", "/canary"} {
		_, _ = unix.Open(p, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	}
	var pair [2]int
	_ = unix.Pipe2(pair[:], unix.O_NONBLOCK)
	_, _ = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	_, _ = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	_, _ = unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
	_, _ = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	_, _ = unix.Eventfd(0, unix.EFD_NONBLOCK)
	_, _ = unix.EpollCreate1(0)
	_, _ = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK)
	_, _ = unix.InotifyInit1(unix.IN_NONBLOCK)
	_, _ = unix.MemfdCreate("x", 0)
	_, _ = unix.PidfdOpen(os.Getpid(), 0)
	_, err := unix.PidfdOpen(1, 0)
	return err
}

const pageSize = 4096

// shake writes new structures into the memory that pointers lead to: numbers, pointers and descriptors.
func (c *caller) shake() {
	page := c.IntN(12) * pageSize
	for i := 0; i < 256; i += 8 {
		binary.NativeEndian.PutUint64(c.scratch[page+i:], uint64(c.argument('x')))
	}
}

func (c *caller) next() (number uintptr, forks bool, args [6]uintptr) {
	call := c.calls[c.IntN(len(c.calls))]
	switch call.name {
	case "exit", "exit_group", "rt_sigreturn", "pause", "rt_sigsuspend": // they end it, or hold it up
		return unix.SYS_GETPID, false, args
	}
	number = call.number
	if c.IntN(50) == 0 {
		number = uintptr(c.IntN(1024)) // of no table
	}
	shape := shapes[call.name]
	for i := range args {
		kind := byte('x')
		if i < len(shape) && c.IntN(10) > 0 {
			kind = shape[i]
		}
		args[i] = c.argument(kind)
	}
	return number, call.name == "fork" || call.name == "vfork" || call.name == "clone", args
}

func (c *caller) argument(kind byte) uintptr {
	if kind == 'x' {
		kind = "dmpni"[c.IntN(5)]
	}
	switch kind {
	case 'd':
		return c.fds[c.IntN(len(c.fds))]
	case 'm':
		return c.pointers[c.IntN(len(c.pointers))]
	case 'p':
		return c.paths[c.IntN(len(c.paths))]
	case 'i':
		switch c.IntN(2000) { // seldom, for these may end them all: everybody, and the command
		case 0:
			return ^uintptr(0)
		case 1:
			return 2
		}
		return c.pids[c.IntN(len(c.pids))]
	case 's':
		return uintptr(c.IntN(66))
	}
	switch c.IntN(4) {
	case 0:
		return uintptr(c.IntN(64))
	case 1:
		a, b := c.IntN(len(c.values)), c.IntN(len(c.values))
		return c.values[a] | c.values[b]
	}
	return c.values[c.IntN(len(c.values))]
}
