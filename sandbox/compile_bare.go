//go:build linux

package sandbox

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
	"github.com/ringfence-go/ringfence/internal/plan"
)

// compileBare writes the program of a sandbox without namespaces:
//
//	caller ─exec→ stub
//	               └ reaper, child of the caller: a subreaper, to whom orphans come
//	                  └ guard: waits for the command
//	                     └ the command, in a process group of its own
//
// Two files kill that group, with SIGKILL to all in it at once: the lifeline, when the caller is gone, and a pipe
// that the guard alone holds, when the guard has ended, which it does with the command.
func compileBare(r *resolved) *plan.Program {
	c := newCompilation(r)
	arch := kernel.Arch(c.facts.Arch)
	stub := plan.NewBuilder(c.inherited)

	c.compileStub(stub)
	stub.Clone("start the reaper", unix.CLONE_PARENT, arch, c.cloned, plan.Reaper, func(b *plan.Builder) {
		c.compileBareIdentity(b)
		c.compileRules(b)
		rein, hold := b.Pipe("open a pipe for the guard to hold the command's group by")
		b.Clone("start the guard", 0, arch, nil, plan.Guard, func(b *plan.Builder) {
			c.compileGuard(b, arch, rein)
		})
		b.Close(hold, c.ruleset)
		if c.placement.moved() {
			b.Close(c.word)
		}
		b.CloseBelow("leave the command's descriptors to it", c.report)
		b.Call("let the reaper do nothing but wait", kernel.Seccomp(c.initFilter))
		left := plan.NewRecord(plan.Ended, 0) // not told: the caller asks the kernel for the sum
		b.Until("reap until nothing is left", kernel.Wait4(left, plan.RecordStatus, plan.RecordUsage), -int64(unix.ECHILD))
		b.Call("end the reaper", kernel.Exit(0))
	})
	c.compileStubEnd(stub)

	return c.program(stub)
}

// compileBareIdentity leaves the caller's privileges, and takes orphans in.
func (c *compilation) compileBareIdentity(b *plan.Builder) {
	if c.bare.takesIDs {
		if !c.ids.keepsGroups {
			b.Call("leave the caller's groups", kernel.Setgroups(nil))
		}
		b.Call(fmt.Sprintf("become group %d, as the command is", c.ids.gid), kernel.Setresgid(c.ids.gid))
		b.Call(fmt.Sprintf("become user %d, as the command is", c.ids.uid), kernel.Setresuid(c.ids.uid))
	}
	b.Call("forbid gaining privileges", kernel.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1))
	b.Call("drop every capability", kernel.Capset())
	b.Call("keep the reaper out of the command's reach", kernel.Prctl(unix.PR_SET_DUMPABLE, 0))
	b.Call("become the parent of what the command leaves behind", kernel.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1))
}

// compileRules writes down what may be done to which files, by descriptors: what is at a path later makes no
// difference.
func (c *compilation) compileRules(b *plan.Builder) {
	c.ruleset = b.Open("make a Landlock ruleset", kernel.LandlockCreateRuleset(c.bare.ruleset))
	for _, rule := range c.bare.rules {
		label := "allow the use of " + rule.path
		open := kernel.Openat(unix.AT_FDCWD, rule.path, unix.O_PATH|unix.O_CLOEXEC, 0)
		if rule.exact {
			open = kernel.Openat2(unix.AT_FDCWD, rule.path, unix.O_PATH|unix.O_CLOEXEC, unix.RESOLVE_NO_SYMLINKS)
		}
		fd := b.Open(label, open)
		b.Call(label, kernel.LandlockAllow(c.ruleset, fd, rule.access))
		b.Close(fd)
	}
}

// compileGuard is the life of the guard. It has no wish of its own: when the command has ended it says how, and ends.
//
// It keeps both ends of its pipe, since rein is else nobody's once the reaper has ended, and a pipe that nobody reads
// kills nobody. When a process ends, the kernel lets go of its files from the last to the first (task_work_run in
// kernel/task_work.c), so that hold goes while rein is there: hence rein has the lower number.
func (c *compilation) compileGuard(b *plan.Builder, arch kernel.Arch, rein int) {
	b.Call("end with the reaper", kernel.Prctl(unix.PR_SET_PDEATHSIG, int(unix.SIGKILL)))
	c.watched = b.CloneWatched("start a process for the command", arch, c.started, plan.Command, func(b *plan.Builder) {
		c.compileBareCommand(b, rein)
	})
	b.CloseBelow("leave the command's descriptors to it", c.report)
	b.Close(c.ruleset, c.lifeline) // rein stays: see below
	if c.placement.moved() {
		b.Close(c.word)
	}
	b.Call("let the guard do nothing but wait and report", kernel.Seccomp(c.bare.guardFilter))
	b.Call("tell the caller of the start", kernel.Write(c.report, c.started, "started")).Returns(int64(len(c.started.Bytes)))
	// It is reaped by the reaper, when its end was told: until then its ID, which the caller has, is its own.
	b.Call("wait until the command ends", kernel.WaitidKeeping(c.watched, c.ended, plan.RecordInfo, plan.RecordSpent))
	b.Call("tell the caller of the end", kernel.Write(c.report, c.ended, "ended")).Returns(int64(len(c.ended.Bytes)))
	b.Call("end the guard, and with it the command's group", kernel.Exit(0))
}

// compileBareCommand writes what a process does on its way to being the command.
func (c *compilation) compileBareCommand(b *plan.Builder, rein int) {
	b.Call("start a session, and a process group", kernel.Setsid()).ReturnsAny()
	for _, line := range []struct {
		what string
		fd   int
	}{{"the guard", rein}, {"the caller", c.lifeline}} {
		label := "kill the group when " + line.what + " is gone"
		b.Call(label+": for this group", kernel.SetOwnerOf(line.fd, c.started, plan.RecordOwner))
		b.Call(label+": with SIGKILL", kernel.SetSignal(line.fd, unix.SIGKILL))
		b.Call(label+": from now on", kernel.SetAsync(line.fd))
	}
	b.Call("end with the guard", kernel.Prctl(unix.PR_SET_PDEATHSIG, int(unix.SIGKILL)))
	// What came before is of no use if the caller ended before it.
	b.Call("check that the caller is alive", kernel.Read(c.lifeline, kernel.Zeroed(1))).Fails(unix.EAGAIN)
	b.Call("set the usual file mode mask", kernel.Umask(0o022))
	c.compileLimits(b)
	label := "change directory to " + c.dir
	fd := b.Open(label, kernel.Openat2(unix.AT_FDCWD, c.dir, ownDir, unix.RESOLVE_NO_MAGICLINKS))
	b.Call(label, kernel.Fchdir(fd))
	b.Close(fd)
	c.compileLookup(b)
	c.compileDescriptors(b)
	b.Call("hold the command to the Landlock ruleset", kernel.LandlockRestrictSelf(c.ruleset))
	b.Call("load the filter that stands for namespaces", kernel.Seccomp(c.bare.wall))
	if c.bare.ownFilter {
		b.Call(stepLoadFilter, kernel.Seccomp(c.filter.raw))
	}
	c.compileExec(b)
}
