//go:build linux

package plan

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// The two programs of a sandbox that lives: its PID 1 keeps it, and joiners start commands in it.

// first returns the process that a program begins with.
func (c *checker) first() Process {
	if len(c.p.Joins) > 0 {
		return Joiner
	}
	return Stub
}

// startsCommand reports whether the process at hand is one that starts the command.
func (c *checker) startsCommand() bool {
	return c.process == Joiner || c.process == Init && !c.p.Keeps
}

// namespaceFiles are where PID 1 finds its namespaces, by their kind.
var namespaceFiles = map[string]kernel.CloneFlags{
	kernel.NamespaceFile("user"): unix.CLONE_NEWUSER, kernel.NamespaceFile("mnt"): unix.CLONE_NEWNS,
	kernel.NamespaceFile("pid"): unix.CLONE_NEWPID, kernel.NamespaceFile("net"): unix.CLONE_NEWNET,
	kernel.NamespaceFile("ipc"): unix.CLONE_NEWIPC, kernel.NamespaceFile("uts"): unix.CLONE_NEWUTS,
	kernel.NamespaceFile("cgroup"): unix.CLONE_NEWCGROUP,
}

// handsOver reports whether a path is a namespace that PID 1 may hand over: for others to join by, or the
// mounts for the caller to collect from.
func (c *checker) handsOver(path string) bool {
	kind := namespaceFiles[path]
	return kind == unix.CLONE_NEWNS || kind != 0 && c.p.Keeps
}

// joins checks the namespaces that are handed in: each of a kind of its own, and the three without which
// there is no sandbox among them.
func (c *checker) joins() *Fault {
	const least = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID
	var all kernel.CloneFlags
	p := c.p
	for i, ns := range p.Joins {
		taken := ns.FD == p.Report || ns.FD == p.Lifeline || slices.Contains(p.Payload, ns.FD) ||
			slices.ContainsFunc(p.Joins[:i], func(o Namespace) bool { return o.FD == ns.FD })
		known := bits.OnesCount64(uint64(ns.Kind)) == 1 && ns.Kind&(least|initMay) != 0
		if ns.FD < 0 || ns.FD >= p.Inherited || taken || !known || all&ns.Kind != 0 {
			return c.fault(RuleJoin, "namespace %#x as descriptor %d", uint64(ns.Kind), ns.FD)
		}
		all |= ns.Kind
	}
	if len(p.Joins) > 0 && (all&least != least || p.Keeps) {
		return c.fault(RuleJoin, "namespaces %#x", uint64(all))
	}
	fd := p.Terminals
	taken := fd == p.Report || fd == p.Lifeline || slices.Contains(p.Payload, fd) || slices.ContainsFunc(p.Joins, func(ns Namespace) bool { return ns.FD == fd })
	if c.joinsTerminal() && (fd < 0 || fd >= p.Inherited || taken) {
		return c.fault(RuleTerminal, "the devpts as descriptor %d", fd)
	}
	return nil
}

// joinsTerminal reports whether a joiner makes a terminal.
func (c *checker) joinsTerminal() bool { return len(c.p.Joins) > 0 && c.p.Terminal }

// setns enters a namespace. Who enters is out of reach before: from then on others may look.
func (c *checker) setns() *Fault {
	kind := kernel.CloneFlags(c.value(1))
	handedIn := slices.Contains(c.p.Joins, Namespace{FD: int(c.value(0)), Kind: kind})
	switch {
	case c.process != Joiner || !handedIn || c.has(didFork):
		return c.fault(RuleJoin, "setns(%d, %#x) in the %s", c.value(0), c.value(1), c.process)
	case c.strangers:
		return c.fault(RuleStrangers, "the joiner would bring them")
	case !c.has(didDumpable):
		return c.fault(RuleDumpable, "the joiner could be traced")
	case kind != unix.CLONE_NEWUSER && (c.entered&unix.CLONE_NEWUSER == 0 || !c.has(didSetresgid|didSetresuid)):
		return c.fault(RuleJoin, "the user namespace, and IDs of it, come first")
	case kind == unix.CLONE_NEWUSER && c.bounding != 0:
		// Who enters it has every capability in the bounding set again (set_cred_user_ns in kernel/user_namespace.c).
		return c.fault(RuleJoin, "the user namespace comes late")
	}
	if kind == unix.CLONE_NEWNS {
		c.done |= didPivot | didHome // of the host's tree nothing is left
	}
	c.entered |= kind
	return nil
}

// beforeJoined holds when a joiner starts the command.
func (c *checker) beforeJoined(flags, signal uint64) *Fault {
	var all kernel.CloneFlags
	for _, ns := range c.p.Joins {
		all |= ns.Kind
	}
	switch {
	case flags&^commandMay != commandFlags|unix.CLONE_PIDFD || signal != uint64(unix.SIGCHLD):
		return c.fault(RuleFlow, "flags %#x, signal %d: it must wait for the command", flags, signal)
	case !c.has(didSignals) || c.signals != allSignals:
		return c.fault(RuleNamespaces, "the caller's signal mask, or signals that it ignores: %#x", allSignals&^c.signals)
	case c.entered != all:
		return c.fault(RuleJoin, "it is in %#x of %#x", uint64(c.entered), uint64(all))
	case !c.has(didSetresgid|didSetresuid) || !c.has(didSetgroups) && !c.p.KeepsGroups:
		return c.fault(RuleIdentity, "they are still the caller's")
	}
	for fd := range c.fds {
		if k := c.fds[fd].kind; k != closed && k != inherited && k != master && k != peer {
			return c.fault(RuleJoin, "descriptor %d is open", fd)
		}
	}
	if f := c.terminalReady(); f != nil {
		return f
	}
	return c.bound()
}

// openPidfd opens the joiner's pidfd of the command: in the child's table too, where that is the same. By it the
// joiner waits for the command and nobody else: with CLONE_PARENT the command makes more children of the joiner's.
func (c *checker) openPidfd(child *state, flags uint64) *Fault {
	const pidfdAt = 8 // struct clone_args
	if c.process != Joiner || c.pointer(0, pidfdAt, 4) == nil {
		return c.fault(RuleJoin, "the %s watches the new process", c.process)
	}
	c.watched = c.lowest()
	if f := c.open(descriptor{kind: pidfd, closeOnExec: true}); f != nil {
		return f
	}
	if flags&unix.CLONE_FILES != 0 {
		child.fds = append(make([]descriptor, 0, len(c.fds)+16), c.fds...)
	}
	return nil
}

// waitid waits for the command.
func (c *checker) waitid() *Fault {
	switch {
	case c.process != Joiner || c.waited != 0 || c.value(0) != unix.P_PIDFD || c.value(1) != c.watched || c.value(3) != unix.WEXITED:
		return c.fault(RuleUntil, "it waits twice, or for something else")
	case c.bytes(2, RecordSpent-RecordInfo) == nil || c.bytes(4, kernel.SizeofRusage) == nil:
		return c.fault(RuleMemory, "a status or usage")
	}
	c.waited = c.i
	return c.waits()
}

// tellWaited is the write of a joiner to the report: what waitid has filled in.
func (c *checker) tellWaited() *Fault {
	if c.waited == 0 || c.waited != c.i-1 {
		return c.fault(RuleReport, "the joiner did not wait before it")
	}
	record, waited := c.op.Call.Args[1], c.p.Ops[c.waited].Call.Args
	if record.Mem != waited[2].Mem || record.Mem != waited[4].Mem || record.Offset != 0 || waited[2].Offset != RecordInfo ||
		waited[4].Offset != RecordSpent || c.value(2) != sizeofWaited || binary.LittleEndian.Uint32(record.Mem.Bytes) != uint32(Waited) {
		return c.fault(RuleReport, "it is not the end that is told")
	}
	c.told = record.Mem
	return nil
}

// ignoreChildren makes the kernel reap what ends below a PID 1 that waits for nobody.
func (c *checker) ignoreChildren(act []byte) *Fault {
	const ignore = 1 // SIG_IGN
	if act == nil || c.value(3) != 8 || binary.LittleEndian.Uint64(act) != ignore || !zeros(act[8:]) || len(c.op.Call.Args[1].Mem.Refs) > 0 {
		return c.fault(RuleCall, "SIGCHLD is not ignored")
	}
	c.done |= didIgnore
	return nil
}

// ppoll looks at the end of the listener's processes, or of the caller.
func (c *checker) ppoll() *Fault {
	poll := c.bytes(0, 8)
	if poll == nil || c.value(1) != 1 {
		return c.fault(RuleMemory, "struct pollfd")
	}
	lifeline := int64(binary.LittleEndian.Uint64(poll)) == int64(c.p.Lifeline)
	switch {
	case c.process == Witness:
		return c.witness()
	case !lifeline || c.op.Keep != nil:
		return c.fault(RuleCall, "ppoll of something else")
	case c.process == Command && len(c.p.Joins) > 0:
		if c.bytes(2, 16) == nil || !zeros(c.bytes(2, 16)) || !c.has(didFollow) {
			return c.fault(RuleOrphan, "the joiner may have ended before, or it is waited for")
		}
		c.done |= didLook
		return nil
	case c.process == Init && c.p.Keeps:
		return c.keep()
	}
	return c.fault(RuleCall, "ppoll in the %s", c.process)
}

// keep is the life of a PID 1 that has no command.
func (c *checker) keep() *Fault {
	if f := c.built(); f != nil {
		return f
	}
	switch {
	case c.op.Call.Args[2].Mem != nil || !c.op.Retry:
		return c.fault(RuleKeeper, "it does not wait to the end")
	case !c.has(didCapset):
		return c.fault(RuleCapabilities, "PID 1 has all")
	case !c.has(didFilter):
		return c.fault(RuleInitFilter, "there is none")
	case !c.has(didTell):
		return c.fault(RuleReport, "the start is not told")
	case !c.has(didIgnore):
		return c.fault(RuleKeeper, "nobody reaps")
	case c.has(didKeep):
		return c.fault(RuleKeeper, "it waits twice")
	}
	for fd := range c.fds {
		if k := c.fds[fd].kind; k != closed && fd != c.p.Report && fd != c.p.Lifeline {
			return c.fault(RuleKeeper, "descriptor %d is open", fd)
		}
	}
	c.done |= didKeep
	return nil
}

func (c *checker) endKeeper() *Fault {
	if !c.has(didKeep) {
		return c.fault(RuleKeeper, "it ends before the caller does")
	}
	return nil
}
