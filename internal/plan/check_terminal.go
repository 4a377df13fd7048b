//go:build linux

package plan

import (
	"golang.org/x/sys/unix"
)

// What was done with a master before its peer is opened; in descriptor.sized, beside the bounds of a tmpfs.
const (
	terminalUnlocked uint8 = 1 << (iota + 4)
	terminalSized
)

// openMaster makes a terminal. Only that of a devpts of the sandbox's own is one of the sandbox's own: the one
// that /dev/ptmx or a path leads to may be another's.
func (c *checker) openMaster() *Fault {
	if !c.p.Terminal || !c.makesTerminal() {
		return c.fault(RuleTerminal, "the %s opens one", c.process)
	}
	return c.open(descriptor{kind: master, closeOnExec: true})
}

// makesTerminal reports whether the process at hand is about to start the command.
func (c *checker) makesTerminal() bool { return c.startsCommand() && !c.has(didFork) }

// isMaster reports whether an openat2 makes a terminal.
func (c *checker) isMaster(path string, flags, resolve uint64) bool {
	return c.value(0) != cwd && c.at(0).kind == ownMount && c.at(0).devpts && path == "ptmx" &&
		flags == unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC && resolve == unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_XDEV
}

// ioctl brings an interface up, or makes the terminal.
func (c *checker) ioctl() *Fault {
	d, request := c.at(0), c.value(1)
	if request == unix.TIOCGPTPEER {
		return c.openPeer(d)
	}
	if f := c.expect(0); f != nil {
		return f
	}
	if c.process == Witness {
		return c.witness()
	}
	right := len(c.op.Tolerate) == 0
	switch request {
	case unix.SIOCSIFFLAGS:
		right = right && d.kind == socket && c.bytes(2, 40) != nil
	case unix.TIOCSPTLCK:
		lock := c.bytes(2, 4)
		right = right && d.kind == master && lock != nil && zeros(lock)
		d.sized |= terminalUnlocked
	case unix.TIOCSWINSZ:
		right = right && d.kind == master && c.bytes(2, 8) != nil
		d.sized |= terminalSized
	case unix.TIOCSCTTY:
		if !c.has(didSession) || c.value(0) != 0 || d.kind != peer {
			return c.fault(RuleTerminal, "descriptor %d of the %s is not to control its session", c.value(0), c.process)
		}
		right = right && c.process == Command && c.isNumber(2, 0)
		c.done |= didControl
	default:
		right = false
	}
	if !right {
		return c.fault(RuleCall, "ioctl does more than bring an interface up or make a terminal")
	}
	return nil
}

// isNumber reports whether an argument is this number, and no memory.
func (c *checker) isNumber(i int, value int64) bool {
	return c.op.Call.Args[i].Mem == nil && c.value(i) == value
}

func (c *checker) openPeer(d *descriptor) *Fault {
	switch {
	case d.kind != master || !c.makesTerminal() || d.sized != terminalUnlocked|terminalSized:
		return c.fault(RuleTerminal, "it is locked, or has no size, or is none")
	case len(c.op.Tolerate) > 0 || !c.isNumber(2, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC):
		return c.fault(RuleCall, "ioctl opens something else")
	}
	if f := c.expect(c.lowest()); f != nil {
		return f
	}
	return c.open(descriptor{kind: peer, closeOnExec: true})
}

// fchown gives the terminal to the command's user.
func (c *checker) fchown() *Fault {
	if c.at(0).kind != peer || !c.makesTerminal() || c.value(1) < 0 || c.value(2) < 0 {
		return c.fault(RuleTerminal, "descriptor %d is given away", c.value(0))
	}
	return nil
}

// dup puts the peer of the terminal on the command's streams, and the master where it stays open until it
// is sent.
func (c *checker) dup() *Fault {
	from, to, d := c.value(0), c.value(1), *c.at(0)
	if d.kind == received {
		return c.place(to)
	}
	stream := d.kind == peer && to >= 0 && to <= 2 && c.value(2) == 0
	aside := d.kind == master && to >= int64(c.p.Inherited) && to <= maxInherited && c.value(2) == unix.O_CLOEXEC
	// PID 1 of a sandbox that lives keeps its devpts for the terminals of its commands.
	held := c.p.Keeps && c.process == Init && d.kind == ownMount && d.devpts && to >= int64(c.p.Inherited) && to <= maxInherited && c.value(2) == unix.O_CLOEXEC
	switch {
	case from == to || !stream && !aside && !held:
		return c.fault(RuleCall, "dup3(%d, %d, %#x)", from, to, c.value(2))
	case !c.makesTerminal() && !held:
		return c.fault(RuleTerminal, "it comes at another time")
	}
	if f := c.expect(to); f != nil {
		return f
	}
	for int64(len(c.fds)) <= to {
		c.fds = append(c.fds, descriptor{})
	}
	d.closeOnExec = aside || held
	c.fds[to] = d
	return nil
}

// terminalReady holds when PID 1 starts the command: all of the terminal that is open is the command's streams,
// and one master.
func (c *checker) terminalReady() *Fault {
	if !c.p.Terminal {
		return nil
	}
	masters := 0
	for fd := range c.fds {
		switch k := c.fds[fd].kind; {
		case k == master:
			masters++
		case (k == peer) != (fd <= 2):
			return c.fault(RuleTerminal, "it is not on the streams, or also on descriptor %d", fd)
		}
	}
	if masters != 1 {
		return c.fault(RuleTerminal, "%d masters", masters)
	}
	return nil
}

// terminalGone holds when PID 1 waits: the caller alone has the master, so that its end is a hang-up.
func (c *checker) terminalGone() *Fault {
	if c.p.Terminal && !c.has(didSendMaster) {
		return c.fault(RuleTerminal, "the caller does not have it")
	}
	for fd := range c.fds {
		if k := c.fds[fd].kind; k == master || k == peer {
			return c.fault(RuleTerminal, "PID 1 keeps descriptor %d of it", fd)
		}
	}
	return nil
}
