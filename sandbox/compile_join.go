//go:build linux

package sandbox

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
	"github.com/ringfence-go/ringfence/internal/plan"
)

// The stages of a sandbox that lives: of its PID 1, which keeps it, and of the joiners that start commands in
// it.

// namespaceKinds returns the namespaces that a sandbox has of its own, the user namespace first: in it a
// joiner gets the capabilities that the others take.
func (r *resolved) namespaceKinds() []namespaceKind {
	var own []namespaceKind
	for _, ns := range namespaces {
		if r.namespaces&ns.flag != 0 {
			own = append(own, ns)
		}
	}
	return own
}

// own returns what the processes of a sandbox have: where no command is among them, no capability.
func (r *resolved) own() *resolved {
	if !r.lives || r.capabilities == 0 {
		return r
	}
	own := *r
	own.capabilities = 0
	return &own
}

// compileKeeper is the life of a PID 1 that starts no command: it tells the caller by what others join, reaps
// what they leave behind, and ends with the caller.
func (c *compilation) compileKeeper(b *plan.Builder) {
	b.CloseBelow("leave the commands' descriptors to them", c.report)
	b.Call("reap whatever ends", kernel.IgnoreSignal(unix.SIGCHLD))
	b.Call("drop every capability of PID 1", kernel.Capset())
	b.Call("let PID 1 do nothing but wait", kernel.Seccomp(c.initFilter))
	c.compileTell(b)
	b.CloseFrom("close what the caller has now", c.lifeline+1)
	b.Call("wait until the caller ends the sandbox", kernel.AwaitHangUp(c.lifeline)).Returns(1).Again()
	b.Call("end the sandbox", kernel.Exit(0))
}

// compileEnter enters the sandbox. What is inside cannot see the joiner, which stays in the PID namespace of
// the caller; and the process that it starts there holds nothing but what the command gets, and memory that
// nobody else may look into.
func (c *compilation) compileEnter(b *plan.Builder) {
	b.Call("keep the joiner out of everybody's reach", kernel.Prctl(unix.PR_SET_DUMPABLE, 0))
	for i, ns := range c.namespaceKinds() {
		b.Call("enter the "+ns.name+" namespace", kernel.Setns(c.entries[i], kernel.CloneFlags(ns.flag)))
		if i > 0 {
			continue
		}
		uid, gid := c.ids.first()
		if !c.ids.keepsGroups {
			b.Call("leave the caller's groups", kernel.Setgroups(nil))
		}
		b.Call(fmt.Sprintf("become group %d of the sandbox", gid), kernel.Setresgid(gid))
		b.Call(fmt.Sprintf("become user %d of the sandbox", uid), kernel.Setresuid(uid))
		// A change of ID has set it to fs.suid_dumpable.
		b.Call("keep the joiner out of everybody's reach still", kernel.Prctl(unix.PR_SET_DUMPABLE, 0))
	}
}

// compileLeaveEntries closes what the joiner has come by.
func (c *compilation) compileLeaveEntries(b *plan.Builder) {
	b.Close(c.entries...)
	if c.terminal != nil {
		b.Close(c.pts)
	}
}

// compileJoinConfine takes from the joiner what neither it nor the command will need.
func (c *compilation) compileJoinConfine(b *plan.Builder) {
	c.compileBounding(b)
	b.Call("forbid gaining privileges", kernel.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1))
}

// compileOrphan ends a command whose joiner has ended, as long as it is not executed. The joiner ends only by
// somebody outside; the caller, if it gives a start up, cuts the lifeline first.
func (c *compilation) compileOrphan(b *plan.Builder) {
	if !c.joins {
		return
	}
	b.Call("end with the joiner", kernel.Prctl(unix.PR_SET_PDEATHSIG, int(unix.SIGKILL)))
	b.Call("check that the caller wants the command still", kernel.LookForHangUp(c.lifeline))
}

// compileAwait is the life of a joiner once the command runs. It tells the end of that one process: with
// CLONE_PARENT (clone(2)) the command makes more children of the joiner's, whom it reaps afterwards, as PID 1
// would. Nobody else can: where the caller is PID 1 itself, or a subreaper, they would become its zombies, for which
// the kernel lets the sandbox's PID 1 wait.
func (c *compilation) compileAwait(b *plan.Builder) {
	c.compileTell(b)
	b.Call("wait until the command ends", kernel.Waitid(c.watched, c.ended, plan.RecordInfo, plan.RecordSpent))
	b.Call("tell the caller of the end", kernel.Write(c.report, c.ended, "ended")).Returns(int64(len(c.ended.Bytes)))
	left := plan.NewRecord(plan.Ended, 0)
	b.Until("reap what it has left to the joiner", kernel.Wait4(left, plan.RecordStatus, plan.RecordUsage), -int64(unix.ECHILD))
	b.Call("end the joiner", kernel.Exit(0))
}
