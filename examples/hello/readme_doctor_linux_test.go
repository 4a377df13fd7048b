package main

import (
	"context"
	"fmt"
	"log"

	"github.com/ringfence-go/ringfence/sandbox"
)

func Example_doctor() {
	ctx := context.Background()
	err := func() error {
		host, err := sandbox.Probe(ctx)
		if err != nil {
			return err
		}
		for _, s := range host.Features() {
			if s.State != sandbox.Works {
				fmt.Printf("%s: %v: %v\n%s\n", s.Feature, s.State, s.Cause, s.Remedy)
			}
		}
		return host.Err() // nil: the zero Spec works
	}()
	if err != nil {
		log.Fatal(err)
	}
}
