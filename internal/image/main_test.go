//go:build linux && (amd64 || arm64)

package image

import (
	"os"
	"testing"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

func TestMain(m *testing.M) {
	if emulator() != "" {
		// A test binary of another architecture, which cannot start itself again.
		os.Exit(m.Run())
	}
	sandboxtest.Main(m)
}
