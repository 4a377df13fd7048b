package victim

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// Every call that a table has, and numbers that none has, by every way into the kernel.

func init() {
	register(map[string]act{
		"every": every,
		"by": func(arg string) (string, error) {
			gate, call, _ := strings.Cut(arg, ",")
			return "", by(gate, slices.DeleteFunc(Tries(gate), func(c Try) bool { return c.Name != call }))
		},
		"nonewprivs": func(string) (string, error) { return "", unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) },
		"filter":     func(path string) (string, error) { return "", loadFilter(path) },
	})
}

// Native is the gate of the architecture's own programs.
const Native = "native"

// gate is a way into the kernel: an instruction, and whose numbers it takes.
type gate struct {
	name string
	arch kernel.Arch
	fork func(flags, number uint32, args *[6]uintptr) (pid int64)
}

// Gates returns the names of the ways into the kernel of this architecture.
func Gates() []string {
	var names []string
	for _, g := range gates {
		names = append(names, g.name)
	}
	return names
}

// Try is a call that the act "every" makes.
type Try struct {
	Number uint32 // with the bit of x32
	Arch   kernel.Arch
	Args   [6]uint64
	// Name is "" if no table has the number.
	Name string
}

// Act is what the outcome of the call by a gate is called.
func (c Try) Act(gate string) string {
	name := c.Name
	if name == "" {
		name = strconv.FormatUint(uint64(c.Number&^kernel.X32Bit), 10)
	}
	return gate + " " + name
}

// NotMade are calls that "every" leaves out, and why.
var NotMade = map[string]string{
	"sync": "waits for the disks of the host",
}

// waitsForSignal are calls that come back from nothing else.
var waitsForSignal = []string{"pause", "sigsuspend"}

// sensible are the arguments of calls that answer ENOSYS to nonsense.
var sensible = map[string][]uintptr{
	"futex": {bad, 1 /* FUTEX_WAKE, linux/futex.h */, 1},
}

// vsyscalls are the entries of the page, in its order (asm/vsyscall.h).
var vsyscalls = []string{"gettimeofday", "time", "getcpu"}

// Tries returns the calls that "every" makes by a gate, in order.
func Tries(name string) []Try {
	i := slices.IndexFunc(gates, func(g gate) bool { return g.name == name })
	if i < 0 {
		return nil
	}
	g := gates[i]
	var all []Try
	if name == "vsyscall" {
		for _, call := range vsyscalls {
			number, _ := kernel.Number(g.arch, call)
			all = append(all, Try{Number: uint32(number), Arch: g.arch, Name: call})
		}
		return all
	}
	var bit uint32
	if g.arch == kernel.X32 {
		bit = kernel.X32Bit
	}
	// Behind the newest call, and behind 512, where x32 has calls of its own.
	const beyond, own = 16, 560
	for number := range max(uint32(kernel.MaxNumber(g.arch))&^kernel.X32Bit+beyond, own) {
		call, _ := kernel.Name(g.arch, int(number|bit))
		if NotMade[call] != "" {
			continue
		}
		c := Try{Number: number | bit, Arch: g.arch, Name: call}
		args, ok := sensible[call]
		if !ok {
			args = argsOf(call)
		}
		for i, a := range args {
			if c.Args[i] = uint64(a); g.arch == kernel.I386 {
				c.Args[i] = uint64(uint32(a))
			}
		}
		all = append(all, c)
	}
	return all
}

// every makes every call by a gate, each in a child of its own, and prints an outcome for each.
func every(gate string) (string, error) {
	tries := Tries(gate)
	return strconv.Itoa(len(tries)), by(gate, tries)
}

// by makes calls by a gate.
func by(name string, tries []Try) error {
	i := slices.IndexFunc(gates, func(g gate) bool { return g.name == name })
	if i < 0 || len(tries) == 0 {
		return fmt.Errorf("no such way %q into the kernel", name)
	}
	// The children are not to run the handlers of the Go runtime.
	for _, sig := range []unix.Signal{unix.SIGSEGV, unix.SIGBUS, unix.SIGILL, unix.SIGFPE, unix.SIGTRAP, unix.SIGSYS, unix.SIGALRM} {
		if err := defaultAction(int(sig)); err != nil {
			return err
		}
	}
	// Before Linux 5.16 a process that dumps core ends all that share its memory.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return err
	}
	low, err := lowCode()
	if err != nil {
		return err
	}
	for _, c := range tries {
		number, args := c.Number, [6]uintptr{}
		for i, a := range c.Args {
			args[i] = uintptr(a)
		}
		switch name {
		case "sysenter", "syscall32":
			args[5] = low
		case "vsyscall":
			number = uint32(slices.Index(vsyscalls, c.Name))
		}
		flags, waits := uint32(unix.SIGCHLD), slices.Contains(waitsForSignal, c.Name)
		if !waits {
			flags |= shared
		}
		pid := gates[i].fork(flags, number, &args)
		if pid < 0 {
			return unix.Errno(-pid)
		}
		emit(Outcome{Act: c.Act(name), Err: ended(int(pid), waits)})
	}
	return nil
}

// ended waits for a child that makes one call, and returns the name of its errno, "" if it succeeded, or
// how it ended.
func ended(pid int, waits bool) string {
	if waits && sleeps(pid) {
		_ = unix.Kill(pid, unix.SIGKILL) // it is a child, and not waited for
		_, _ = unix.Wait4(pid, nil, 0, nil)
		return "waits"
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return "pidfd_open: " + err.Error()
	}
	defer unix.Close(fd)
	late := ""
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 60_000)
		if err == unix.EINTR {
			continue
		}
		if n == 0 {
			late = "does not return, "
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		break
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, 0, nil); err != nil {
		return "wait4: " + err.Error()
	}
	if status.Signaled() {
		return late + "killed by " + unix.SignalName(status.Signal())
	}
	return late + errnoText(status.ExitStatus())
}

func errnoText(n int) string {
	name := unix.ErrnoName(unix.Errno(n))
	if n != 0 && name == "" {
		return fmt.Sprintf("errno %d", n)
	}
	return name
}

// sleeps waits until a process waits for something, or has ended.
func sleeps(pid int) bool {
	for {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return false
		}
		_, rest, _ := strings.Cut(string(stat), ") ") // proc_pid_stat(5)
		switch rest[:1] {
		case "S":
			return true
		case "Z", "X":
			return false
		}
		time.Sleep(time.Millisecond)
	}
}
