//go:build linux

package sandbox

import (
	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
	"github.com/ringfence-go/ringfence/internal/plan"
)

// compileTerminal makes a terminal on the devpts at c.pts, and puts its peer on the streams of this process,
// which the command will have. It comes before the command, so that the master can leave with the word of the
// start; what else is open of it is closed with what the set-up has opened.
//
// Nothing here is looked up by a path: the Spec may have covered /dev/pts by then.
func (c *compilation) compileTerminal(b *plan.Builder) {
	if c.lives {
		c.held = append(c.held, c.inherited+len(c.held))
		b.DupCloseOnExec("hold the terminals for the caller", c.pts, c.held[len(c.held)-1])
	}
	if c.terminal == nil {
		return
	}
	master := b.Open("open a terminal", kernel.Openat2(c.pts, "ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_XDEV))
	b.Call("open a terminal: unlock it", kernel.UnlockTerminal(master))
	b.Call("open a terminal: set its size", kernel.SetTerminalSize(master, c.terminal.Rows, c.terminal.Cols))
	peer := b.Open("open a terminal: take the command's end", kernel.TerminalPeer(master))
	if uid, gid := c.ids.first(); c.ids.uid != uid || c.ids.gid != gid {
		b.Call("open a terminal: give it to the command's user", kernel.Fchown(peer, c.ids.uid, c.ids.gid))
	}
	for fd := range stdio {
		b.Dup("put the terminal on "+[...]string{"standard input", "standard output", "standard error"}[fd], peer, fd)
	}
	if c.joins {
		b.Close(peer)
		c.master = master
		return
	}
	c.master = c.inherited + len(c.held)
	if master != c.master {
		b.DupCloseOnExec("set the caller's end of the terminal aside", master, c.master)
	}
}

// compileControl makes the terminal the controlling one of the command's session.
func (c *compilation) compileControl(b *plan.Builder) {
	if c.terminal != nil {
		b.Call("let the terminal control the session", kernel.ControlTerminal(0))
	}
}

// compileHandOver closes the master once the caller has it: when the caller's end is closed then, by
// whatever end of the caller, the command hears a hang-up.
func (c *compilation) compileHandOver(b *plan.Builder) {
	if c.terminal != nil {
		b.Call("leave the terminal to the caller", kernel.Close(c.master))
	}
}

// kept returns the first descriptor that the set-up does not need any more.
func (c *compilation) kept() int {
	if c.terminal != nil {
		return c.master + 1
	}
	return c.inherited + len(c.held)
}
