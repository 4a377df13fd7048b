//go:build linux

package plan

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// bareGuard starts the command and waits for it. The group of the command ends when the guard does, whatever
// ends it: then the pipe that it alone holds is at its end.
func (c *checker) bareGuard() *Fault {
	switch name := c.op.Call.Name; {
	case name == "prctl" && !c.has(didFork):
		return c.barePrctl()
	case name == "seccomp" && c.has(didFork) && !c.has(didFilter):
		return c.bareFilter()
	case name == "write" && c.has(didFilter) && !c.has(didTell):
		return c.tellGroup()
	case name == "waitid" && c.waited == 0:
		return c.guardWait()
	case name == "write" && c.value(0) == int64(c.p.Report):
		return c.tellWaited()
	case name == "exit_group" && c.told != nil && c.value(0) == 0:
		c.ended = true
	default:
		return c.fault(RuleBare, "%s in the guard, or too early, or too late", name)
	}
	return nil
}

// tellGroup is the write of the start, with the ID by which the caller finds the command. No descriptor is sent:
// those in flight are counted for the user, so that a payload could have all starts fail.
func (c *checker) tellGroup() *Fault {
	record := &c.op.Call.Args[1]
	if c.value(0) != int64(c.p.Report) || record.Mem == nil || record.Mem != c.owner || record.Offset != 0 || c.value(2) != int64(len(record.Mem.Bytes)) {
		return c.fault(RuleReport, "it is not the start that is told")
	}
	c.done |= didTell
	return nil
}

func (c *checker) guardWait() *Fault {
	switch {
	case c.value(0) != unix.P_PIDFD || c.value(1) != c.watched || c.value(3) != unix.WEXITED|unix.WNOWAIT || c.op.Any:
		return c.fault(RuleUntil, "it waits for something else")
	case c.bytes(2, RecordSpent-RecordInfo) == nil || c.bytes(4, sizeofWaited-RecordSpent) == nil:
		return c.fault(RuleMemory, "a status or usage")
	case !c.has(didTell):
		return c.fault(RuleReport, "the start is not told")
	}
	held, read := false, false
	for fd := range c.fds {
		switch kind := c.fds[fd].kind; {
		case kind == rein:
			read = true
		case kind == hold && !read:
			// The last is let go of first: of a pipe that nobody reads nobody is told.
			return c.fault(RuleGroup, "the guard does not keep the end that kills the group, or lets go of it before the other")
		case kind == ruleset || c.isPayload(int64(fd)) && kind != closed:
			return c.fault(RulePayload, "the guard keeps descriptor %d", fd)
		case kind == hold:
			held = true
		}
	}
	if !held {
		return c.fault(RuleGroup, "the guard does not hold the group")
	}
	c.waited = c.i
	return nil
}

// The steps by which a file kills the group: what descriptor.sized counts.
const (
	reinOwner = 1 << iota
	reinSignal
	reinAsync

	reinAll = reinOwner | reinSignal | reinAsync
)

// bareCommand confines the command, with nothing but executing behind its filters.
func (c *checker) bareCommand() *Fault {
	name := c.op.Call.Name
	if c.has(didRestrict) && name != "seccomp" && name != "execve" {
		return c.fault(RuleLandlock, "%s comes after it", name)
	}
	switch name {
	case "setsid":
		if !c.op.Any {
			return c.fault(RuleResult, "its ID is not known")
		}
		c.done |= didSession
	case "fcntl":
		return c.hitch()
	case "read":
		if c.value(0) != int64(c.p.Lifeline) || c.op.Want != -int64(unix.EAGAIN) || !c.holds(1, c.value(2)) || !c.hitched() || !c.has(didFollow) {
			return c.fault(RuleLifeline, "it does not look at it, or before it is held by it")
		}
		c.done |= didLook
	case "prctl":
		return c.barePrctl()
	case "prlimit64", "personality":
		return c.confine()
	case "openat2":
		return c.bareDir()
	case "fchdir":
		if c.at(0).kind != resolved {
			return c.fault(RuleDescriptor, "descriptor %d is no directory", c.value(0))
		}
		c.done |= didHome
	case "faccessat2":
	case "landlock_restrict_self":
		if c.at(0).kind != ruleset || c.value(1) != 0 || !c.has(didNoNewPrivs) {
			return c.fault(RuleLandlock, "it does not restrict")
		}
		c.done |= didRestrict
	case "seccomp":
		if !c.has(didRestrict) {
			return c.fault(RuleLandlock, "it comes too late")
		}
		return c.bareFilter()
	case "execve":
		return c.bareExec()
	default:
		return c.fault(RuleBare, "%s in the command", name)
	}
	return nil
}

// hitch makes a file kill the group. The order matters: the ID is that of a group only once there is one.
func (c *checker) hitch() *Fault {
	fd, value, m := c.value(0), c.value(2), c.op.Call.Args[2].Mem
	line := fd == int64(c.p.Lifeline) || c.at(0).kind == rein
	step := uint8(0)
	switch command := c.value(1); {
	case command == unix.F_SETFD && value == unix.FD_CLOEXEC && m == nil:
		c.at(0).closeOnExec = true
		return nil
	case command == unix.F_SETOWN_EX && m != nil && m == c.owner && c.op.Call.Args[2].Offset == RecordOwner && c.has(didSession):
		step = reinOwner
	case command == unix.F_SETSIG && value == int64(unix.SIGKILL) && m == nil:
		step = reinSignal
	case command == unix.F_SETFL && value == unix.O_ASYNC|unix.O_NONBLOCK && m == nil && c.at(0).sized == reinOwner|reinSignal:
		step = reinAsync
	}
	if !line || step == 0 {
		return c.fault(RuleGroup, "fcntl(%d, %d, %d)", fd, c.value(1), value)
	}
	c.at(0).sized |= step
	return nil
}

// hitched reports whether both lines kill the group.
func (c *checker) hitched() bool {
	reins := 0
	for fd := range c.fds {
		if c.fds[fd].kind == rein && c.fds[fd].sized == reinAll {
			reins++
		}
	}
	return reins == 1 && c.fds[c.p.Lifeline].sized == reinAll
}

// bareDir finds the working directory.
func (c *checker) bareDir() *Fault {
	return c.findHost(unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, unix.RESOLVE_NO_MAGICLINKS, resolved)
}

// exactFile finds a file for a rule, no part of whose path is a link.
func (c *checker) exactFile() *Fault {
	return c.findHost(unix.O_PATH|unix.O_CLOEXEC, unix.RESOLVE_NO_SYMLINKS, found)
}

// findHost finds what is at a path of the host's.
func (c *checker) findHost(flags, bounds uint64, kind kind) *Fault {
	const howSize = 24
	how := c.bytes(2, howSize)
	if how == nil || c.value(3) != howSize || c.value(0) != cwd || c.text(1) == "" || c.text(1)[0] != '/' ||
		binary.LittleEndian.Uint64(how) != flags || binary.LittleEndian.Uint64(how[16:])&bounds == 0 {
		return c.fault(RulePath, "%q is opened", c.text(1))
	}
	return c.open(descriptor{kind: kind})
}

// bareExec holds the command to what it may become.
func (c *checker) bareExec() *Fault {
	if f := c.lastExec(); f != nil || c.has(didExec) {
		return f
	}
	c.done |= didExec
	switch {
	case !c.has(didRestrict):
		return c.fault(RuleLandlock, "it does not come at all")
	case c.p.Filters < 1 || c.filters != c.p.Filters:
		return c.fault(RuleFilter, "%d of %d", c.filters, c.p.Filters)
	case !c.has(didSession | didLook):
		return c.fault(RuleGroup, "it is not held by its lines")
	case !c.has(didHome):
		return c.fault(RulePath, "the working directory is the caller's")
	case !c.has(didCore):
		return c.fault(RuleCore, "it is the caller's")
	case !c.isOpen(int64(c.p.Report)) || !c.fds[c.p.Report].closeOnExec:
		return c.fault(RulePayload, "the report is closed, or stays open")
	}
	return c.keepsPayload()
}
