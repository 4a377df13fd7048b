//go:build linux

package plan

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// isShare reports whether an openat2 is of a limit of PID 1's own user namespace.
func (c *checker) isShare(path string, flags, resolve uint64) bool {
	return c.process == Init && c.value(0) != cwd && c.at(0).kind == ownMount && c.at(0).proc &&
		(path == "sys/user/max_inotify_instances" || path == "sys/user/max_inotify_watches") &&
		flags == unix.O_WRONLY|unix.O_CLOEXEC && resolve == unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_XDEV
}

// openShare opens a limit, which then has to be lowered.
func (c *checker) openShare() *Fault {
	c.unset++
	return c.open(descriptor{kind: share})
}

// lower writes a limit. A new user namespace has the highest that there is, so that every number lowers it, if
// the kernel reads the same one: it takes one that begins with 0 for octal (proc_get_long in kernel/sysctl.c).
func (c *checker) lower() *Fault {
	value := c.written()
	n, err := strconv.ParseUint(value, 10, 31)
	switch {
	case err != nil || strconv.FormatUint(n, 10) != value:
		return c.fault(RuleShare, "it is set to %q", value)
	case c.has(didCapset):
		return c.fault(RuleShare, "it is set too late")
	}
	c.at(0).kind = lowered
	c.unset--
	return nil
}

// written returns what a write writes, of which holds has seen that it is there.
func (c *checker) written() string {
	a, n := &c.op.Call.Args[1], int(c.value(2))
	if a.Mem.Text != "" {
		return (a.Mem.Text + "\x00")[a.Offset : a.Offset+n]
	}
	return string(a.Mem.Bytes[a.Offset : a.Offset+n])
}
