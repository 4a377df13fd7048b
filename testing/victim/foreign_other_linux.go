//go:build !amd64 && !arm64

package victim

import (
	"errors"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// ForeignABIs says whether this architecture has others beside its own that a filter can meet.
const ForeignABIs = false

const shared = 0

// gates are the ways into the kernel: there is no assembly for those of this architecture.
var gates []gate

func forkCall(kernel.Arch, uint32, []uintptr) (int, error) { return 0, errors.ErrUnsupported }
