//go:build linux

package plan

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"
)

// The program of a sandbox that is set up ahead: PID 2 waits to be told what to execute. What it is told is
// paths, strings and pointers to them, which the kernel reads when it executes the command and no sooner; and
// the command's streams.

// inboxFiles is how many descriptors come with the message: the streams.
const inboxFiles = 3

// tellReady is PID 2's word that it waits.
func (c *checker) tellReady() *Fault {
	record := c.bytes(1, SizeofFailed)
	if record == nil || RecordKind(binary.LittleEndian.Uint32(record)) != Ready || c.has(didReady) {
		return c.fault(RuleReport, "the command tells something else")
	}
	c.done |= didReady
	return nil
}

// awaitInbox opens for PID 1 what the command will have received, in the table that they share.
func (c *checker) awaitInbox() *Fault {
	if c.p.Inbox == nil {
		return nil
	}
	return c.openReceived()
}

func (c *checker) openReceived() *Fault {
	for range inboxFiles {
		if f := c.open(descriptor{kind: received, closeOnExec: true}); f != nil {
			return f
		}
	}
	return nil
}

// recvmsg receives what to execute: all of it, or PID 2 finds nothing at an empty path.
func (c *checker) recvmsg() *Fault {
	const iovecAt, controlAt = 16, 32 // struct msghdr
	message, control := c.bytes(1, 56), c.pointer(1, controlAt, unix.CmsgSpace(4*inboxFiles))
	vector := c.pointer(1, iovecAt, 16)
	if message == nil || control == nil || vector == nil {
		return c.fault(RuleMemory, "it is not one message with descriptors")
	}
	right := c.value(0) == int64(c.p.InboxFD) && c.at(0).kind == inherited && c.value(2) == unix.MSG_CMSG_CLOEXEC &&
		binary.LittleEndian.Uint64(message[24:]) == 1 && binary.LittleEndian.Uint64(message[40:]) == uint64(unix.CmsgSpace(4*inboxFiles)) &&
		c.p.Inbox != nil && binary.LittleEndian.Uint64(vector[8:]) <= uint64(len(c.p.Inbox.Bytes)) && c.intoInbox()
	switch {
	case c.process != Command || !right || !c.has(didReady) || c.has(didInbox):
		return c.fault(RuleInbox, "the %s receives something else, or before it is ready, or again", c.process)
	case !c.op.Any:
		return c.fault(RuleResult, "the length of the message is not known")
	}
	c.done |= didInbox
	return c.openReceived()
}

// intoInbox reports whether the message goes to the inbox, from its start.
func (c *checker) intoInbox() bool {
	for _, r := range c.op.Call.Args[1].Mem.Refs {
		if r.Offset == c.op.Call.Args[1].Offset+16 && r.To != nil {
			for _, to := range r.To.Refs {
				if to.Offset == r.ToOffset && to.To == c.p.Inbox && to.ToOffset == 0 {
					return true
				}
			}
		}
	}
	return false
}

// place puts what was received on one of the command's streams.
func (c *checker) place(to int64) *Fault {
	if c.process != Command || !slices.Contains(c.p.Payload, int(to)) || c.value(2) != 0 {
		return c.fault(RuleInbox, "dup3(%d, %d, %#x) in the %s", c.value(0), to, c.value(2), c.process)
	}
	c.fds[to] = descriptor{kind: inherited, op: int32(c.i)}
	c.placed |= 1 << to
	return c.expect(to)
}

// sum puts what all processes have used into the record of the end, when none is left: of a program that waits
// the caller does not wait for PID 1 to end.
func (c *checker) sum() *Fault {
	usage := c.op.Call.Args[1]
	if c.process != Init || c.p.Inbox == nil || c.emptied == 0 || c.emptied != c.i-1 || c.value(0) != unix.RUSAGE_CHILDREN ||
		usage.Mem != c.p.Ops[c.waited].Call.Args[1].Mem || usage.Offset != RecordUsage || c.bytes(1, sizeofEnded-RecordUsage) == nil {
		return c.fault(RuleReport, "getrusage of something else, or too early")
	}
	c.emptied = c.i
	return nil
}
