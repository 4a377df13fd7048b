package victim

import (
	"fmt"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

var kernelActs = map[string]act{
	"call":   native,
	"number": func(arg string) (string, error) { return "", call(uintptr(number(arg))) },
	"x32":    func(name string) (string, error) { return foreign(kernel.X32, name) },
	"i386":   func(name string) (string, error) { return foreign(kernel.I386, name) },
}

const bad = ^uintptr(0) // no descriptor, no address, no set of flags

// forbidden are calls that the default filter refuses, with arguments that make the kernel itself say
// something else than the filter does, wherever it can be brought to without privilege.
var forbidden = map[string][]uintptr{
	"unshare": {unix.CLONE_NEWUSER}, "setns": {bad, 0}, "clone3": {0, 0},
	"mount": {1, 1, 1, 0, 0}, "umount2": {1, bad}, "chroot": {1}, "pivot_root": {1, 1},
	"fsopen": {1, bad}, "fsconfig": {bad, bad}, "fsmount": {bad, bad, bad}, "fspick": {bad, 1, bad},
	"move_mount": {bad, 1, bad, 1, bad}, "open_tree": {bad, 1, bad}, "mount_setattr": {bad, 1, bad, 1, 1},
	"ptrace":           {unix.PTRACE_ATTACH, 0},
	"process_vm_readv": {bad, 0, 0, 0, 0, bad}, "process_vm_writev": {bad, 0, 0, 0, 0, bad},
	"process_madvise": {bad, 0, 0, 0, bad}, "process_mrelease": {bad, bad}, "pidfd_getfd": {bad, bad, bad}, "kcmp": {bad, bad, bad},
	"bpf": {bad, 1, 1}, "perf_event_open": {1, 0, bad, bad, bad}, "userfaultfd": {bad},
	"io_uring_setup": {0, 1}, "io_uring_enter": {bad, 0, 0, bad}, "io_uring_register": {bad, bad},
	"modify_ldt": {bad}, "memfd_secret": {bad}, "fanotify_init": {bad, bad},
	"keyctl": {bad}, "add_key": {1, 1, 1, 1, bad}, "request_key": {1, 1, 1, bad},
	"open_by_handle_at": {bad, 1, bad},
	"move_pages":        {bad, 0, 0, 0, 0, bad}, "migrate_pages": {bad, 0, 0, 0}, "mbind": {0, 0, bad, 0, 0, bad}, "set_mempolicy": {bad, 0, 0},
	"init_module": {1, 0, 1}, "finit_module": {bad, 1, 0}, "delete_module": {1, 0}, "kexec_load": {0, 0, 0, bad},
	"reboot": {bad, bad, bad}, "swapon": {1, bad}, "swapoff": {1}, "acct": {1}, "quotactl": {bad, 1, bad, 1}, "syslog": {bad, 1, bad},
	"settimeofday": {1, 0}, "clock_settime": {bad, 1}, "sethostname": {1, bad}, "setdomainname": {1, bad},
	"personality": {0x0040000 /* ADDR_NO_RANDOMIZE, linux/personality.h */},
	// Of these the filter refuses a part.
	"clone": {unix.CLONE_NEWUSER | unix.CLONE_FS}, "socket": {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_KOBJECT_UEVENT},
	"socketpair": {unix.AF_INET, unix.SOCK_STREAM, 0, 0},
	"ioctl":      {bad, unix.TIOCSTI, 0},
	// Of PID 1, or of a user, that the arguments after them say nothing sensible about.
	"prlimit64": {1, bad, 0, 0}, "setpriority": {unix.PRIO_USER, bad, 0}, "ioprio_set": {3, bad, 0},
	"sched_setaffinity": {1, 8, 1}, "sched_setscheduler": {1, 0, 1}, "sched_setparam": {1, 1}, "sched_setattr": {1, 1, 0},
}

// CallArgs returns the arguments with which the acts call, x32 and i386 make a call.
func CallArgs(name string) []uint64 {
	var args []uint64
	for _, a := range argsOf(name) {
		args = append(args, uint64(a))
	}
	return args
}

func argsOf(name string) []uintptr {
	if args, ok := forbidden[name]; ok {
		return args
	}
	return []uintptr{bad, bad, bad, bad, bad, bad}
}

// native makes a call in the usual way.
func native(name string) (string, error) {
	number, ok := kernel.Number(kernel.Arch(runtime.GOARCH), name)
	if !ok {
		return "", fmt.Errorf("no call %q", name)
	}
	return "", call(uintptr(number), argsOf(name)...)
}

// foreign makes a call by another ABI, in a child, which the filter kills.
func foreign(arch kernel.Arch, name string) (string, error) {
	number, ok := kernel.Number(arch, name)
	if !ok {
		return "", fmt.Errorf("no call %q for %s", name, arch)
	}
	pid, err := forkCall(arch, uint32(number), argsOf(name))
	if err != nil {
		return "", err
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, 0, nil); err != nil {
		return "", err
	}
	switch {
	case status.Signaled():
		return "", fmt.Errorf("killed by %s", unix.SignalName(status.Signal()))
	case status.ExitStatus() == 0:
		return "", nil
	}
	return "", unix.Errno(status.ExitStatus())
}

// SplitKilled returns the name of the signal in an outcome of x32 or i386.
func SplitKilled(o Outcome) string {
	_, name, _ := strings.Cut(o.Err, "killed by ")
	return name
}
