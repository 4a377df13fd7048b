// Hello runs one command in a sandbox.
package main

import (
	"context"
	"log"
	"os"

	"github.com/ringfence-go/ringfence/sandbox"
)

func main() {
	spec := sandbox.Spec{Args: os.Args[1:], Stdout: os.Stdout, Stderr: os.Stderr}
	if len(spec.Args) == 0 {
		spec.Args = []string{"echo", "hello from the sandbox"}
	}
	result, err := sandbox.Run(context.Background(), spec)
	if err != nil {
		log.Fatal(err) // the command was not started: this says why, and what can be done
	}
	log.Print(result) // how it ended: "exit status 0", "signal: killed"
}
