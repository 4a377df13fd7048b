package main

import (
	"context"
	"os"
	"testing"

	"github.com/ringfence-go/ringfence/sandbox"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

func TestMain(m *testing.M) {
	sandboxtest.Main(m, func() { _ = sandbox.ReleaseCgroups(context.Background()) }) // CPUTime may have found one
}

func Example() {
	os.Args = []string{"hello"}
	main()
	// Output: hello from the sandbox
}

func Example_command() {
	os.Args = []string{"hello", "sh", "-c", "echo PID $$ on $(uname -n); ls /home"}
	main()
	// Output:
	// PID 2 on sandbox
	// sandbox
}
