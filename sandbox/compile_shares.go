//go:build linux

package sandbox

import (
	"path"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
	"github.com/ringfence-go/ringfence/internal/plan"
)

// What a sandbox may have of things that the kernel counts for a user, or for all, and that neither a cgroup
// nor a resource limit bounds. Without these one sandbox could take what its caller and all others of the
// same caller have to share; of inotify that is the host's root, if root is the caller.
const (
	maxTerminals = 256     // of 4096: sysctl kernel.pty.max
	maxInotify   = "32"    // of 128: sysctl fs.inotify.max_user_instances
	maxWatches   = "16384" // of some 8000 for each GB of memory: sysctl fs.inotify.max_user_watches
)

// compileShares bounds what the sandbox's user namespace may have: the kernel's
// Documentation/admin-guide/sysctl/user.rst. Beneath its limit that of the caller's still holds.
func (c *compilation) compileShares(b *plan.Builder) {
	if c.namespaces&unix.CLONE_NEWUSER == 0 {
		return
	}
	for _, l := range [...]struct{ file, value string }{
		{"sys/user/max_inotify_instances", maxInotify}, {"sys/user/max_inotify_watches", maxWatches},
	} {
		name := path.Base(l.file)
		fd := b.Open("open "+name, kernel.Openat2(c.proc, l.file, unix.O_WRONLY|unix.O_CLOEXEC, unix.RESOLVE_NO_SYMLINKS))
		b.WriteString("set "+name+" to "+l.value, fd, l.value)
		b.Close(fd)
	}
}
