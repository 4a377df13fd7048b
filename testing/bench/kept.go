//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/ringfence-go/ringfence/sandbox"
)

// kept is what runs commands in sandboxes that are there before: one that lives, and a pool.
type kept struct {
	living *sandbox.Sandbox
	pool   *sandbox.Pool
}

// poolSize is how many sandboxes the pool has ready.
const poolSize = 4

func keep(command string) (*kept, error) {
	spec := sandbox.Spec{Mounts: []sandbox.Mount{{Source: command, Target: "/command"}}}
	living, err := sandbox.New(context.Background(), spec)
	if err != nil {
		return nil, err
	}
	pool, err := sandbox.NewPool(context.Background(), spec, sandbox.PoolOptions{Size: poolSize})
	if err != nil {
		return nil, errors.Join(err, living.Close())
	}
	return &kept{living, pool}, nil
}

func (k *kept) close() error { return errors.Join(k.pool.Close(), k.living.Close()) }

func (k *kept) contestants() []contestant {
	run := func(r func(context.Context, sandbox.Spec) (*sandbox.Result, error)) func() error {
		return func() error {
			result, err := r(context.Background(), sandbox.Spec{Args: []string{"/command"}})
			if err != nil {
				return err
			}
			return result.Err()
		}
	}
	return []contestant{
		{"ringfence, in a living sandbox", run(k.living.Run)},
		{"ringfence, from a pool", run(k.pool.Run)},
	}
}

// throughput compares how many commands a second each contestant runs for some callers at a time.
func throughput(out io.Writer, runs int, list []contestant) error {
	const callers = 8
	fmt.Fprintf(out, "\nthroughput of %d callers at a time, and of one:\n", callers)
	for _, c := range list {
		one, err := rate(c.run, 1, runs)
		if err != nil {
			return err
		}
		many, err := rate(c.run, callers, runs/4+1)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "  %-40s %6.0f/s %6.0f/s\n", c.name, many, one)
	}
	return nil
}

func rate(run func() error, callers, runs int) (float64, error) {
	var wg sync.WaitGroup
	errs := make(chan error, callers)
	began := time.Now()
	for range callers {
		wg.Go(func() {
			for range runs {
				if err := run(); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return 0, err
	default:
	}
	return float64(callers*runs) / time.Since(began).Seconds(), nil
}
