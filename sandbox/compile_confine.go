//go:build linux

package sandbox

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
	"github.com/ringfence-go/ringfence/internal/plan"
)

// compileSystem sets what the namespaces hold beside files.
func (c *compilation) compileSystem(b *plan.Builder) {
	if c.namespaces&unix.CLONE_NEWUTS != 0 {
		b.Call("name the machine "+c.hostname, kernel.Sethostname(c.hostname))
	}
	if c.namespaces&unix.CLONE_NEWNET != 0 {
		fd := b.Open("open a socket to configure the network", kernel.Socket())
		b.Call("bring the loopback interface up", kernel.SetInterfaceUp(fd, "lo"))
		b.Close(fd)
	}
}

// compileConfine takes from init what neither it nor the command, which inherits this, will need. The
// capabilities stay until each has taken its IDs.
func (c *compilation) compileConfine(b *plan.Builder) {
	c.compileBounding(b)
	b.Call("forbid gaining privileges", kernel.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1))
	// Without this the command, which has the same ID, could trace init and read its memory (ptrace(2)).
	b.Call("keep PID 1 out of the command's reach", kernel.Prctl(unix.PR_SET_DUMPABLE, 0))
	b.CloseFrom("close what the set-up opened", c.kept())
	c.compileHoldRoot(b)
	if c.watchCPU {
		c.proc = b.Open("open /proc for the caller to watch", kernel.Openat2(unix.AT_FDCWD, "proc", unix.O_DIRECTORY|unix.O_CLOEXEC, unix.RESOLVE_NO_SYMLINKS))
	}
}

// compileInitConfine takes from PID 1 what it had for the command's sake.
func (c *compilation) compileInitConfine(b *plan.Builder) {
	// So that the command's streams end when the command closes them.
	b.CloseBelow("leave the command's descriptors to it", c.report)
	if c.filter.heard != byNobody {
		b.Close(c.streams...) // which PID 2 has received into the table that the two shared
	}
	c.compileUnbound(b)
	if uid, _ := c.ids.first(); c.ids.uid != uid && !c.joins {
		// What is left of the command's processes can be killed only by their own ID, now that no
		// capability is; and the lifeline's signals come only to the ID that asked for them.
		b.Call(fmt.Sprintf("become user %d, as the command is", c.ids.uid), kernel.Setresuid(c.ids.uid))
		b.Call("end when the caller does: take the lifeline's signals again", kernel.SetOwner(c.lifeline, 1))
		// A signal in between was lost: the kernel checks its owner's ID when it is sent.
		b.Call("check that the caller is still alive", kernel.Read(c.lifeline, kernel.Zeroed(1))).Fails(unix.EAGAIN)
	}
	b.Call("drop every capability of "+c.waiter(), kernel.Capset())
	if c.filter.heard == byWitness {
		b.Call("wait until the witness of refused calls is ready", kernel.Read(c.ready, kernel.Zeroed(8))).Returns(8)
	}
	if uid, gid := c.ids.first(); c.ids.uid != uid || c.ids.gid != gid {
		// Whoever changes an ID, of those that share the memory, sets this to fs.suid_dumpable
		// (commit_creds in kernel/cred.c). Until now the capabilities of PID 1 kept the command away.
		b.Call("keep PID 1 out of the command's reach again", kernel.Prctl(unix.PR_SET_DUMPABLE, 0))
	}
}

// waiter is who waits for the command.
func (c *compilation) waiter() string {
	if c.joins {
		return "the joiner"
	}
	return "PID 1"
}

// compileInitFilter leaves PID 1, and its witness, with nothing but the calls that they wait and report with.
func (c *compilation) compileInitFilter(b *plan.Builder) {
	load := kernel.Seccomp(c.initFilter)
	if c.filter.heard == byWitness {
		load = kernel.SeccompAll(c.initFilter)
	}
	b.Call("let "+c.waiter()+" do nothing but wait and report", load)
	if c.filter.heard == byWitness {
		b.Call("let the witness of refused calls begin", kernel.Post(c.begin)).Returns(8)
	}
}

// commandFlags is what the command shares with PID 1 until it is executed. execve(2) gives it a table of
// descriptors of its own: the listener that it opens as its last act stays with PID 1.
func (c *compilation) commandFlags() kernel.CloneFlags {
	const flags = unix.CLONE_VM | unix.CLONE_VFORK | unix.CLONE_CLEAR_SIGHAND
	if c.filter.heard == byNobody {
		return flags
	}
	return flags | unix.CLONE_FILES
}

// compileCommandFilter takes the command's capabilities and loads its filter. Only executing comes after.
func (c *compilation) compileCommandFilter(b *plan.Builder) {
	c.compileCommandCapabilities(b)
	if c.filter.heard == byNobody {
		b.Call(stepLoadFilter, kernel.Seccomp(c.filter.raw))
		return
	}
	// A supervisor may take its time: signals, such as those by which Go's runtime preempts goroutines,
	// would have the call made again and again.
	c.listener = b.Listen(stepLoadFilter, c.filter.raw, c.filter.heard == byCaller && c.facts.AtLeast(5, 19))
}

// compileWitness starts the thread of PID 1 that sees the call for which the filter ends the sandbox. What
// would end the calling process alone, and without a word, ends everything: by somebody whom no signal of
// the command's can stop, since it is of PID 1, and who cannot miss a call, since the kernel counts for it
// also those that a signal interrupts.
//
// It is there before the command, which could else fork until there is no room for it, and turn its own run
// into a start that failed.
func (c *compilation) compileWitness(b *plan.Builder) {
	if c.filter.heard != byWitness {
		return
	}
	c.ready = b.Open("open a counter for the witness to be ready", kernel.Eventfd())
	c.begin = b.Open("open a counter for the witness to begin", kernel.Eventfd())
	// The thread has no stack for a handler, which would interrupt its waiting too. Signals without a
	// handler do not come to PID 1, and for that may not be blocked.
	b.Call("block the lifeline's signal for the witness of refused calls", kernel.BlockSignal(unix.SIGIO))
	listener := b.Next() // as the command will find
	if c.waits {
		listener = b.After(stdio) // behind the streams that it receives
	}
	const id = 3
	b.Thread("start the witness of refused calls", id, plan.Witness, func(b *plan.Builder) {
		c.compileUnbound(b)
		if uid, _ := c.ids.first(); c.ids.uid != uid {
			b.Call(fmt.Sprintf("become user %d, as the command is", c.ids.uid), kernel.Setresuid(c.ids.uid))
		}
		b.Call("drop every capability of the witness", kernel.Capset())
		b.Call("tell PID 1 that the witness is ready", kernel.Post(c.ready)).Returns(8)
		b.Call("wait until the command runs", kernel.Read(c.begin, kernel.Zeroed(8))).Returns(8)
		// What it learns goes into the record of the end, which PID 1 tells once all are dead.
		b.Call("wait for a call that ends the sandbox", kernel.ReceiveNotification(listener, c.ended, plan.RecordCall)).
			// Before Linux 6.6 also being frozen, or stopped by somebody outside, interrupts it (EINTR).
			Tolerates("a call that a signal interrupted was made all the same", unix.ENOENT).Again()
		// The kernel answers ENOENT also when the last process under the filter has ended.
		b.Call("look whether any process is left", kernel.LookForHangUp(listener)).Keeps(c.ended, plan.RecordSeen)
		b.Call("kill everything", kernel.KillAll()).Tolerates("PID 2 may have ended meanwhile", unix.ESRCH)
		b.Call("end the witness", kernel.ExitThread())
	})
	b.Call("let the lifeline's signal through again", kernel.SetSignalMask())
}
