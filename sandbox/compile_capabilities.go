//go:build linux

package sandbox

import (
	"fmt"
	"strings"

	"github.com/moby/sys/capability"
	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
	"github.com/ringfence-go/ringfence/internal/plan"
)

// The capabilities of each process. The command keeps those of the Spec, in every set; nobody else has any
// once it is executed. execve(2) asks for the sets like this, F for what a file gives and P for the process:
//
//	P'(permitted) = P(inheritable) & F(inheritable) | F(permitted) & P(bounding) | P'(ambient)
//
// To user 0 every file gives all, so that the bounding set is what the command has; to others no file of the
// sandbox gives any, since all are nosuid, so that the ambient set is (capabilities(7)).

// keeps reports whether the command keeps capability n.
func (r *resolved) keeps(n int) bool { return r.capabilities&(1<<n) != 0 }

// compileBounding leaves in the bounding set what the command keeps.
func (c *compilation) compileBounding(b *plan.Builder) {
	all := dropFromBoundingSet[b.Process()]()[:c.facts.LastCap+1]
	if c.capabilities == 0 {
		b.Append(all)
		return
	}
	for n, op := range all {
		if !c.keeps(n) {
			b.Append([]*plan.Op{op})
		}
	}
}

// compileUnbound empties the bounding set of a process that is not the command. It takes CAP_SETPCAP.
func (c *compilation) compileUnbound(b *plan.Builder) {
	for n := range c.facts.LastCap + 1 {
		if c.keeps(n) {
			b.Call(dropLabel(n)+" too", kernel.Prctl(unix.PR_CAPBSET_DROP, n))
		}
	}
}

// compileKeep lets a change of the command's user leave its permitted set, which a change from ID 0 to
// another empties otherwise.
func (c *compilation) compileKeep(b *plan.Builder) {
	if c.capabilities != 0 {
		b.Call("keep capabilities over the change of user", kernel.Prctl(unix.PR_SET_KEEPCAPS, 1))
	}
}

// compileCommandCapabilities leaves the command what it keeps. Its user is set by now, and its bounding set.
func (c *compilation) compileCommandCapabilities(b *plan.Builder) {
	if c.capabilities == 0 {
		b.Call("drop every capability of the command", kernel.Capset())
		return
	}
	b.Call("drop every other capability of the command", kernel.CapsetTo(c.capabilities))
	for n := range c.facts.LastCap + 1 {
		if c.keeps(n) {
			b.Call("keep "+capabilityName(n)+" over the execution", kernel.RaiseAmbient(n))
		}
	}
}

// dropFromBoundingSet returns an op for each bit of a capability set.
var dropFromBoundingSet = sharedOps(func(b *plan.Builder) {
	const bits = 64
	for n := range bits {
		b.Call(dropLabel(n), kernel.Prctl(unix.PR_CAPBSET_DROP, n))
	}
})

func dropLabel(n int) string { return "drop " + capabilityName(n) + " from the bounding set" }

// capabilityName returns "CAP_NET_RAW" for 13.
func capabilityName(n int) string {
	if n >= len(capability.ListKnown()) {
		return fmt.Sprintf("capability %d", n)
	}
	return "CAP_" + strings.ToUpper(capability.Cap(n).String())
}
