package main

import (
	"context"
	"fmt"
	"log"

	"github.com/moby/sys/capability"

	"github.com/ringfence-go/ringfence/sandbox"
)

// The programs of the README that are about the command's own process.

func Example_capabilities() {
	ctx := context.Background()
	out, err := sandbox.Output(ctx, sandbox.Spec{
		Args:         []string{"grep", "CapEff", "/proc/self/status"},
		Capabilities: []capability.Cap{capability.CAP_NET_RAW},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s", out)
	// Output: CapEff:	0000000000002000
}
