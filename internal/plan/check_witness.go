//go:build linux

package plan

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// witnessFlags make a thread.
const witnessFlags = unix.CLONE_PARENT_SETTID | unix.CLONE_VM | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD

// witnessID is the thread's ID in the sandbox: behind that of the command, which comes later.
const witnessID = commandPID + 1

// beforeWitness holds when PID 1 starts a thread: before the command, which could otherwise be so many
// processes by then that there is no room for one more. It has no stack of its own, and so must never run a
// handler of signals.
func (c *checker) beforeWitness(flags, signal uint64) *Fault {
	const setAt, countAt, withID = 64, 72, 80
	id := c.pointer(0, setAt, 4)
	switch {
	case flags != witnessFlags || signal != 0:
		return c.fault(RuleWitness, "flags %#x, signal %d: it is no thread", flags, signal)
	case c.value(1) != withID || id == nil || binary.LittleEndian.Uint32(id) != witnessID || binary.LittleEndian.Uint64(c.bytes(0, withID)[countAt:]) != 1:
		return c.fault(RuleWitness, "it may take the command's ID")
	case c.has(didFork) || c.has(didWitness) || c.has(didFilter):
		return c.fault(RuleWitness, "it comes too late, or again")
	case !c.has(didBlock):
		return c.fault(RuleWitness, "a signal could interrupt it, whose handler would find no stack")
	}
	return nil
}

// eventfd opens a counter on which PID 1 and its witness wait for each other.
func (c *checker) eventfd() *Fault {
	if c.process != Init || c.has(didFork) || c.value(0) != 0 || c.value(1) != unix.EFD_CLOEXEC {
		return c.fault(RuleCall, "eventfd2(%d, %d) in the %s", c.value(0), c.value(1), c.process)
	}
	return c.open(descriptor{kind: counter, closeOnExec: true})
}

// meet is one of the two words: the witness says that it has dropped what PID 1 drops, and PID 1 that the
// command was executed and that both are behind their filter.
func (c *checker) meet(step facts) *Fault {
	fd := c.value(0)
	first := step == didPost == (c.process == Witness) // the witness's word
	value := c.bytes(1, 8)
	switch {
	case c.value(2) != 8 || value == nil || c.op.Want != 8 || step == didPost && binary.LittleEndian.Uint64(value) != 1:
		return c.fault(RuleWitness, "it is no word")
	case c.process == Witness:
		return c.witness()
	case c.process != Init || !c.has(didWitness|didFork) || c.has(step):
		return c.fault(RuleWitness, "%s in the %s, or again", c.op.Call.Name, c.process)
	case step == didPost && !c.has(didFilter):
		return c.fault(RuleInitFilter, "the witness would begin before it has one")
	case step == didPost && (!c.has(didMeet) || fd == c.words[0]):
		return c.fault(RuleWitness, "PID 1 does not wait for it")
	}
	if step == didMeet && c.late >= 0 {
		c.done &^= didDumpable // the witness has changed its ID by now, and whoever does so undoes it
		c.redumped = false
	}
	if first {
		c.words[0] = fd
	} else {
		c.words[1] = fd
	}
	c.done |= step
	return nil
}

// isOfWitness reports whether a call is one of the witness's.
func isOfWitness(name string) bool {
	switch name {
	case "setresuid", "prctl", "capset", "write", "read", "ioctl", "ppoll", "kill", "exit":
		return true
	}
	return false
}

// witness is the life of the thread, in this order: it becomes who PID 1 becomes, drops every capability, says
// so, and waits for PID 1's word; then it receives a call, looks whether that was only the end of the last
// process, kills everything, and ends. What it learns is in the record of the end, which PID 1 tells when
// all are dead.
func (c *checker) witness() *Fault {
	var before, step facts
	right := true
	switch c.op.Call.Name {
	case "setresuid":
		step = didSetresuidAgain
		right = c.value(0) == c.late && c.value(1) == c.late && c.value(2) == c.late && !c.has(didCapset)
	case "write":
		before, step = didCapset, didPost
		right = c.value(0) == c.words[0] && (c.late < 0 || c.has(didSetresuidAgain)) && c.bounds(0)
	case "read":
		before, step = didPost, didMeet
		right = c.value(0) == c.words[1]
	case "ioctl":
		before, step = didMeet, didReceive
		note := c.op.Call.Args[2]
		right = c.value(0) == c.heard && c.value(1) == unix.SECCOMP_IOCTL_NOTIF_RECV && note.Mem == c.told && note.Offset == RecordCall &&
			zeros(note.Mem.Bytes[RecordCall:RecordSeen]) && len(c.op.Tolerate) == 1 && c.op.Retry
	case "ppoll":
		before, step = didReceive, didPoll
		right = c.bytes(0, 8) != nil && c.value(1) == 1 && c.bytes(2, 16) != nil && zeros(c.bytes(2, 16)) &&
			int64(binary.LittleEndian.Uint64(c.bytes(0, 8))) == c.heard && c.op.Keep == c.told && c.op.KeepAt == RecordSeen
	case "kill":
		before, step = didPoll, didKill
	case "exit":
		before = didKill
		right = c.value(0) == 0
		c.ended = true
	}
	if c.process != Witness || !right || !c.has(before) || step != 0 && c.has(step) {
		return c.fault(RuleWitness, "%s does something else, comes too early, or again, or from the %s", c.op.Call.Name, c.process)
	}
	c.done |= step
	return nil
}
