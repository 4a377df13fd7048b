//go:build linux

package plan

import (
	"bytes"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// result says what a call returns when it succeeds.
type result uint8

const (
	zero       result = iota
	opens             // the lowest free descriptor
	length            // the third argument
	known             // what effect expects
	nothing           // it does not return
	answers           // zero, or an error that is kept
	unknowable        // any number
)

// call says what a system call takes and returns.
type call struct {
	// args has a letter for each argument: f an open descriptor, b the same or the working directory,
	// n a number, t a text, m memory, p memory or NULL, a a number or memory, o a text or NULL, 0 nothing; N is a number that may be left out.
	args    string
	returns result
	// tolerates are the errors of which Check knows that going on is safe.
	tolerates []unix.Errno
}

// The errors that an op may tolerate, by call. What confines the sandbox is not among the calls.
var (
	mayExist = []unix.Errno{unix.EEXIST}
	// kill(2) when PID 2 was the last process.
	mayBeAlone = []unix.Errno{unix.ESRCH}
	// A joiner tells of a command that failed before it had a listener, and has told why.
	mayBeUnheard = []unix.Errno{unix.EBADF}
	// The witness's receipt of a call that was given up before: it was made all the same.
	mayBeGivenUp = []unix.Errno{unix.ENOENT}
	// execvp(3) goes on with the next entry of PATH after these.
	mayBeElsewhere = []unix.Errno{unix.ENOENT, unix.ENOTDIR, unix.EACCES}
)

// callOf returns what is known about a call: every one that a program may make is here.
func callOf(name string) (call, bool) {
	switch name {
	case "close", "fchdir":
		return call{args: "f"}, true
	case "mount_setattr":
		return call{args: "ftnmn"}, true
	case "move_mount":
		return call{args: "ftbtn"}, true
	case "prctl":
		return call{args: "nnnnn"}, true
	case "fsconfig":
		return call{args: "fnoo0"}, true
	case "openat2":
		return call{args: "btmn", returns: opens}, true
	case "openat":
		return call{args: "btnN", returns: opens}, true
	case "open_tree":
		return call{args: "btn", returns: opens}, true
	case "eventfd2":
		return call{args: "nn", returns: opens}, true
	case "fsopen":
		return call{args: "tn", returns: opens}, true
	case "fsmount", "socket":
		args := "fnn"
		if name == "socket" {
			args = "nnn"
		}
		return call{args: args, returns: opens}, true
	case "mkdirat":
		return call{args: "btn", tolerates: mayExist}, true
	case "mknodat":
		return call{args: "btnn", tolerates: mayExist}, true
	case "symlinkat":
		return call{args: "tbt"}, true
	case "chdir":
		return call{args: "t"}, true
	case "pivot_root":
		return call{args: "tt"}, true
	case "umount2", "sethostname":
		return call{args: "tn"}, true
	case "mount":
		return call{args: "0t0n0"}, true
	case "close_range", "setresuid", "setresgid":
		return call{args: "nnn"}, true
	case "fcntl":
		return call{args: "fna"}, true
	case "landlock_create_ruleset":
		return call{args: "mnn", returns: opens}, true
	case "landlock_add_rule":
		return call{args: "fnmn"}, true
	case "landlock_restrict_self":
		return call{args: "fn"}, true
	case "pipe2":
		return call{args: "mn"}, true
	case "clone":
		return call{args: "n0ppp", returns: unknowable}, true
	case "ioctl":
		return call{args: "fna", returns: known, tolerates: mayBeGivenUp}, true
	case "fchown":
		return call{args: "fnn"}, true
	case "dup3":
		return call{args: "fnn", returns: known}, true
	case "ppoll":
		return call{args: "mnp00", returns: answers}, true
	case "setns":
		return call{args: "fn"}, true
	case "capset":
		return call{args: "mm"}, true
	case "seccomp":
		return call{args: "nnm", returns: known}, true
	case "prlimit64":
		return call{args: "nnm0"}, true
	case "rt_sigaction", "rt_sigprocmask":
		return call{args: "nm0n"}, true
	case "setgroups":
		return call{args: "nm"}, true
	case "write":
		return call{args: "fmn", returns: length}, true
	case "read":
		return call{args: "fmn", returns: known}, true
	case "sendmsg":
		return call{args: "fmn", returns: known, tolerates: mayBeUnheard}, true
	case "waitid":
		return call{args: "nnmnm"}, true
	case "getrusage":
		return call{args: "nm"}, true
	case "recvmsg":
		return call{args: "fmn", returns: unknowable}, true
	case "kill":
		return call{args: "nn", tolerates: mayBeAlone}, true
	case "wait4":
		return call{args: "nmnm", returns: known}, true
	case "personality":
		return call{args: "n", returns: unknowable}, true
	case "setsid":
		return call{args: "", returns: known}, true
	case "umask":
		return call{args: "n", returns: unknowable}, true
	case "clone3":
		return call{args: "mn", returns: unknowable}, true
	case "faccessat2":
		return call{args: "btnn", returns: answers}, true
	case "execve":
		return call{args: "tmm", returns: nothing, tolerates: mayBeElsewhere}, true
	case "exit_group", "exit":
		return call{args: "n", returns: nothing}, true
	}
	return call{}, false
}

// arguments checks each argument by its letter.
func (c *checker) arguments(call call) *Fault {
	args := c.op.Call.Args
	if n := len(call.args); len(args) != n && (n == 0 || len(args) != n-1 || call.args[n-1] != 'N') {
		return c.fault(RuleCall, "%s with %d arguments", c.op.Call.Name, len(args))
	}
	for i := range args {
		if !c.argument(&args[i], call.args[i]) {
			rule := RuleCall
			if args[i].Mem != nil {
				rule = RuleMemory
			} else if call.args[i] == 'f' || call.args[i] == 'b' {
				rule = RuleDescriptor
			}
			return c.fault(rule, "argument %d of %s", i+1, c.op.Call.Name)
		}
	}
	if c.data > maxData {
		return c.fault(RuleBounds, "more than %d bytes of data", maxData)
	}
	return nil
}

func (c *checker) argument(a *kernel.Arg, letter byte) bool {
	if a.Mem == nil && a.Offset != 0 || a.Mem != nil && (a.Value != 0 || a.Offset < 0 || a.Offset > size(a.Mem) || !c.memory(a.Mem, 0)) {
		return false
	}
	switch letter {
	case 'n', 'N':
		return a.Mem == nil
	case 'f':
		return a.Mem == nil && c.isOpen(a.Value)
	case 'b':
		return a.Mem == nil && (a.Value == cwd || c.isOpen(a.Value))
	case 't':
		return isText(a)
	case 'm':
		return a.Mem != nil
	case 'a':
		return true
	case 'p':
		return a.Mem != nil || a.Value == 0
	case 'o':
		return a.Mem == nil && a.Value == 0 || isText(a)
	}
	return a.Mem == nil && a.Value == 0
}

// memory checks m and what it points to.
func (c *checker) memory(m *kernel.Memory, depth int) bool {
	const maxDepth = 4 // sendmsg: message, vector, data
	// Empty memory counts too, or lists of pointers to it would be free.
	c.data += size(m) + 8
	switch {
	case c.data > maxData:
		return true // which arguments reports
	case m.Text != "" && (len(m.Bytes) > 0 || len(m.Refs) > 0) || depth > maxDepth:
		return false
	}
	for i := range m.Refs {
		r := &m.Refs[i]
		if r.Offset < 0 || r.Offset > len(m.Bytes)-8 {
			return false
		}
		if r.To != nil && (r.ToOffset < 0 || r.ToOffset > size(r.To) || !c.memory(r.To, depth+1)) {
			return false
		}
	}
	return true
}

// size returns how many bytes m takes.
func size(m *kernel.Memory) int {
	if m.Text != "" {
		return len(m.Text) + 1
	}
	return len(m.Bytes)
}

func isText(a *kernel.Arg) bool {
	return a.Mem != nil && (a.Mem.Text != "" && a.Offset == 0 || a.Mem.Text == "" && bytes.IndexByte(a.Mem.Bytes[a.Offset:], 0) >= 0)
}

// text returns a text that isText has seen, as the kernel reads it: up to its NUL.
func text(a *kernel.Arg) string {
	switch {
	case a.Mem == nil:
		return ""
	case a.Mem.Text != "":
		s, _, _ := strings.Cut(a.Mem.Text, "\x00")
		return s
	}
	b := a.Mem.Bytes[a.Offset:]
	return string(b[:bytes.IndexByte(b, 0)])
}

func (c *checker) text(i int) string { return text(&c.op.Call.Args[i]) }

func (c *checker) value(i int) int64 { return c.op.Call.Args[i].Value }

// holds reports whether an argument points to at least n bytes.
func (c *checker) holds(i int, n int64) bool {
	a := &c.op.Call.Args[i]
	return a.Mem != nil && n >= 0 && n <= int64(size(a.Mem)-a.Offset)
}

// bytes returns the first n bytes of a struct that an argument points to; nil if there are fewer.
func (c *checker) bytes(i, n int) []byte {
	a := &c.op.Call.Args[i]
	if a.Mem == nil || n < 1 || n > len(a.Mem.Bytes)-a.Offset {
		return nil
	}
	return a.Mem.Bytes[a.Offset : a.Offset+n]
}

// pointer returns what the pointer at an offset of an argument's memory points to, at least n bytes.
func (c *checker) pointer(i, offset, n int) []byte {
	a := &c.op.Call.Args[i]
	if a.Mem == nil {
		return nil
	}
	for _, r := range a.Mem.Refs {
		if r.Offset == a.Offset+offset && r.To != nil && n <= len(r.To.Bytes)-r.ToOffset {
			return r.To.Bytes[r.ToOffset:]
		}
	}
	return nil
}

// tolerance checks which errors the op takes for success.
func (c *checker) tolerance(call call) *Fault {
	op := c.op
	switch {
	case len(op.Tolerate) == 0 && op.Reason == "":
		return nil
	case len(op.Tolerate) == 0 || op.Reason == "":
		return c.fault(RuleTolerance, "errors %v, reason %q", op.Tolerate, op.Reason)
	case len(op.Tolerate) > 1 && op.Call.Name != "execve":
		return c.fault(RuleTolerance, "%d errors", len(op.Tolerate))
	}
	for i, errno := range op.Tolerate {
		if !contains(call.tolerates, errno) || contains(op.Tolerate[:i], errno) {
			return c.fault(RuleTolerance, "%s of %s", unix.ErrnoName(errno), op.Call.Name)
		}
	}
	return nil
}

func contains(list []unix.Errno, errno unix.Errno) bool {
	for _, e := range list {
		if e == errno {
			return true
		}
	}
	return false
}

// result checks what the op expects. Where a result is not a constant, effect does.
func (c *checker) result(call call) *Fault {
	op := c.op
	if op.Retry && (op.Call.Name != "openat2" && op.Call.Name != "ppoll" && c.process != Witness || op.Kind != Call || op.Any || op.Keep != nil) {
		return c.fault(RuleResult, "%s is repeated at EAGAIN", op.Call.Name)
	}
	// The ID of a command that joins is the kernel's to choose.
	if joins := (len(c.p.Joins) > 0 || c.p.Bare) && op.Call.Name == "setsid"; op.Any && call.returns != unknowable && !joins {
		return c.fault(RuleResult, "any result of %s is accepted", op.Call.Name)
	}
	if op.Keep != nil {
		if call.returns != answers {
			return c.fault(RuleResult, "the result of %s is kept, not checked", op.Call.Name)
		}
		if op.KeepAt < 0 || op.KeepAt > len(op.Keep.Bytes)-8 || !c.memory(op.Keep, 0) {
			return c.fault(RuleMemory, "a result is kept at %d", op.KeepAt)
		}
	}
	var want int64
	switch call.returns {
	case known, unknowable:
		return nil
	case opens:
		want = c.lowest()
	case length:
		want = c.value(2)
	case answers:
		if c.process == Init && op.Call.Name == "ppoll" {
			want = 1 // it has hung up
		}
	}
	if op.Want != want {
		return c.fault(RuleResult, "%s is to return %d, not %d", op.Call.Name, op.Want, want)
	}
	return nil
}
