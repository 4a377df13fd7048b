//go:build linux

package sandbox

import (
	"errors"
	"io/fs"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
	"github.com/ringfence-go/ringfence/internal/plan"
)

// share is how much of something a sandbox may have of which its caller has all.
func share(all int) int { return max(all/4, 1) }

// resolveShares decides whether the sandbox has a share of inotify, or all that its caller has. It is one thing that a
// host may refuse without being asked (see RATIONALE.md): the Result tells.
func (r *resolved) resolveShares(host *Host) {
	switch {
	case host.unshared != nil:
		r.unshared = host.unshared
		r.missing = append(r.missing, InotifyLimit)
	case r.newProc && host.facts.InotifyInstances > 0 && host.facts.InotifyWatches > 0:
		r.shares = true
		r.enforce(InotifyLimit, "/proc/sys/user/max_inotify_instances and max_inotify_watches")
	}
}

// How the labels of the steps begin.
const (
	openShare = "open max_inotify_"
	setShare  = "set max_inotify_"
)

// noShares recognizes a host that refuses them: an AppArmor profile, or a filter, as containers have.
func noShares(op *plan.Op, cause error) *UnsupportedError {
	refused := errors.Is(cause, fs.ErrPermission) || errors.Is(cause, unix.EROFS) || errors.Is(cause, unix.ENOENT)
	if !refused || !strings.HasPrefix(op.Label, openShare) && !strings.HasPrefix(op.Label, setShare) {
		return nil
	}
	return &UnsupportedError{Feature: InotifyLimit, Needs: "a host that lets this user lower the limits of its own user namespace, in /proc/sys/user",
		Remedy: "in LXC, LXD, Incus and Proxmox: an AppArmor profile without deny /proc/sys/[^kn]*{,/**}", Err: cause}
}

// compileShares bounds what the sandbox's user namespace may have of what the kernel counts for a user, or for all,
// and neither a cgroup nor a resource limit bounds: inotify (for terminals see maxTerminals). Without bounds one
// sandbox could take what its caller and all others of the same caller have to share; of inotify that is the host's
// root, if root is the caller. See the kernel's Documentation/admin-guide/sysctl/user.rst. Beneath its limit that of
// the caller's still holds.
func (c *compilation) compileShares(b *plan.Builder) {
	if !c.shares {
		return
	}
	for _, l := range [...]struct {
		name string
		all  int
	}{
		{"instances", c.facts.InotifyInstances}, {"watches", c.facts.InotifyWatches},
	} {
		value := strconv.Itoa(share(l.all))
		fd := b.Open(openShare+l.name, kernel.Openat2(c.proc, "sys/user/max_inotify_"+l.name, unix.O_WRONLY|unix.O_CLOEXEC, unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_XDEV))
		b.WriteString(setShare+l.name+" to "+value, fd, value)
		b.Close(fd)
	}
}
