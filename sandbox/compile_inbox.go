//go:build linux

package sandbox

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
	"github.com/ringfence-go/ringfence/internal/plan"
)

// The stages of PID 2 in a sandbox that is set up ahead: those that are compiled otherwise when the command is not
// known yet.

// compileReady waits for the command. If the caller ends, nothing comes, and PID 2 finds no command; PID 1, which
// waits for it, ends then too.
func (c *compilation) compileReady(b *plan.Builder) {
	if !c.waits {
		return
	}
	ready := plan.NewRecord(plan.Ready, 0)
	b.Call("tell the caller that all is ready", kernel.Write(c.report, ready, "ready")).Returns(int64(len(ready.Bytes)))
	c.streams = b.Receive("wait for the command", kernel.ReceiveFDs(c.inbox, c.told, stdio), stdio)
	for i, fd := range c.streams {
		b.Dup("put what came on "+[...]string{"standard input", "standard output", "standard error"}[i], fd, i)
	}
}

// compileToldDir goes to the working directory. It fails where nothing was told.
func (c *compilation) compileToldDir(b *plan.Builder) {
	const label = "change to the directory that was told"
	call := kernel.Openat2(unix.AT_FDCWD, "/", ownDir, unix.RESOLVE_NO_MAGICLINKS).At(1, c.told, inboxDir, "dir")
	fd := b.Open(label, call)
	b.Call(label, kernel.Fchdir(fd))
	b.Close(fd)
}

func (c *compilation) compileToldLookup(b *plan.Builder) {
	for i := range inboxPaths {
		call := kernel.Faccessat2("").At(1, c.told, inboxCandidate(i), fmt.Sprintf("path[%d]", i))
		b.Call(fmt.Sprintf("look for candidate %d", i), call).Keeps(c.started, plan.RecordNotes+8*i)
	}
}

func (c *compilation) compileToldExec(b *plan.Builder) {
	for i := range inboxPaths {
		call := kernel.Execve("", nil, nil).At(0, c.told, inboxCandidate(i), fmt.Sprintf("path[%d]", i)).
			At(1, c.told, inboxArgv, "argv").At(2, c.told, inboxEnv, "env")
		op := b.Call(fmt.Sprintf("execute candidate %d", i), call)
		if i < inboxPaths-1 {
			op.Tolerates("execvp(3) goes on", unix.ENOENT, unix.ENOTDIR, unix.EACCES)
		}
	}
}
