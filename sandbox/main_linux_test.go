package sandbox

import (
	"testing"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
	"github.com/ringfence-go/ringfence/testing/victim"
)

func TestMain(m *testing.M) {
	victim.Main() // this binary is also what runs inside
	callerMain()
	sandboxtest.Main(m)
}
