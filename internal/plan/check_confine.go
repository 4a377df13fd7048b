//go:build linux

package plan

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// confine does the calls that take something from the process.
func (c *checker) confine() *Fault {
	switch c.op.Call.Name {
	case "prctl":
		return c.prctl()
	case "capset":
		return c.capset()
	case "seccomp":
		return c.seccomp()
	case "rt_sigprocmask":
		return c.sigprocmask()
	case "rt_sigaction":
		return c.sigaction()
	case "prlimit64":
		if c.value(0) != 0 || c.bytes(2, 16) == nil || c.process != Command {
			return c.fault(RuleCall, "the limits are not the command's")
		}
		switch c.value(1) {
		case unix.RLIMIT_CORE:
			c.done |= didCore
		case unix.RLIMIT_STACK:
			if binary.LittleEndian.Uint64(c.bytes(2, 16)[8:]) < maxStack {
				c.done |= didStack
			}
		}
	case "personality":
		if c.process != Command || c.value(0) != kernel.AddrCompatLayout || !c.op.Any {
			return c.fault(RuleCall, "personality(%#x)", c.value(0))
		}
		c.done |= didLayout
	case "setsid":
		if joins := len(c.p.Joins) > 0; c.process != Command || c.op.Any != joins || !joins && c.op.Want != commandPID {
			return c.fault(RuleResult, "it is not PID 2")
		}
		c.done |= didSession
	case "umask":
		if !c.op.Any && c.op.Want != c.umask {
			return c.fault(RuleResult, "umask is to return %#o", c.op.Want)
		}
		c.umask = c.value(0)
	case "setgroups":
		n := c.value(0)
		if n < 0 || n > 1<<16 || !c.holds(1, 4*n) || c.process == Init && n > 0 {
			return c.fault(RuleIdentity, "%d groups", n)
		}
		return c.identity(didSetgroups)
	case "setresgid":
		return c.identity(didSetresgid)
	case "setresuid":
		return c.identity(didSetresuid)
	}
	return nil
}

// maxStack is more than a stack may be for what is Low: mmap looks for free addresses from far below.
const maxStack = 64 << 30

// sigprocmask lets every signal through; or PID 1 blocks the one that it handles, so that its witness does not.
// It blocks no other: to a blocked signal the kernel does not apply that PID 1 is spared (sig_ignored in
// kernel/signal.c), and one that is sent to the witness's ID would end both.
func (c *checker) sigprocmask() *Fault {
	mask := c.bytes(1, 8)
	if c.value(0) != unix.SIG_SETMASK || c.value(3) != 8 || mask == nil {
		return c.fault(RuleCall, "it does not set the signal mask")
	}
	switch binary.LittleEndian.Uint64(mask) {
	case 0:
		c.done |= didSignals
		c.done &^= didBlock
	case 1 << (unix.SIGIO - 1):
		if c.process != Init || c.has(didFork) || c.has(didFilter) {
			return c.fault(RuleCall, "signals are blocked")
		}
		c.done |= didBlock
	default:
		return c.fault(RuleCall, "signals are blocked")
	}
	return nil
}

func zeros(b []byte) bool {
	for _, v := range b {
		if v != 0 {
			return false
		}
	}
	return true
}

// identity changes an ID: PID 1's before it watches the lifeline, the command's before it loses the
// capability to.
func (c *checker) identity(step facts) *Fault {
	call := &c.op.Call
	if c.process == Witness {
		return c.witness()
	}
	if f := c.keepsCapabilities(step); f != nil {
		return f
	}
	if call.Name != "setgroups" && (c.value(0) != c.value(1) || c.value(0) != c.value(2) || c.value(0) < 0) {
		return c.fault(RuleIdentity, "real, effective and saved ID differ")
	}
	// PID 1 may change once more, to whom the command is, when that has been started: the lifeline's
	// signals then need their owner again.
	if c.process == Joiner {
		if c.entered&unix.CLONE_NEWUSER == 0 || c.has(didFork) {
			return c.fault(RuleIdentity, "%s comes at another time", call.Name)
		}
		c.done |= step
		c.done &^= didDumpable
		return nil
	}
	if late := c.process == Init && c.has(didFork) && !c.has(didCapset); late {
		c.done &^= didOwner | didLook | didDumpable
		c.redumped = false
		if call.Name == "setresuid" {
			c.late = c.value(0)
		}
	} else if c.process == Stub || c.process == Init && (!c.has(didReadMaps) || c.has(didHandler)) {
		return c.fault(RuleIdentity, "%s comes at another time", call.Name)
	}
	if c.process == Init || c.process == Command && step != didSetgroups {
		c.done &^= didDumpable
	}
	if c.process == Command {
		c.done &^= didFollow // also undone by it
	}
	// A change of the user or group makes the memory dumpable as fs.suid_dumpable says (commit_creds in
	// kernel/cred.c), and the command's is also PID 1's until it is executed.
	if c.process == Command && step != didSetgroups && !c.redumped {
		return c.fault(RuleDumpable, "PID 1 would be as dumpable as fs.suid_dumpable says")
	}
	c.done |= step
	return nil
}

func (c *checker) seccomp() *Fault {
	const filterAt = 8 // struct sock_fprog
	program := c.bytes(2, 16)
	flags := int64(0)
	listens := c.process == Command && c.forked != nil
	switch {
	case listens:
		flags = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | c.value(1)&unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
	case c.has(didWitness):
		flags = unix.SECCOMP_FILTER_FLAG_TSYNC // it is the witness's too
	}
	if c.value(0) != unix.SECCOMP_SET_MODE_FILTER || program == nil {
		return c.fault(RuleCall, "it loads no filter")
	}
	n := int(binary.LittleEndian.Uint16(program))
	switch {
	case n == 0 || c.pointer(2, filterAt, n*unix.SizeofSockFilter) == nil:
		return c.fault(RuleMemory, "a filter of %d instructions", n)
	case !c.has(didNoNewPrivs):
		return c.fault(RuleNoNewPrivs, "they can still be gained")
	case c.process == Stub || c.startsCommand() && !c.has(didFork):
		return c.fault(RuleInitFilter, "the command would have it too")
	case c.process == Witness:
		return c.fault(RuleWitness, "it has that of PID 1")
	case c.value(1) != flags:
		return c.fault(RuleListener, "flags %#x, want %#x", c.value(1), flags)
	}
	c.done |= didFilter
	if !listens {
		return c.expect(0)
	}
	if c.lowest() != c.listener {
		return c.fault(RuleListener, "it would be %d, not %d", c.lowest(), c.listener)
	}
	if f := c.expect(c.listener); f != nil {
		return f
	}
	return c.open(descriptor{kind: listener, closeOnExec: true})
}

// expect checks the result that the op must have.
func (c *checker) expect(want int64) *Fault {
	if c.op.Any || c.op.Want != want {
		return c.fault(RuleResult, "%s is to return %d, not %d", c.op.Call.Name, c.op.Want, want)
	}
	return nil
}

// allSignals are those that can be reset: 1 to 64 without SIGKILL and SIGSTOP, a bit each from 0 on.
const allSignals = uint64(1<<64-1) &^ (1<<(unix.SIGKILL-1) | 1<<(unix.SIGSTOP-1))

func (c *checker) sigaction() *Fault {
	act := c.bytes(1, 32)
	if c.value(0) == int64(unix.SIGCHLD) && c.process == Init && c.p.Keeps {
		return c.ignoreChildren(act)
	}
	if sig := c.value(0); c.process == c.first() && sig > 0 && sig <= 64 && c.value(3) == 8 && act != nil && zeros(act) && len(c.op.Call.Args[1].Mem.Refs) == 0 {
		c.signals |= 1 << (sig - 1)
		return nil
	}
	if c.value(0) != int64(unix.SIGIO) || c.value(3) != 8 || act == nil || !zeros(act[24:]) || !hasHandler(c.op.Call.Args[1].Mem) {
		return c.fault(RuleCall, "it does not set the handler of the lifeline's signal")
	}
	return c.lifeline(0, didHandler)
}

func hasHandler(m *kernel.Memory) bool {
	for _, r := range m.Refs {
		if r.Offset == 0 {
			return r.To == nil
		}
	}
	return false
}
