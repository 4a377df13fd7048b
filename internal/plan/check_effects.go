//go:build linux

package plan

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// kind is what a descriptor is.
type kind uint8

const (
	closed    kind = iota
	inherited      // from the caller
	created        // a new file, or a file of the ID maps
	share          // a limit of PID 1's own user namespace
	lowered        // the same once it was written
	resolved       // by openat2
	hostTree       // a copy of mounts of the host
	ownTree        // a copy of mounts of the sandbox
	ownMount       // of a new file system
	fsContext      // a file system in the making
	socket
	listener // of the command's filter
	counter  // on which PID 1 and its witness wait for each other
	master   // of the terminal: the end at which it is seen and typed at
	peer     // of the master: what the command has
	namespace
	pidfd    // of a command that joins
	received // by PID 2, with what it is to execute
	ruleset  // of Landlock
	found    // a file of the host, to say of it what may be done
	rein     // a pipe whose other end the guard holds
	hold     // that end
)

// descriptor is an open file descriptor.
type descriptor struct {
	kind        kind
	closeOnExec bool // set by fcntl; what Check wants of the others is that they are closed
	restricted  bool // a mount: it has the attributes that it must
	attached    bool
	own         bool  // resolved: a directory of a mount of ours, with no link on the way
	sized       uint8 // a tmpfs in the making: its bounds that are set; a master: what was done to it
	devpts      bool  // a mount: of terminals
	proc        bool  // a mount: of processes
	op          int32 // that opened it, -1 is none
	mount       int32 // an own mount or directory: the op that made the mount
	onWrite     facts // what a write to it does
}

func (c *checker) isOpen(fd int64) bool {
	return fd >= 0 && fd < int64(len(c.fds)) && c.fds[fd].kind != closed
}

// at returns a descriptor that arguments has seen.
func (c *checker) at(i int) *descriptor { return &c.fds[c.value(i)] }

func (c *checker) lowest() int64 {
	for i := range c.fds {
		if c.fds[i].kind == closed {
			return int64(i)
		}
	}
	return int64(len(c.fds))
}

// open opens the lowest descriptor, as the op does.
func (c *checker) open(d descriptor) *Fault {
	if c.strangers {
		return c.fault(RuleStrangers, "its descriptor cannot be known")
	}
	d.op = int32(c.i)
	if fd := c.lowest(); fd < int64(len(c.fds)) {
		c.fds[fd] = d
	} else {
		c.fds = append(c.fds, d)
	}
	return nil
}

// effect does what the op does to the state, and checks what the rules say about it.
func (c *checker) effect() *Fault {
	switch c.op.Call.Name {
	case "close":
		*c.at(0) = descriptor{}
	case "close_range":
		return c.closeRange()
	case "openat":
		return c.openat()
	case "openat2":
		return c.openat2()
	case "open_tree":
		return c.openTree()
	case "mkdirat", "mknodat":
		return c.create(0, 1)
	case "symlinkat":
		return c.create(1, 2)
	case "mount_setattr":
		return c.mountSetattr()
	case "move_mount":
		return c.moveMount()
	case "fsopen":
		return c.open(descriptor{kind: fsContext})
	case "fsconfig":
		return c.fsconfig()
	case "fsmount":
		return c.fsmount()
	case "chdir", "fchdir":
		return c.changeDirectory()
	case "pivot_root":
		return c.pivotRoot()
	case "umount2":
		return c.umount()
	case "mount":
		return c.makePrivate()
	case "eventfd2":
		return c.eventfd()
	case "socket":
		return c.open(descriptor{kind: socket})
	case "ioctl":
		return c.ioctl()
	case "fchown":
		return c.fchown()
	case "dup3":
		return c.dup()
	case "ppoll":
		return c.ppoll()
	case "exit":
		return c.witness()
	case "setns":
		return c.setns()
	case "sethostname":
		if !c.holds(0, c.value(1)) {
			return c.fault(RuleMemory, "a name of %d bytes", c.value(1))
		}
	case "fcntl":
		return c.fcntl()
	case "read":
		return c.read()
	case "write":
		return c.write()
	case "sendmsg":
		return c.sendmsg()
	case "recvmsg":
		return c.recvmsg()
	case "getrusage":
		return c.sum()
	case "clone3":
		return c.clone3()
	case "wait4":
		return c.wait4()
	case "waitid":
		return c.waitid()
	case "kill":
		return c.kill()
	case "execve":
		return c.execve()
	case "faccessat2":
		if c.process != Command {
			return c.fault(RulePath, "only the command looks for programs")
		}
	case "exit_group":
		return c.exit()
	default:
		return c.confine()
	}
	return nil
}

func (c *checker) closeRange() *Fault {
	first, last := c.value(0), c.value(1)
	if first < 0 || last < first || last > kernel.LastDescriptor || c.value(2) != 0 && c.value(2) != unix.CLOSE_RANGE_CLOEXEC {
		return c.fault(RuleCall, "close_range(%d, %d, %d)", first, last, c.value(2))
	}
	if c.value(2) == unix.CLOSE_RANGE_CLOEXEC {
		for fd := first; fd <= last && fd < int64(len(c.fds)); fd++ {
			c.fds[fd].closeOnExec = true
		}
		return nil
	}
	for fd := first; fd <= last && fd < int64(len(c.fds)); fd++ {
		c.fds[fd] = descriptor{}
	}
	if first <= int64(c.p.Inherited) && last == kernel.LastDescriptor {
		c.strangers = false
	}
	return nil
}

func (c *checker) fcntl() *Fault {
	fd, command, value := c.value(0), c.value(1), c.value(2)
	lifeline := fd == int64(c.p.Lifeline) && c.process == Init
	if c.op.Call.Args[2].Mem != nil {
		return c.fault(RuleCall, "fcntl(%d, %d) with a pointer", fd, command)
	}
	switch {
	case command == unix.F_SETFD && value == unix.FD_CLOEXEC:
		c.at(0).closeOnExec = true
	case command == unix.F_SETOWN && value == 1 && lifeline:
		return c.lifeline(didHandler, didOwner)
	case command == unix.F_SETFL && value == unix.O_ASYNC|unix.O_NONBLOCK && lifeline:
		return c.lifeline(didOwner, didAsync)
	default:
		return c.fault(RuleCall, "fcntl(%d, %d, %d)", fd, command, value)
	}
	return nil
}

// lifeline does a step of watching the lifeline, after the one before it. The ID that the kernel notes
// with the owner is the one of that moment, so it must be the last.
func (c *checker) lifeline(before, step facts) *Fault {
	if !c.has(before) || c.process != Init {
		return c.fault(RuleLifeline, "it comes too early")
	}
	if step == didOwner && !c.identified() {
		return c.fault(RuleIdentity, "the lifeline's owner is set before")
	}
	c.done |= step
	return nil
}

func (c *checker) read() *Fault {
	fd, n := c.value(0), c.value(2)
	if c.at(0).kind == counter {
		return c.meet(didMeet)
	}
	switch {
	case n < 1 || !c.holds(1, n):
		return c.fault(RuleMemory, "%d bytes are read", n)
	case fd == int64(c.p.Lifeline) && c.op.Want == -int64(unix.EAGAIN):
		return c.lifeline(didOwner|didAsync, didLook)
	case c.op.Want != n:
		return c.fault(RuleResult, "read is to return %d", c.op.Want)
	case c.process == Command || fd == int64(c.p.Report) || fd == int64(c.p.Lifeline) || c.at(0).kind != inherited || c.isPayload(fd):
		return c.fault(RuleDescriptor, "%d is no pipe on which the caller says when to go on", fd)
	}
	if c.process == Init {
		c.done |= didReadMaps
	}
	return nil
}

func (c *checker) isPayload(fd int64) bool {
	for _, p := range c.p.Payload {
		if int64(p) == fd {
			return true
		}
	}
	return false
}

func (c *checker) write() *Fault {
	n := c.value(2)
	if !c.holds(1, n) {
		return c.fault(RuleMemory, "%d bytes are written", n)
	}
	if c.value(0) == int64(c.p.Report) {
		if c.p.Inbox != nil && c.process == Command {
			return c.tellReady()
		}
		if kind := c.bytes(1, SizeofFailed); c.has(didFork) && !c.has(didTell) && kind != nil && RecordKind(binary.LittleEndian.Uint32(kind)) == c.tells() {
			c.done |= didTell
			return nil
		}
		return c.tellEnd()
	}
	if c.at(0).kind == counter {
		return c.meet(didPost)
	}
	if c.at(0).kind == share {
		return c.lower()
	}
	if c.at(0).kind != created {
		return c.fault(RuleDescriptor, "%d is no new file", c.value(0))
	}
	c.done |= c.at(0).onWrite
	return nil
}

// tells returns the record by which a process tells of the one that it has made.
func (c *checker) tells() RecordKind {
	if c.process == Stub {
		return Cloned
	}
	return Started
}

// sendmsg tells the caller of a process, and hands over what it is to watch.
func (c *checker) sendmsg() *Fault {
	switch {
	case c.value(0) != int64(c.p.Report) || c.at(0).kind != inherited:
		return c.fault(RuleReport, "%d is not the report", c.value(0))
	case !c.has(didFork) && !c.p.Keeps || c.has(didTell):
		return c.fault(RuleReport, "there is no process to tell of")
	}
	const iovecAt, controlAt = 16, 32 // struct msghdr
	message, control := c.bytes(1, 56), c.pointer(1, controlAt, 16+4)
	vector := c.pointer(1, iovecAt, 16)
	if message == nil || control == nil || vector == nil {
		return c.fault(RuleMemory, "it is not one message with descriptors")
	}
	if n := binary.LittleEndian.Uint64(vector[8:]); int64(n) != c.op.Want || n > MaxRecord {
		return c.fault(RuleResult, "%d bytes are sent, not %d", n, c.op.Want)
	}
	// cmsg(3): length, level, type, then the descriptors.
	size := binary.LittleEndian.Uint64(control)
	if size < 16+4 || size > uint64(len(control)) {
		return c.fault(RuleMemory, "%d bytes of control", size)
	}
	if len(c.op.Tolerate) > 0 && c.process != Joiner {
		return c.fault(RuleTolerance, "the %s goes on without a word", c.process)
	}
	for at := 16; at+4 <= int(size); at += 4 {
		fd := int64(binary.LittleEndian.Uint32(control[at:]))
		if !c.isOpen(fd) {
			return c.fault(RuleReport, "descriptor %d is sent", fd)
		}
		switch c.fds[fd].kind {
		case resolved, namespace, pidfd:
		case ownMount:
			if !c.p.Keeps || !c.fds[fd].devpts {
				return c.fault(RuleReport, "descriptor %d is sent", fd)
			}
		case listener:
			c.done |= didHand
		case master:
			c.done |= didSendMaster
		default:
			return c.fault(RuleReport, "descriptor %d is sent", fd)
		}
	}
	c.done |= didTell
	return nil
}
