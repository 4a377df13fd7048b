package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// Facts about processes that do not want to end, and about what a command is given.

// Sessions, process groups, ignored and stopping signals, orphans, and processes that are another one at
// every moment. That they are there is seen before the end.
func TestPayloadCannotOutliveItsSandbox(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(stop context.CancelFunc, c *Cmd, letGo func() error) error{
		"the command ends":      func(_ context.CancelFunc, _ *Cmd, letGo func() error) error { return letGo() },
		"the command is killed": func(_ context.CancelFunc, c *Cmd, _ func() error) error { return c.Signal(os.Kill) },
		"the context ends":      func(stop context.CancelFunc, _ *Cmd, _ func() error) error { stop(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			marker := fmt.Sprintf("outlive-%d-%d", os.Getpid(), time.Now().UnixNano())
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			c := Command(ctx, victimSpec(t, "linger:"+marker, "await"))
			stdin, err := c.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			stdout, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			if o := newLines(stdout).next(t); o.Detail != "15" {
				t.Fatal(o)
			}
			// Nine that stay, and at least as many that are on their way.
			for deadline := time.Now().Add(sandboxtest.Slow(20 * time.Second)); len(straysOf(marker)) < 12; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("%d processes are there: this proves nothing", len(straysOf(marker)))
				}
			}
			if err := end(stop, c, stdin.Close); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Wait(); err != nil && !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			if left := straysOf(marker); len(left) > 0 {
				t.Errorf("left are %q", left)
			}
		})
	}
}

// straysOf returns what strays finds, without processes of other tests.
func straysOf(marker string) []string {
	return slices.DeleteFunc(strays(marker), func(s string) bool { return !strings.Contains(s, marker) })
}
