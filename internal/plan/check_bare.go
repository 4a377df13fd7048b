//go:build linux

package plan

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// A program without namespaces: the stub, the reaper that becomes a parent of whatever the command leaves
// behind, the guard that waits for the command, and the command. What each may do is written down here once
// more and apart, since next to nothing that namespaces make harmless is so without.

// forks returns the call by which a program forks.
func (c *checker) forks() string {
	if c.p.Bare {
		return "clone"
	}
	return "clone3"
}

// The flags of the forks of such a program.
const (
	reaperFlags = unix.CLONE_PARENT | unix.CLONE_PARENT_SETTID
	guardFlags  = uint64(unix.SIGCHLD)
	bareFlags   = unix.CLONE_VM | unix.CLONE_VFORK | unix.CLONE_PIDFD | unix.CLONE_CHILD_SETTID | uint64(unix.SIGCHLD)
)

// bare does what the op does in a program without namespaces.
func (c *checker) bare() *Fault {
	switch c.op.Call.Name {
	case "close":
		*c.at(0) = descriptor{}
		return nil
	case "close_range":
		return c.closeRange()
	case "clone":
		return c.clone()
	case "umask":
		return c.confine()
	}
	switch c.process {
	case Stub:
		return c.bareStub()
	case Reaper:
		return c.bareReaper()
	case Guard:
		return c.bareGuard()
	case Command:
		return c.bareCommand()
	}
	return c.fault(RuleBare, "a program without namespaces has no %s", c.process)
}

func (c *checker) bareStub() *Fault {
	switch c.op.Call.Name {
	case "rt_sigprocmask", "rt_sigaction":
		return c.confine()
	case "read":
		return c.read()
	case "write":
		return c.write()
	case "exit_group":
		return c.exit()
	}
	return c.fault(RuleBare, "%s in the stub", c.op.Call.Name)
}

// clone starts the next process.
func (c *checker) clone() *Fault {
	flags := uint64(c.value(0))
	made, want := Process(""), uint64(0)
	switch c.process {
	case Stub:
		made, want = Reaper, reaperFlags
	case Reaper:
		made, want = Guard, guardFlags
	case Guard:
		made, want = Command, bareFlags
	}
	args := c.op.Call.Args
	own := kernel.CloneChildArg(c.p.Arch)
	switch {
	case made == "" || c.has(didFork) || flags != want:
		return c.fault(RuleFlow, "the %s forks with flags %#x", c.process, flags)
	case !c.op.Any || c.op.Want != 0 || args[7-own].Mem != nil: // 3 and 4: the other one is for threads
		return c.fault(RuleResult, "a process ID is expected")
	case (made == Guard) != (args[2].Mem == nil) || made != Guard && !c.holds(2, 4):
		return c.fault(RuleMemory, "the ID of the new process")
	case made == Command && !c.isOwner(own) || made != Command && args[own].Mem != nil:
		return c.fault(RuleGroup, "the command does not know its own ID")
	case c.op.Child <= c.i+1 || c.op.Child >= len(c.p.Ops) || c.p.Ops[c.op.Child] == nil || c.p.Ops[c.op.Child].Process != made:
		return c.fault(RuleFlow, "its child, at %d of %d, is not the %s", c.op.Child, len(c.p.Ops), made)
	}
	if f := c.beforeBare(made); f != nil {
		return f
	}
	next := child{c.state, c.op.Child}
	next.state.process = made
	next.state.done &^= ofProcess | didFollow // prctl(2), PR_SET_PDEATHSIG
	next.state.fds = append(make([]descriptor, 0, len(c.fds)+16), c.fds...)
	if made == Command {
		c.owner = args[own].Mem
		c.watched = c.lowest()
		if f := c.open(descriptor{kind: pidfd, closeOnExec: true}); f != nil {
			return f
		}
	}
	c.done |= didFork
	c.children = append(c.children, next)
	return nil
}

// isOwner reports whether an argument is where struct f_owner_ex of a group takes its ID, in the record of the start.
func (c *checker) isOwner(arg int) bool {
	a := &c.op.Call.Args[arg]
	return a.Mem != nil && a.Offset == RecordOwner+kernel.OwnerID && len(a.Mem.Bytes) >= RecordNotes && len(a.Mem.Refs) == 0 &&
		binary.LittleEndian.Uint32(a.Mem.Bytes) == uint32(Started) && binary.LittleEndian.Uint32(a.Mem.Bytes[RecordOwner:]) == kernel.OwnerGroup
}

// beforeBare holds when a process is started.
func (c *checker) beforeBare(made Process) *Fault {
	switch {
	case c.strangers:
		return c.fault(RuleStrangers, "the %s would have them", made)
	case !c.has(didSignals) || c.signals != allSignals:
		return c.fault(RuleNamespaces, "the caller's signal mask, or signals that it ignores: %#x", allSignals&^c.signals)
	case made == Reaper:
		return nil
	case c.p.TakesIDs && (!c.has(didSetresgid|didSetresuid) || !c.has(didSetgroups) && !c.p.KeepsGroups):
		return c.fault(RuleIdentity, "they are still the caller's")
	case !c.has(didNoNewPrivs):
		return c.fault(RuleNoNewPrivs, "they can be gained")
	case !c.has(didDumpable):
		return c.fault(RuleDumpable, "the command could trace it")
	case !c.has(didSubreaper):
		return c.fault(RuleGroup, "orphans would come to somebody else")
	case !c.has(didHandle):
		return c.fault(RuleLandlock, "there is no ruleset")
	case made == Guard && !c.has(didCapset):
		return c.fault(RuleCapabilities, "the reaper has all")
	case made == Command && !c.has(didFollow):
		return c.fault(RuleGroup, "the guard would outlive the reaper")
	}
	reins, holds := 0, 0
	for fd := range c.fds {
		switch c.fds[fd].kind {
		case rein:
			reins++
		case hold:
			holds++
		case found:
			return c.fault(RuleSetup, "descriptor %d is open", fd)
		}
	}
	if reins != 1 || holds != 1 {
		return c.fault(RuleGroup, "%d pipes by which the guard holds the group", reins)
	}
	return nil
}

// bareReaper makes all that the others need, and then waits for the last of them.
func (c *checker) bareReaper() *Fault {
	late := c.has(didFork)
	switch name := c.op.Call.Name; {
	case name == "setgroups" && !late && c.value(0) == 0:
		c.done |= didSetgroups
	case (name == "setresgid" || name == "setresuid") && !late:
		if c.value(0) != c.value(1) || c.value(0) != c.value(2) || c.value(0) <= 0 || !c.has(didSetgroups) && !c.p.KeepsGroups || c.has(didCapset) {
			return c.fault(RuleIdentity, "%s(%d)", name, c.value(0))
		}
		c.done &^= didDumpable // see commit_creds in kernel/cred.c
		if name == "setresuid" {
			c.done |= didSetresuid
		} else {
			c.done |= didSetresgid
		}
	case name == "prctl" && !late:
		return c.barePrctl()
	case name == "capset" && !late:
		return c.bareCapset()
	case name == "landlock_create_ruleset" && !late && !c.has(didHandle):
		return c.handle()
	case name == "openat" && !late && c.value(2) == unix.O_PATH|unix.O_CLOEXEC && c.value(0) == cwd && len(c.op.Call.Args) == 3 && c.text(1) != "" && c.text(1)[0] == '/':
		return c.open(descriptor{kind: found})
	case name == "openat2" && !late:
		return c.exactFile()
	case name == "landlock_add_rule" && !late:
		return c.allow()
	case name == "pipe2" && !late:
		return c.pipe()
	case name == "seccomp" && late:
		return c.bareFilter()
	case name == "wait4" && c.has(didFilter):
		return c.bareWait()
	case name == "exit_group" && c.emptied > 0 && c.emptied == c.i-1 && c.value(0) == 0:
		c.ended = true
	default:
		return c.fault(RuleBare, "%s in the reaper, or too early, or too late", name)
	}
	return nil
}

// barePrctl is of the reaper, whose state the others have from it, and of the guard.
func (c *checker) barePrctl() *Fault {
	option, value := c.value(0), c.value(1)
	switch {
	case c.value(2) != 0 || c.value(3) != 0 || c.value(4) != 0:
		return c.fault(RuleCall, "prctl(%d, %d, …)", option, value)
	case c.process == Reaper && option == unix.PR_SET_NO_NEW_PRIVS && value == 1:
		c.done |= didNoNewPrivs
	case c.process == Reaper && option == unix.PR_SET_DUMPABLE && value == 0:
		c.done |= didDumpable
	case c.process == Reaper && option == unix.PR_SET_CHILD_SUBREAPER && value == 1:
		c.done |= didSubreaper
	case c.process != Reaper && option == unix.PR_SET_PDEATHSIG && value == int64(unix.SIGKILL):
		c.done |= didFollow
	default:
		return c.fault(RuleCall, "prctl(%d, %d) in the %s", option, value, c.process)
	}
	return nil
}

// bareCapset empties every set. The bounding set is not asked for: with no_new_privs nothing that is executed
// gains what it would allow (capabilities(7)).
func (c *checker) bareCapset() *Fault {
	header, data := c.bytes(0, 8), c.bytes(1, 24)
	if header == nil || data == nil || binary.LittleEndian.Uint32(header) != unix.LINUX_CAPABILITY_VERSION_3 || !zeros(header[4:]) || !zeros(data) {
		return c.fault(RuleCapabilities, "capset of another process, or it leaves some")
	}
	c.done |= didCapset
	return nil
}

// firstFS are the accesses that the first version of Landlock knows.
const firstFS = unix.LANDLOCK_ACCESS_FS_MAKE_SYM<<1 - 1

// handle makes the ruleset.
func (c *checker) handle() *Fault {
	attr := c.bytes(0, 24)
	n := c.value(1)
	if attr == nil || n != 8 && n != 16 && n != 24 || !zeros(attr[n:]) || c.value(2) != 0 {
		return c.fault(RuleMemory, "struct landlock_ruleset_attr")
	}
	c.handled = binary.LittleEndian.Uint64(attr)
	if c.handled&firstFS != firstFS {
		return c.fault(RuleLandlock, "it handles %#x", c.handled)
	}
	c.done |= didHandle
	return c.open(descriptor{kind: ruleset, closeOnExec: true})
}

// allow adds a rule to it.
func (c *checker) allow() *Fault {
	rule := c.bytes(2, 12)
	if c.at(0).kind != ruleset || c.value(1) != unix.LANDLOCK_RULE_PATH_BENEATH || rule == nil || c.value(3) != 0 {
		return c.fault(RuleLandlock, "it is no rule for a path")
	}
	access, fd := binary.LittleEndian.Uint64(rule), int64(binary.LittleEndian.Uint32(rule[8:]))
	if access&^c.handled != 0 || access == 0 || !c.isOpen(fd) || c.fds[fd].kind != found {
		return c.fault(RuleLandlock, "it allows %#x of descriptor %d", access, fd)
	}
	return nil
}

func (c *checker) pipe() *Fault {
	if c.bytes(0, 8) == nil || c.value(1) != unix.O_CLOEXEC {
		return c.fault(RuleCall, "pipe2 without close-on-exec")
	}
	if f := c.open(descriptor{kind: rein, closeOnExec: true}); f != nil {
		return f
	}
	return c.open(descriptor{kind: hold, closeOnExec: true})
}

// bareFilter loads a filter: one for the reaper and the guard, and one or two for the command.
func (c *checker) bareFilter() *Fault {
	const filterAt = 8 // struct sock_fprog
	program := c.bytes(2, 16)
	if c.value(0) != unix.SECCOMP_SET_MODE_FILTER || program == nil || c.value(1) != 0 {
		return c.fault(RuleCall, "it loads no filter")
	}
	n := int(binary.LittleEndian.Uint16(program))
	if n == 0 || c.pointer(2, filterAt, n*unix.SizeofSockFilter) == nil {
		return c.fault(RuleMemory, "a filter of %d instructions", n)
	}
	c.done |= didFilter
	if c.process == Command {
		c.filters++
	}
	return c.expect(0)
}

// bareWait is the loop of the reaper.
func (c *checker) bareWait() *Fault {
	switch {
	case c.value(0) != -1 || c.value(2) != unix.WALL || c.op.Any || c.op.Want != -int64(unix.ECHILD) || c.emptied != 0:
		return c.fault(RuleUntil, "it does not wait for the last")
	case c.bytes(1, 4) == nil || c.bytes(3, kernel.SizeofRusage) == nil:
		return c.fault(RuleMemory, "a status or usage")
	}
	held := false
	for fd := range c.fds {
		switch kind := c.fds[fd].kind; {
		case kind == hold || kind == ruleset || c.isPayload(int64(fd)) && kind != closed:
			return c.fault(RuleGroup, "the reaper keeps descriptor %d", fd)
		case kind == rein:
			held = true
		}
	}
	if !held || c.fds[c.p.Lifeline].kind != inherited || c.fds[c.p.Report].kind != inherited {
		return c.fault(RuleGroup, "the reaper does not keep the lines by which the group is killed, and the report")
	}
	c.emptied = c.i
	return nil
}
