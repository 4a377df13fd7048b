//go:build linux

package sandbox

import (
	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
	"github.com/ringfence-go/ringfence/internal/plan"
)

// heldForCollect is how many descriptors the caller gets for Spec.Collect: see held.
const heldForCollect = 2

// compileHold opens the mount namespace of PID 1. Whoever holds it keeps every mount attached, and what is
// in a tmpfs alive, when no process is left (put_mnt_ns in the kernel's fs/namespace.c takes them apart).
//
// It comes before the sources, so that its number is the first that the set-up opens and stays when the
// rest is closed; and through the host's /proc, which a sandbox without a /proc of its own has too, and which
// nothing that the Spec brings can have covered. The kernel shows it to nobody else: PID 1 is not dumpable.
func (c *compilation) compileHold(b *plan.Builder) {
	if c.collects {
		c.held = []int{b.Open("hold the mounts for the caller to collect from", kernel.Openat(unix.AT_FDCWD, "/proc/self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0))}
	}
}

// compileHoldRoot opens the root from which the caller's paths start.
func (c *compilation) compileHoldRoot(b *plan.Builder) {
	if c.collects {
		c.held = append(c.held, b.Open("hold the root for the caller to collect from", kernel.Openat2(unix.AT_FDCWD, "/", ownDir, unix.RESOLVE_NO_SYMLINKS)))
	}
}
