package sandbox

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"
)

func TestKilledCallerLeavesNothingOfSandboxesThatLive(t *testing.T) { killCallers(t, "living") }

func TestKilledCallerLeavesNothingOfAPool(t *testing.T) { killCallers(t, "pool") }

func init() {
	callers["living"] = func() error { return callMany(newLiving) }
	callers["pool"] = func() error { return callMany(newPooled) }
}

// runner is a sandbox that lives, or a pool.
type runner interface {
	Run(ctx context.Context, spec Spec) (*Result, error)
	Close() error
}

func newLiving() (runner, error) { return New(context.Background(), Spec{}) }

func newPooled() (runner, error) {
	return NewPool(context.Background(), Spec{}, PoolOptions{Size: 2})
}

// callMany runs commands that want to stay, until this program is killed.
func callMany(open func() (runner, error)) error {
	marker := os.Getenv(markerEnv)
	fmt.Println("looping")
	for {
		r, err := open()
		if err != nil {
			return err
		}
		for i := range 4 {
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i)*time.Millisecond)
			_, _ = r.Run(ctx, Spec{Args: []string{"sh", "-c", "sleep 1000 & setsid sleep 1000 & trap '' TERM HUP IO; wait", marker}})
			cancel()
		}
		if err := r.Close(); err != nil {
			return err
		}
	}
}

// Starts that fail, and runs that are given up, leave nothing in this program.
func TestManyRunsLeaveNothingHere(t *testing.T) {
	for name, open := range map[string]func() (runner, error){"living": newLiving, "pool": newPooled} {
		t.Run(name, func(t *testing.T) {
			r, err := open()
			if err != nil {
				t.Fatal(err)
			}
			before := holds()
			for i := range times("RINGFENCE_RUNS", 60) {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i%5)*time.Millisecond)
				args := [][]string{{"true"}, {"no-such-command"}, {"sleep", "60"}}[i%3]
				_, _ = r.Run(ctx, Spec{Args: args})
				cancel()
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			if after := holds(); after.mounts != before.mounts || after.files > before.files {
				t.Errorf("%+v, before %+v", after, before)
			}
		})
	}
}
