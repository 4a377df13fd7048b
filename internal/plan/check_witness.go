//go:build linux

package plan

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// witnessFlags make a thread.
const witnessFlags = unix.CLONE_PARENT_SETTID | unix.CLONE_VM | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD

// beforeWitness holds when PID 1 starts a thread. It has no stack of its own, and so must never run a
// handler of signals.
func (c *checker) beforeWitness(flags, signal uint64) *Fault {
	switch {
	case flags != witnessFlags || signal != 0:
		return c.fault(RuleWitness, "flags %#x, signal %d: it is no thread", flags, signal)
	case c.listener < 0 || c.fds[c.listener].kind != listener:
		return c.fault(RuleWitness, "there is nothing to hear")
	case !c.has(didBlock):
		return c.fault(RuleWitness, "a signal could interrupt it, whose handler would find no stack")
	case !c.has(didCapset):
		return c.fault(RuleCapabilities, "the witness would have all")
	case !c.has(didDumpable):
		return c.fault(RuleDumpable, "changing an ID has undone it")
	case c.has(didFilter):
		return c.fault(RuleInitFilter, "it is loaded, and allows no thread")
	}
	return nil
}

// witness is the life of the thread, in this order: it loads its filter, receives, looks whether the call
// was only the end of the last process, tells, kills everything, and ends.
func (c *checker) witness() *Fault {
	name := c.op.Call.Name
	if c.process != Witness {
		return c.fault(RuleWitness, "%s in the %s", name, c.process)
	}
	var before, step facts
	switch name {
	case "ioctl":
		step = didReceive
		if c.value(0) != c.listener || c.value(1) != unix.SECCOMP_IOCTL_NOTIF_RECV || !c.refused(2, RecordCall) ||
			!zeros(c.op.Call.Args[2].Mem.Bytes[RecordCall:RecordPoll]) || len(c.op.Tolerate) != 1 {
			return c.fault(RuleWitness, "it receives something else")
		}
		c.received = c.op.Call.Args[2].Mem
	case "ppoll":
		before, step = didReceive, didPoll
		if c.value(1) != 1 || !c.refused(0, RecordPoll) || c.bytes(2, 16) == nil || !zeros(c.bytes(2, 16)) || !c.op.Any ||
			int64(binary.LittleEndian.Uint64(c.bytes(0, kernel.SizeofPollFD))) != c.listener {
			return c.fault(RuleWitness, "it looks at something else")
		}
	case "write":
		before, step = didPoll, didTell
		if c.value(0) != int64(c.p.Report) || !c.refused(1, 0) || c.value(2) != sizeofRefused {
			return c.fault(RuleWitness, "it tells of something else")
		}
	case "kill":
		before, step = didTell, didKill
	case "exit":
		before = didKill
		c.ended = true
		if c.value(0) != 0 {
			return c.fault(RuleCall, "exit code %d", c.value(0))
		}
	}
	if !c.has(before) || step != 0 && c.has(step) {
		return c.fault(RuleWitness, "%s comes too early, or again", name)
	}
	c.done |= step
	return nil
}

// refused reports whether an argument points to an offset of the record of a refusal: the one that was
// received, once it was.
func (c *checker) refused(i, at int) bool {
	a := &c.op.Call.Args[i]
	return a.Mem != nil && a.Offset == at && len(a.Mem.Bytes) == sizeofRefused && (c.received == nil || c.received == a.Mem) &&
		binary.LittleEndian.Uint32(a.Mem.Bytes) == uint32(Refused)
}
