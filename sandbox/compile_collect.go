//go:build linux

package sandbox

import (
	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
	"github.com/ringfence-go/ringfence/internal/plan"
)

// held returns the namespaces that the caller gets from PID 1: of a sandbox that lives all, for commands to
// join; for Spec.Collect that of the mounts. The root comes behind them.
func (r *resolved) held() []namespaceKind {
	var held []namespaceKind
	for _, ns := range r.namespaceKinds() {
		if r.lives || r.collects && ns.feature == MountNamespace {
			held = append(held, ns)
		}
	}
	return held
}

// extras counts the descriptors that come with the start: the /proc to watch, what is held with the devpts of a
// sandbox that lives before the root, the terminal.
func (r *resolved) extras() int {
	n := r.firstHeld()
	if held := r.held(); held != nil {
		n += len(held) + 1
	}
	if r.lives {
		n++ // its terminals
	}
	if r.terminal != nil {
		n++
	}
	return n
}

// compileHold opens namespaces of PID 1 for the caller. Whoever holds that of the mounts keeps every mount attached, and what is
// in a tmpfs alive, when no process is left (put_mnt_ns in the kernel's fs/namespace.c takes them apart).
//
// It comes before the sources, so that its number is the first that the set-up opens and stays when the
// rest is closed; and through the host's /proc, which a sandbox without a /proc of its own has too, and which
// nothing that the Spec brings can have covered. The kernel shows it to nobody else: PID 1 is not dumpable.
func (c *compilation) compileHold(b *plan.Builder) {
	for _, ns := range c.resolved.held() {
		c.held = append(c.held, b.Open("hold the "+ns.name+" namespace for the caller", kernel.Openat(unix.AT_FDCWD, kernel.NamespaceFile(ns.name), unix.O_RDONLY|unix.O_CLOEXEC, 0)))
	}
}

// compileHoldRoot opens the root from which the caller's paths start.
func (c *compilation) compileHoldRoot(b *plan.Builder) {
	if len(c.held) > 0 {
		c.held = append(c.held, b.Open("hold the root for the caller", kernel.Openat2(unix.AT_FDCWD, "/", ownDir, unix.RESOLVE_NO_SYMLINKS)))
	}
}
