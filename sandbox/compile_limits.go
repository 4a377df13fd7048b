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
	for _, l := range c.rlimits {
		resource, _ := rlimitResource(l.Type) // validate knows them all
		b.Call("set "+l.Type, kernel.Prlimit(resource, l.Type, l.Soft, l.Hard))
	}
}
