package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/ringfence-go/ringfence/sandbox"
)

// The programs of the README about sandboxes that are there before their commands.

func Example_living() {
	ctx := context.Background()
	err := func() error {
		box, err := sandbox.New(ctx, sandbox.Spec{Limits: sandbox.Limits{WallTime: time.Minute}}) // of each command
		if err != nil {
			return err
		}
		defer box.Close()
		for _, step := range []string{"echo 'echo hello from step 1' >/tmp/built", "sh /tmp/built"} {
			result, err := box.Run(ctx, sandbox.Spec{Args: []string{"sh", "-c", step}, Stdout: os.Stdout})
			if err != nil {
				return err
			}
			if err := result.Err(); err != nil {
				return err
			}
		}
		return nil
	}()
	if err != nil {
		log.Fatal(err)
	}
	// Output: hello from step 1
}

func Example_pool() {
	ctx := context.Background()
	err := func() error {
		pool, err := sandbox.NewPool(ctx, sandbox.Spec{}, sandbox.PoolOptions{Size: 4, Running: 8, Idle: time.Minute})
		if err != nil {
			return err
		}
		defer pool.Close()
		for _, input := range []string{"6*7", "1/0"} {
			result, err := pool.Run(ctx, sandbox.Spec{Args: []string{"sh", "-c", "echo $(($0))", input}, Stdout: os.Stdout})
			if err != nil {
				return err
			}
			fmt.Println(result)
		}
		return nil
	}()
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// 42
	// exit status 0
	// exit status 2
}
