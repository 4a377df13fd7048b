//go:build linux

package plan

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// The flags of the forks: what they must have, and what PID 1 and the command may have beside.
const (
	bothFlags    = unix.CLONE_PARENT_SETTID | unix.CLONE_CLEAR_SIGHAND
	initFlags    = bothFlags | unix.CLONE_PARENT | unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID
	initMay      = unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP
	commandFlags = bothFlags | unix.CLONE_VM | unix.CLONE_VFORK
	commandMay   = unix.CLONE_FILES
)

func (c *checker) clone3() *Fault {
	const (
		size         = 64 // CLONE_ARGS_SIZE_VER0
		withID       = 80 // CLONE_ARGS_SIZE_VER1
		parentAt     = 24
		exitSignalAt = 32
	)
	args := c.bytes(0, size)
	if n := c.value(1); args == nil || n != size && (n != withID || c.bytes(0, withID) == nil) || c.pointer(0, parentAt, 4) == nil {
		return c.fault(RuleMemory, "struct clone_args")
	}
	flags, signal := binary.LittleEndian.Uint64(args), binary.LittleEndian.Uint64(args[exitSignalAt:])
	var f *Fault
	var made Process
	switch {
	case c.process == Stub:
		made, f = Init, c.beforeInit(flags, signal)
	case c.process == Init && flags&unix.CLONE_THREAD != 0:
		made, f = Witness, c.beforeWitness(flags, signal)
	case c.process == Init && !c.has(didFork) && !c.p.Keeps:
		made, f = Command, c.beforeCommand(flags, signal)
	case c.process == Joiner && !c.has(didFork):
		made, f = Command, c.beforeJoined(flags, signal)
	default:
		f = c.fault(RuleFlow, "the %s forks", c.process)
	}
	switch {
	case f != nil:
		return f
	case c.value(1) != size && made != Witness:
		return c.fault(RuleFlow, "the %s has a given ID", made)
	case !zeros(args[8:24]) || !zeros(args[40:]):
		return c.fault(RuleNamespaces, "struct clone_args holds more than flags")
	case c.process == Stub && c.has(didFork):
		return c.fault(RuleFlow, "the %s forks twice", c.process)
	case !c.op.Any || c.op.Want != 0:
		return c.fault(RuleResult, "a process ID is expected")
	case c.op.Child <= c.i+1 || c.op.Child >= len(c.p.Ops):
		return c.fault(RuleFlow, "its child is at %d of %d", c.op.Child, len(c.p.Ops))
	case c.p.Ops[c.op.Child] == nil || c.p.Ops[c.op.Child].Process != made:
		return c.fault(RuleFlow, "its child, at %d, is not the %s", c.op.Child, made)
	}
	next := child{c.state, c.op.Child}
	next.state.process = made
	next.state.done &^= ofProcess
	next.state.fds = append(make([]descriptor, 0, len(c.fds)+16), c.fds...)
	switch {
	case made == Witness:
		c.done |= didWitness
	case flags&unix.CLONE_PIDFD != 0:
		if f := c.openPidfd(&next.state, flags); f != nil {
			return f
		}
	}
	switch {
	case made == Command && flags&unix.CLONE_FILES != 0:
		// What the command leaves in the descriptors that the two share is known here before it is
		// checked there.
		if f := c.awaitInbox(); f != nil {
			return f
		}
		c.listener = c.lowest()
		next.state.listener, next.state.forked = c.listener, append([]descriptor{}, c.fds...)
		if f := c.open(descriptor{kind: listener, closeOnExec: true}); f != nil {
			return f
		}
	}
	if made != Witness {
		c.done |= didFork
	}
	if made == Command {
		c.heard = c.listener
	}
	c.children = append(c.children, next)
	return nil
}

// beforeInit holds when the stub starts PID 1.
func (c *checker) beforeInit(flags, signal uint64) *Fault {
	switch {
	case c.strangers:
		return c.fault(RuleStrangers, "PID 1 would have them")
	case flags&^initMay != initFlags || signal != 0:
		return c.fault(RuleNamespaces, "flags %#x, signal %d", flags, signal)
	case !c.has(didSignals) || c.signals != allSignals:
		return c.fault(RuleNamespaces, "the caller's signal mask, or signals that it ignores: %#x", allSignals&^c.signals)
	}
	return nil
}

// beforeCommand holds when PID 1 starts PID 2.
func (c *checker) beforeCommand(flags, signal uint64) *Fault {
	if flags&^commandMay != commandFlags || signal != uint64(unix.SIGCHLD) {
		return c.fault(RuleFlow, "flags %#x, signal %d: it must wait for the command", flags, signal)
	}
	return c.built()
}

// built holds when the sandbox is ready for somebody else's program.
func (c *checker) built() *Fault {
	switch {
	case !c.identified():
		return c.fault(RuleIdentity, "they are still the caller's")
	case !c.has(didLook) || c.fds[c.p.Lifeline].kind != inherited:
		return c.fault(RuleLifeline, "it does not watch the lifeline")
	case !c.has(didPrivate | didPivot | didDetach | didHome | didAbove):
		return c.fault(RuleRoot, "it is still there")
	case c.p.Ops[c.top].Call.Name == "fsmount" && !c.has(didSeal):
		return c.fault(RuleSeal, "it can be written")
	case c.has(didBlock):
		return c.fault(RuleLifeline, "its signals are blocked")
	case c.unset > 0:
		return c.fault(RuleShare, "%d are not", c.unset)
	}
	if f := c.attached(); f != nil {
		return f
	}
	for fd := range c.fds {
		terminals := c.p.Keeps && c.fds[fd].devpts
		if k := c.fds[fd].kind; k != closed && k != inherited && k != resolved && k != counter && k != namespace && k != master && k != peer && !terminals {
			return c.fault(RuleSetup, "descriptor %d is open", fd)
		}
	}
	if f := c.terminalReady(); f != nil {
		return f
	}
	return c.bound()
}

// bound holds when nothing can be gained, nor looked into.
func (c *checker) bound() *Fault {
	switch {
	case !c.bounds(c.p.Capabilities):
		return c.fault(RuleBoundingSet, "%#x are dropped", c.bounding)
	case !c.has(didNoNewPrivs):
		return c.fault(RuleNoNewPrivs, "they can be gained")
	case !c.has(didDumpable):
		return c.fault(RuleDumpable, "the command could trace it")
	}
	return nil
}

// execve holds the command to what it may become: somebody else's program.
func (c *checker) execve() *Fault {
	if c.process != Command {
		return c.fault(RuleCall, "the %s executes a program", c.process)
	}
	if f := c.lastExec(); f != nil {
		return f
	}
	if c.has(didExec) {
		return nil // nothing has changed since the first
	}
	c.done |= didExec
	switch {
	case !c.has(didFilter):
		return c.fault(RuleFilter, "there is none")
	case !c.has(didCapset):
		return c.fault(RuleCapabilities, "the command has all")
	case c.ambient != c.p.Capabilities:
		return c.fault(RuleCapabilities, "%#x are ambient", c.ambient)
	case !c.has(didDumpable):
		return c.fault(RuleDumpable, "changing an ID has undone it for PID 1 too")
	case c.p.Inbox != nil && (!c.has(didInbox) || c.placed != 1<<inboxFiles-1):
		return c.fault(RuleInbox, "nobody says what to execute, or on which streams")
	case len(c.p.Joins) > 0 && !c.has(didFollow|didLook):
		return c.fault(RuleOrphan, "it would go on alone")
	case !c.has(didSession):
		return c.fault(RuleSession, "it has the caller's")
	case !c.has(didCore):
		return c.fault(RuleCore, "it is the caller's")
	case !c.isOpen(int64(c.p.Report)) || !c.fds[c.p.Report].closeOnExec:
		return c.fault(RulePayload, "the report is closed, or stays open")
	}
	if c.p.Terminal != c.has(didControl) {
		return c.fault(RuleTerminal, "it does not control the session")
	}
	if f := c.keepsPayload(); f != nil {
		return f
	}
	return c.shared()
}

// lastExec holds to their order the programs that are tried.
func (c *checker) lastExec() *Fault {
	c.ended = len(c.op.Tolerate) == 0
	last := c.i == len(c.p.Ops)-1 || c.p.Ops[c.i+1] == nil || c.p.Ops[c.i+1].Call.Name != "execve"
	switch {
	case c.ended && !last:
		return c.fault(RuleTolerance, "the next one would not be tried")
	case !c.ended && last && (c.i == len(c.p.Ops)-1 || len(c.children) > 0 && c.children[0].at == c.i+1):
		return c.fault(RuleExec, "it tolerates %v", c.op.Tolerate)
	}
	if c.op.Call.Args[0].Mem.Low && !c.has(didLayout|didStack) {
		return c.fault(RuleLow, "they are the caller's")
	}
	return nil
}

// keepsPayload holds the command to its own descriptors, and no other.
func (c *checker) keepsPayload() *Fault {
	payload := c.p.Payload
	for fd := range c.fds {
		if len(payload) > 0 && payload[0] == fd {
			payload = payload[1:]
			want := inherited
			if c.p.Terminal && fd <= 2 {
				want = peer
			}
			if c.fds[fd].kind != want || c.fds[fd].closeOnExec {
				return c.fault(RulePayload, "descriptor %d is closed", fd)
			}
		} else if c.fds[fd].kind != closed && !c.fds[fd].closeOnExec {
			return c.fault(RulePayload, "descriptor %d is open", fd)
		}
	}
	return nil
}

// shared holds the command to what PID 1 expects to find in the descriptors that they share.
func (c *checker) shared() *Fault {
	if c.forked == nil {
		return nil
	}
	if c.listener >= int64(len(c.fds)) || c.fds[c.listener].kind != listener {
		return c.fault(RuleListener, "there is none")
	}
	for fd := range c.fds {
		if int64(fd) == c.listener {
			continue
		}
		if was := fd < len(c.forked) && c.forked[fd].kind != closed; was != (c.fds[fd].kind != closed) {
			return c.fault(RuleListener, "descriptor %d was opened or closed", fd)
		}
	}
	return nil
}

// wait4 is the loop of PID 1, and the last one of a joiner.
func (c *checker) wait4() *Fault {
	switch {
	case c.value(0) != -1 || c.value(2) != unix.WALL || c.op.Any:
		return c.fault(RuleUntil, "it waits for something else")
	case c.bytes(1, 4) == nil || c.bytes(3, sizeofEnded-RecordUsage) == nil:
		return c.fault(RuleMemory, "a status or usage")
	}
	if f := c.waits(); f != nil {
		return f
	}
	switch {
	case c.process == Joiner && c.op.Want == -int64(unix.ECHILD) && c.told != nil && c.told == c.p.Ops[c.waited].Call.Args[2].Mem &&
		c.op.Call.Args[1].Mem != c.told && !c.has(didReap):
		c.done |= didReap
	case c.process == Joiner:
		return c.fault(RuleUntil, "the joiner waits for somebody else before it has told the end")
	case c.op.Want == commandPID && c.waited == 0:
		c.waited = c.i
	case c.op.Want == -int64(unix.ECHILD) && c.has(didKill) && c.emptied == 0:
		if c.op.Call.Args[1].Mem == c.p.Ops[c.waited].Call.Args[1].Mem {
			return c.fault(RuleReport, "the end of PID 2 is overwritten")
		}
		c.emptied = c.i
	default:
		return c.fault(RuleUntil, "it waits twice, or for what was not killed, or for something else")
	}
	return nil
}

// waits holds when a process begins to wait for the command.
func (c *checker) waits() *Fault {
	switch {
	case !c.has(didFork):
		return c.fault(RuleUntil, "there is no PID 2")
	case !c.has(didTell):
		return c.fault(RuleReport, "the start is not told")
	case !c.has(didCapset):
		return c.fault(RuleCapabilities, "PID 1 has all")
	case !c.bounds(0):
		return c.fault(RuleBoundingSet, "PID 1 has dropped %#x", c.bounding)
	case !c.has(didFilter):
		return c.fault(RuleInitFilter, "there is none")
	case c.process == Init && (c.fds[c.p.Lifeline].kind != inherited || !c.has(didOwner|didLook)):
		return c.fault(RuleLifeline, "it is closed, or its signals are another's")
	case !c.has(didDumpable):
		return c.fault(RuleDumpable, "changing an ID has undone it")
	case c.listener >= 0 && c.has(didWitness) == c.has(didHand):
		return c.fault(RuleWitness, "nobody hears it, or two do")
	case c.has(didWitness) && (c.listener < 0 || c.fds[c.listener].kind != listener || !c.has(didMeet|didPost)):
		return c.fault(RuleWitness, "there is nothing to hear, or it waits for ever")
	}
	if f := c.terminalGone(); f != nil {
		return f
	}
	for fd := range c.fds {
		if c.isPayload(int64(fd)) && c.fds[fd].kind != closed || c.fds[fd].kind == received {
			return c.fault(RulePayload, "PID 1 keeps descriptor %d too: its reader would not see the end", fd)
		}
	}
	return nil
}

// kill ends what PID 2 has left behind.
func (c *checker) kill() *Fault {
	switch {
	case c.value(0) != -1 || c.value(1) != int64(unix.SIGKILL):
		return c.fault(RuleCall, "kill(%d, %d)", c.value(0), c.value(1))
	case c.process == Witness:
		return c.witness()
	case c.process != Init || c.waited == 0:
		return c.fault(RuleUntil, "PID 2 would be killed")
	}
	c.done |= didKill
	return nil
}

// tellEnd is the write of PID 1 to the report: what wait4 has filled in.
func (c *checker) tellEnd() *Fault {
	if c.process == Joiner {
		return c.tellWaited()
	}
	if c.process != Init || c.emptied == 0 || c.emptied != c.i-1 {
		return c.fault(RuleReport, "PID 1 did not wait before it")
	}
	record, waited := c.op.Call.Args[1], c.p.Ops[c.waited].Call.Args[1]
	c.told = record.Mem
	if record.Mem != waited.Mem || record.Offset != 0 || c.value(2) != sizeofEnded || waited.Offset != RecordStatus ||
		c.p.Ops[c.waited].Call.Args[3].Offset != RecordUsage || binary.LittleEndian.Uint32(record.Mem.Bytes) != uint32(Ended) {
		return c.fault(RuleReport, "it is not the end that is told")
	}
	return nil
}

func (c *checker) exit() *Fault {
	c.ended = true
	switch {
	case c.value(0) != 0:
		return c.fault(RuleCall, "exit code %d", c.value(0))
	case c.process == Stub && (!c.has(didFork|didTell) || c.p.Ops[c.i-1].Call.Name != "write"):
		return c.fault(RuleStub, "PID 1 is not started, or not told")
	case c.process == Init && c.p.Keeps:
		return c.endKeeper()
	case c.process == Joiner && !c.has(didReap):
		return c.fault(RuleReport, "who joined in its place is not reaped")
	case c.process == Init && (c.emptied == 0 || c.emptied != c.i-2 || c.p.Ops[c.i-1].Call.Name != "write"):
		return c.fault(RuleReport, "the end is not told before")
	case c.process == Command:
		return c.fault(RuleFlow, "the command ends by itself")
	}
	return nil
}
