//go:build linux

package sandbox

import (
	"path"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
	"github.com/ringfence-go/ringfence/internal/plan"
)

// maxTerminals is how many terminals a sandbox may have, of 4096 (sysctl kernel.pty.max). The kernel counts some
// things for a user, or for all, that neither a cgroup nor a resource limit bounds. Without bounds one sandbox could
// take what its caller and all others of the same caller have to share; of inotify that is the host's root, if root
// is the caller.
const maxTerminals = 256

// share is how much of something a sandbox may have of which its caller has all.
func share(all int) int { return max(all/4, 1) }

// compileShares bounds what the sandbox's user namespace may have: the kernel's
// Documentation/admin-guide/sysctl/user.rst. Beneath its limit that of the caller's still holds.
func (c *compilation) compileShares(b *plan.Builder) {
	if c.namespaces&unix.CLONE_NEWUSER == 0 {
		return
	}
	for _, l := range [...]struct {
		file string
		all  int
	}{
		{"sys/user/max_inotify_instances", c.facts.InotifyInstances}, {"sys/user/max_inotify_watches", c.facts.InotifyWatches},
	} {
		if l.all == 0 {
			continue // there is no such limit
		}
		name, value := path.Base(l.file), strconv.Itoa(share(l.all))
		fd := b.Open("open "+name, kernel.Openat2(c.proc, l.file, unix.O_WRONLY|unix.O_CLOEXEC, unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_XDEV))
		b.WriteString("set "+name+" to "+value, fd, value)
		b.Close(fd)
	}
}
