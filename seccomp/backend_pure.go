//go:build !seccomp

package seccomp

import "github.com/ringfence-go/ringfence/internal/kernel"

// compile is the back end of Policy.Compile.
func compile(p *Policy, abis []kernel.Arch) (*Filter, error) { return compilePure(p, abis) }
