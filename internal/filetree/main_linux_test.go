package filetree

import (
	"testing"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }
