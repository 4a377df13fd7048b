//go:build linux

package plan

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
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

// witness is the life of the thread, in this order: it receives a call, looks whether that was only the end
// of the last process, kills everything, and ends. What it learns is in the record of the end, which PID 1
// tells when all are dead.
func (c *checker) witness() *Fault {
	var before, step facts
	switch name := c.op.Call.Name; name {
	case "ioctl":
		step = didReceive
		note := c.op.Call.Args[2]
		if c.value(0) != c.listener || c.value(1) != unix.SECCOMP_IOCTL_NOTIF_RECV || note.Mem != c.told || note.Offset != RecordCall ||
			!zeros(note.Mem.Bytes[RecordCall:RecordSeen]) || len(c.op.Tolerate) != 1 {
			return c.fault(RuleWitness, "it receives something else, or nobody is told")
		}
	case "ppoll":
		before, step = didReceive, didPoll
		if c.bytes(0, 8) == nil || c.value(1) != 1 || c.bytes(2, 16) == nil || !zeros(c.bytes(2, 16)) ||
			int64(binary.LittleEndian.Uint64(c.bytes(0, 8))) != c.listener || c.op.Keep != c.told || c.op.KeepAt != RecordSeen {
			return c.fault(RuleWitness, "it looks at something else, or nobody is told")
		}
	case "kill":
		before, step = didPoll, didKill
	case "exit":
		before = didKill
		c.ended = true
		if c.value(0) != 0 {
			return c.fault(RuleCall, "exit code %d", c.value(0))
		}
	}
	if c.process != Witness || !c.has(before) || step != 0 && c.has(step) {
		return c.fault(RuleWitness, "%s comes too early, or again, or from the %s", c.op.Call.Name, c.process)
	}
	c.done |= step
	return nil
}
