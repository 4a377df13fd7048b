//go:build linux

package sandbox

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
	"github.com/ringfence-go/ringfence/internal/plan"
)

// The stages that make the processes: the stub's own, and those by which init becomes somebody.

func (c *compilation) compileStub(b *plan.Builder) {
	b.CloseFrom("close every descriptor that was not handed in", c.inherited)
	if c.placement.moved() {
		b.Call("wait for the caller to move the set-up into its cgroup", kernel.Read(c.word, kernel.Zeroed(1))).Returns(1)
	}
	b.Call("let every signal through", kernel.SetSignalMask())
	b.Append(resetSignals[b.Process()]())
	b.Call("create files with the modes that are asked for", kernel.Umask(0)).ReturnsAny()
}

// resetSignals returns the ops that reset what CLONE_CLEAR_SIGHAND and execve(2) leave: signals that the
// caller ignores.
var resetSignals = sharedOps(func(b *plan.Builder) {
	act := kernel.Zeroed(kernel.SizeofSigaction)
	for sig := unix.Signal(1); sig <= kernel.LastSignal; sig++ {
		if sig != unix.SIGKILL && sig != unix.SIGSTOP {
			b.Call("heed signals that the caller ignores", kernel.ResetSignal(sig, act))
		}
	}
})

// sharedOps returns ops that are the same in every program, for each of the processes that may run them.
func sharedOps(build func(*plan.Builder)) map[plan.Process]func() []*plan.Op {
	ops := map[plan.Process]func() []*plan.Op{}
	for _, p := range []plan.Process{plan.Stub, plan.Init, plan.Joiner} {
		ops[p] = sync.OnceValue(func() []*plan.Op { return plan.Ops(p, build) })
	}
	return ops
}

func (c *compilation) compileStubEnd(b *plan.Builder) {
	b.Call("tell the caller of PID 1", kernel.Write(c.report, c.cloned, "cloned")).Returns(int64(len(c.cloned.Bytes)))
	b.Call("end the stub", kernel.Exit(0))
}

// compileMaps gives the user namespace its IDs. Until then nothing can be created.
func (c *compilation) compileMaps(b *plan.Builder) {
	if c.ids.byCaller {
		b.Call("wait for the caller to map IDs", kernel.Read(c.word, kernel.Zeroed(1))).Returns(1)
		return
	}
	// user_namespaces(7): a group may be mapped without privilege only once setgroups is denied.
	c.writeMap(b, "setgroups", "deny")
	c.writeMap(b, "uid_map", c.ids.uids.String())
	c.writeMap(b, "gid_map", c.ids.gids.String())
}

func (c *compilation) writeMap(b *plan.Builder, file, value string) {
	fd := b.Open("open "+file, kernel.Openat(unix.AT_FDCWD, "/proc/self/"+file, unix.O_WRONLY|unix.O_CLOEXEC, 0))
	b.WriteString("write "+file, fd, value)
	b.Close(fd)
}

// compileIdentity takes the first mapped ID, and begins to watch the caller. The order matters: the
// kernel checks the ID that became the owner of the lifeline's signals against the one it has then.
func (c *compilation) compileIdentity(b *plan.Builder) {
	if c.ids.byCaller {
		uid, gid := c.ids.first()
		if !c.ids.keepsGroups {
			b.Call("leave the caller's groups", kernel.Setgroups(nil))
		}
		b.Call(fmt.Sprintf("become group %d of the sandbox", gid), kernel.Setresgid(gid))
		b.Call(fmt.Sprintf("become user %d of the sandbox", uid), kernel.Setresuid(uid))
	}
	b.Call("end when the caller does: set the handler", kernel.HandleSignal(unix.SIGIO, kernel.Arch(c.facts.Arch)))
	b.Call("end when the caller does: take the lifeline's signals", kernel.SetOwner(c.lifeline, 1))
	b.Call("end when the caller does: make the lifeline send signals", kernel.SetAsync(c.lifeline))
	// What came before is of no use if the caller ended before it.
	b.Call("check that the caller is alive", kernel.Read(c.lifeline, kernel.Zeroed(1))).Fails(unix.EAGAIN)
}
