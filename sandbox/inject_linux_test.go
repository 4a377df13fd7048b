package sandbox

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/image"
	"github.com/ringfence-go/ringfence/internal/kernel"
	"github.com/ringfence-go/ringfence/internal/plan"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// Faults of our own: a test lets one step of a set-up have the result that it likes.
//
// The step carries what is to become of it in its sixth argument, which no call of a program uses, and a filter
// on the thread that starts the sandbox does what it says. So nothing else of the program changes: the same
// calls in the same order, under the same filters of its own, of which none sees a sixth argument.

// cookie marks a sixth argument that the filter is to obey: its upper half.
const cookie = 0x72696e67

// obeyFilter returns the lower half of a marked sixth argument as its verdict (SECCOMP_RET_*). What the
// interpreter does after a failure still has that argument: it is told by where it writes from, the header's record
// (fail in the stubs of package image).
var obeyFilter = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 16 + 8*5 + 4}, // seccomp_data.args[5], the upper half
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: cookie, Jf: 4},
	{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 16 + 8}, // args[1], the lower half
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: image.DataAddr + 16, Jt: 2},
	{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 16 + 8*5},
	{Code: unix.BPF_RET | unix.BPF_A},
	{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
}

// underFaults calls do on a thread whose children obey what steps carry. The thread ends with it.
func underFaults(t *testing.T, do func()) {
	t.Helper()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	if _, err := thisHost.get(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the runtime throws the thread away
		err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		if err == nil {
			err = loadFilter(obeyFilter, 0)
		}
		if err == nil {
			do()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// fault is what becomes of a step.
type fault struct {
	name   string
	errno  unix.Errno // 0 is none
	result int64      // of a call that does not fail
	action uint32     // for the filter; 0: the call is replaced
	call   kernel.Call
	retry  bool // also again and again
}

func failing(errno unix.Errno) fault {
	return fault{name: unix.ErrnoName(errno), errno: errno, result: -int64(errno), action: unix.SECCOMP_RET_ERRNO | uint32(errno)}
}

var (
	// zero is a call that returns 0 and did nothing.
	zero = fault{name: "0", action: unix.SECCOMP_RET_ERRNO}
	// odd is a call that returns a number for which nothing asks: sched_get_priority_max(SCHED_FIFO).
	odd = fault{name: "99", result: 99, call: kernel.Call{Name: "sched_get_priority_max", Args: []kernel.Arg{{Value: 1}}}}
	// killed ends the process at the step, before the call is made. A process cannot catch that; PID 1 neither.
	killed = fault{name: "killed", action: unix.SECCOMP_RET_KILL_PROCESS}
	// stuck makes the process sleep at the step: ppoll(2) of nothing.
	stuck = fault{name: "stuck", call: kernel.Call{Name: "ppoll", Args: []kernel.Arg{{}, {}, {}, {}, {}}}}
)

// with returns the program in which this becomes of step i.
func (f fault) with(p *plan.Program, i int) *plan.Program {
	c, op := *p, *p.Ops[i]
	c.Ops = slices.Clone(p.Ops)
	c.Ops[i] = &op
	if f.call.Name != "" {
		op.Call = f.call
		return &c
	}
	op.Retry = op.Retry || f.retry
	args := make([]kernel.Arg, 6)
	copy(args, op.Call.Args)
	args[5] = kernel.Arg{Value: cookie<<32 | int64(f.action)}
	op.Call.Args = args
	return &c
}

// errnosOf are the errors that a call has plausibly, by its manual page or by a policy of the host.
func errnosOf(call string) []unix.Errno {
	switch call {
	case "openat", "openat2", "open_tree", "socket", "eventfd2":
		return []unix.Errno{unix.EPERM, unix.EACCES, unix.ENOMEM, unix.EMFILE, unix.ENFILE, unix.ENOENT, unix.ELOOP, unix.EAGAIN, unix.EINTR, unix.ENOSYS, unix.EINVAL, unix.ENOSPC}
	case "fsopen", "fsconfig", "fsmount", "move_mount", "mount_setattr", "mount", "umount2", "pivot_root", "chdir", "fchdir":
		return []unix.Errno{unix.EPERM, unix.EACCES, unix.ENOMEM, unix.EMFILE, unix.ENOENT, unix.ELOOP, unix.ENOSPC, unix.EBUSY, unix.EINVAL, unix.ENOSYS, unix.EINTR}
	case "mkdirat", "mknodat", "symlinkat":
		return []unix.Errno{unix.EPERM, unix.EACCES, unix.ENOMEM, unix.ENOENT, unix.ELOOP, unix.ENOSPC, unix.EROFS, unix.EEXIST, unix.EINTR}
	case "clone3":
		return []unix.Errno{unix.EPERM, unix.EACCES, unix.ENOMEM, unix.ENOSPC, unix.EUSERS, unix.EAGAIN, unix.EINVAL, unix.ENOSYS, unix.EEXIST}
	case "write", "sendmsg", "recvmsg", "read", "ioctl", "wait4", "ppoll":
		return []unix.Errno{unix.EPERM, unix.ENOMEM, unix.ENOSPC, unix.EAGAIN, unix.EINTR, unix.EINVAL, unix.ETOOMANYREFS, unix.EPIPE}
	case "execve":
		return []unix.Errno{unix.EPERM, unix.EACCES, unix.ENOMEM, unix.EAGAIN, unix.EINVAL, unix.ENOENT, unix.ENOTDIR, unix.ELOOP, unix.ENOEXEC, unix.EMFILE}
	case "seccomp":
		return []unix.Errno{unix.EPERM, unix.EACCES, unix.ENOMEM, unix.EINVAL, unix.ENOSYS, unix.EBUSY, unix.EMFILE}
	case "exit_group", "exit":
		return []unix.Errno{unix.EPERM} // only by a policy
	}
	return []unix.Errno{unix.EPERM, unix.EACCES, unix.ENOMEM, unix.EAGAIN, unix.EINVAL, unix.ENOSYS, unix.EINTR}
}

// again reports whether an op asks again for such a result, for ever.
func (f fault) again(op *plan.Op) bool {
	if f.name == killed.name || f.name == stuck.name {
		return false // it has no result
	}
	return op.Retry && (f.errno == unix.EAGAIN || f.errno == unix.EINTR) || op.Kind == plan.Until && f.errno == 0 && f.result != op.Want
}

// passes reports whether the program goes on after such a result, as if the call had been made.
func (f fault) passes(op *plan.Op) bool {
	switch {
	case op.Keep != nil:
		return true
	case f.errno != 0 && slices.Contains(op.Tolerate, f.errno):
		return true
	case op.Any:
		return f.errno == 0
	}
	return f.result == op.Want
}

// faultsOf returns what may become of step i: everything, or few of it, another few for each step.
func faultsOf(p *plan.Program, i int) []fault {
	op := p.Ops[i]
	var all []fault
	for _, errno := range errnosOf(op.Call.Name) {
		all = append(all, failing(errno))
	}
	// No kernel lies about what it did, so 0 is for those to whom it is wrong, or that take everything: to one that
	// receives it is the end of the file. Nor does one let a process go on that ends, or say 0 to a parent.
	if ends := strings.HasPrefix(op.Call.Name, "exit"); !ends && op.Kind != plan.Fork {
		if !zero.passes(op) || op.Keep != nil || op.Call.Name == "recvmsg" {
			all = append(all, zero)
		}
		if !odd.passes(op) && !filtered(p, i) {
			all = append(all, odd)
		}
	}
	if os.Getenv("RINGFENCE_FAULTS") == "all" {
		return all
	}
	if i > 0 && p.Ops[i-1].Call.Name == op.Call.Name && p.Ops[i-1].Process == op.Process && (op.Call.Name == "rt_sigaction" || op.Call.Name == "prctl") {
		if i%8 != 0 {
			return nil // one of many signals or capabilities
		}
	}
	const few = 2
	some := make([]fault, 0, few)
	for n := range few {
		some = append(some, all[(7*i+n*(len(all)/2))%len(all)])
	}
	return some
}

// filtered reports whether step i is under a filter of the program's own, which allows few calls.
func filtered(p *plan.Program, i int) bool {
	for j := range i {
		if p.Ops[j].Call.Name == "seccomp" && (p.Ops[j].Process == p.Ops[i].Process || p.Ops[i].Process == plan.Witness) {
			return true
		}
	}
	// PID 1 gives its witness its own.
	return p.Ops[i].Process == plan.Witness
}

// commandFork returns the step at which the command's process is made; len(p.Ops) is never.
func commandFork(p *plan.Program) int {
	for i, op := range p.Ops {
		if op.Kind == plan.Fork && p.Ops[op.Child].Process == plan.Command {
			return i
		}
	}
	return len(p.Ops)
}

// remains is what this program must not have after a start that failed.
type remains struct{ fds, children, goroutines int }

func remaining() remains {
	names, _ := os.ReadDir("/proc/self/fd")
	r := remains{fds: len(names), goroutines: runtime.NumGoroutine()}
	threads, _ := os.ReadDir("/proc/self/task")
	for _, thread := range threads {
		b, _ := os.ReadFile("/proc/self/task/" + thread.Name() + "/children")
		r.children += len(strings.Fields(string(b)))
	}
	return r
}

// nothingLeft compares with what was there before. Goroutines are given the time to end.
func nothingLeft(before remains) error {
	var after remains
	for until := time.Now().Add(sandboxtest.Slow(3 * time.Second)); ; runtime.Gosched() {
		after = remaining()
		if after.fds <= before.fds && after.children <= before.children && after.goroutines <= before.goroutines {
			return nil
		}
		if time.Now().After(until) {
			return fmt.Errorf("left behind: %+v, before %+v", after, before)
		}
	}
}

// childrenOf returns the IDs of a process's children.
func childrenOf(pid int) []int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	var all []int
	for _, field := range strings.Fields(string(b)) {
		if child, err := strconv.Atoi(field); err == nil {
			all = append(all, child)
		}
	}
	return all
}
