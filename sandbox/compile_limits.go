//go:build linux

package sandbox

import (
	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
	"github.com/ringfence-go/ringfence/internal/plan"
)

// compileLimits sets the resource limits of the command. A core file would be written by the host's
// handler, outside, unless the Spec asks for one.
func (c *compilation) compileLimits(b *plan.Builder) {
	core := true
	for _, l := range c.rlimits {
		core = core && l.Type != "RLIMIT_CORE"
	}
	if core {
		b.Call("write no core file", kernel.Prlimit(unix.RLIMIT_CORE, "RLIMIT_CORE", 0, 0))
	}
	if c.filter.once {
		c.compileOnce(b)
	}
	for _, l := range c.rlimits {
		resource, _ := rlimitResource(l.Type) // validate knows them all
		b.Call("set "+l.Type, kernel.Prlimit(resource, l.Type, l.Soft, l.Hard))
	}
}

// compileOnce keeps what the command maps away from the low addresses, from which alone its filter lets it
// execute anything: see seccomp.ExecWindow for what it needs.
func (c *compilation) compileOnce(b *plan.Builder) {
	b.Call("keep low addresses free", kernel.Personality(kernel.AddrCompatLayout, "ADDR_COMPAT_LAYOUT")).ReturnsAny()
	for _, l := range c.rlimits {
		if l.Type == "RLIMIT_STACK" {
			return
		}
	}
	b.Call("bound the stack", kernel.Prlimit(unix.RLIMIT_STACK, "RLIMIT_STACK", defaultStack, defaultStack))
}

// defaultStack is the usual soft limit; maxStackOnce is what seccomp.ExecWindow allows.
const (
	defaultStack = 8 << 20
	maxStackOnce = 64<<30 - 1
)
