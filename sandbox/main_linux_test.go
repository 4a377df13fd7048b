package sandbox

import (
	"context"
	"testing"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
	"github.com/ringfence-go/ringfence/testing/victim"
)

func TestMain(m *testing.M) {
	victim.Main() // this binary is also what runs inside
	callerMain()
	sandboxtest.Main(m, func() { _ = ReleaseCgroups(context.Background()) }) // the leak check tells of what is left
}
