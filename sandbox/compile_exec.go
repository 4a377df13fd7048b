//go:build linux

package sandbox

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
	"github.com/ringfence-go/ringfence/internal/plan"
)

// compileSession takes the command out of every session of the caller's, and so away from its terminal.
func (c *compilation) compileSession(b *plan.Builder) {
	const commandPID = 2
	if op := b.Call("start a session", kernel.Setsid()); c.joins {
		op.ReturnsAny()
	} else {
		op.Returns(commandPID)
	}
	c.compileControl(b)
	b.Call("set the usual file mode mask", kernel.Umask(0o022))
}

// compileDir goes to the working directory. Without magic links no path leads out of the root.
func (c *compilation) compileDir(b *plan.Builder) {
	if c.waits {
		c.compileToldDir(b)
		return
	}
	if c.dir == "/" {
		return // where PID 1 is
	}
	label := "change directory to " + c.dir
	fd := b.Open(label, kernel.Openat2(unix.AT_FDCWD, c.dir, ownDir, unix.RESOLVE_NO_MAGICLINKS))
	b.Call(label, kernel.Fchdir(fd))
	b.Close(fd)
}

// compileUser becomes the command's user, where that is not who PID 1 is.
func (c *compilation) compileUser(b *plan.Builder) {
	uid, gid := c.ids.first()
	if len(c.ids.groups) > 0 {
		b.Call(fmt.Sprintf("join groups %v", c.ids.groups), kernel.Setgroups(c.ids.groups))
	}
	if c.ids.gid != gid {
		b.Call(fmt.Sprintf("become group %d", c.ids.gid), kernel.Setresgid(c.ids.gid))
	}
	if c.ids.uid != uid {
		c.compileKeep(b)
		b.Call(fmt.Sprintf("become user %d", c.ids.uid), kernel.Setresuid(c.ids.uid))
	}
	if c.ids.gid != gid || c.ids.uid != uid {
		// The change has set it to fs.suid_dumpable for the memory that is PID 1's too.
		b.Call("keep PID 1 out of the command's reach again", kernel.Prctl(unix.PR_SET_DUMPABLE, 0))
	}
}

// compileLookup asks of every candidate whether it is there. The answers decide nothing here: they tell
// a missing command from a missing interpreter, for both of which execve(2) says ENOENT.
func (c *compilation) compileLookup(b *plan.Builder) {
	if c.waits {
		c.compileToldLookup(b)
		return
	}
	for i, p := range c.candidates {
		b.Call("look for "+p, kernel.Faccessat2(p)).Keeps(c.started, plan.RecordNotes+8*i)
	}
}

// compileDescriptors leaves the command its own descriptors once it is executed. Nothing is closed before:
// the table may be that of PID 1 too.
func (c *compilation) compileDescriptors(b *plan.Builder) {
	b.OnExec("let the execution close the report and everything above it", c.report)
	_, holes := c.payload()
	for _, fd := range holes {
		b.Call("let the execution close a hole", kernel.SetCloseOnExec(fd))
	}
}

// compileExec tries the candidates in order, as execvp(3) does.
func (c *compilation) compileExec(b *plan.Builder) {
	if c.waits {
		c.compileToldExec(b)
		return
	}
	argv, env := kernel.Strings(c.argv), kernel.Strings(c.env)
	for i, p := range c.candidates {
		call := kernel.Execve(p, argv, env)
		if c.filter.once {
			call = kernel.ExecveFrom(p, argv, env)
		}
		op := b.Call("execute "+p, call)
		if i < len(c.candidates)-1 {
			op.Tolerates("execvp(3) goes on", unix.ENOENT, unix.ENOTDIR, unix.EACCES)
		}
	}
}

// sent returns the descriptors that the caller gets, in the order in which Plan.launch expects them.
func (c *compilation) sent() []int {
	var fds []int
	if c.watchCPU {
		fds = append(fds, c.proc)
	}
	fds = append(fds, c.held...)
	if c.terminal != nil {
		fds = append(fds, c.master)
	}
	if c.joins {
		fds = append(fds, c.watched)
	}
	if c.listens() {
		fds = append(fds, c.listener)
	}
	return fds
}

// compileTell reports the start.
func (c *compilation) compileTell(b *plan.Builder) {
	// No descriptor is sent but where it is needed: those of one user that are on their way count
	// together, so that any sandbox could keep others from sending one (ETOOMANYREFS, unix(7)).
	tell := kernel.Write(c.report, c.started, "started")
	if fds := c.sent(); len(fds) > 0 {
		tell = kernel.SendFDs(c.report, c.started, "started", fds...)
	}
	op := b.Call("tell the caller of the start", tell).Returns(int64(len(c.started.Bytes)))
	if c.joins {
		op.Tolerates("a command that failed before it had a listener has told why", unix.EBADF)
	}
	c.compileHandOver(b)
}

// compileReap is the life of PID 1 once the command runs: it reports the start, waits for whatever ends,
// and when PID 2 has ended kills what is left and waits for that too: the kernel would do both when PID 1
// ends, but counts what they used for nobody (zap_pid_ns_processes in kernel/pid_namespace.c). The
// report of the end says that nothing runs any more.
func (c *compilation) compileReap(b *plan.Builder) {
	c.compileTell(b)
	b.Until("reap until PID 2 ends", kernel.Wait4(c.ended, plan.RecordStatus, plan.RecordUsage), 2)
	b.Call("kill what is left", kernel.KillAll()).Tolerates("PID 2 may be the last", unix.ESRCH)
	left := plan.NewRecord(plan.Ended, 0) // not told: the caller asks the kernel for the sum
	b.Until("reap what is left", kernel.Wait4(left, plan.RecordStatus, plan.RecordUsage), -int64(unix.ECHILD))
	if c.waits {
		b.Call("sum up what all have used", kernel.Getrusage(c.ended, plan.RecordUsage)) // the caller does not wait for PID 1
	}
	b.Call("tell the caller of the end", kernel.Write(c.report, c.ended, "ended")).Returns(int64(len(c.ended.Bytes)))
	b.Call("end the sandbox", kernel.Exit(0))
}
