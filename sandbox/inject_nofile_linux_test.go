package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/launch"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// The caller's own side: whatever opens a descriptor there fails in turn, since only so many are left. That is a
// matter of the whole process, so that it is one of its own.

// maxSpare is how many descriptors any start can do with: for the caller's side, and for what is open at a time in
// PID 1, which inherits the limit.
const maxSpare = 120

// fewDescriptors starts sandboxes of a kind with no descriptor to spare, with one, and so on until it succeeds
// several times in a row.
func fewDescriptors(kind func() (start func() error, end func() error, err error)) error {
	if _, err := Output(context.Background(), Spec{Args: []string{"true"}}); err != nil {
		return err // what is opened once, such as the runtime's poller, is open now
	}
	start, end, err := kind()
	if err != nil {
		return err
	}
	before := remaining()
	spares, refused, good := 0, 0, 0
	for ; good < 3; spares++ {
		if spares > maxSpare {
			return fmt.Errorf("no start with %d spare descriptors", maxSpare)
		}
		err := withSpare(before.fds-1, spares, start) // one of them has read the directory
		if err == nil {
			good++
		} else {
			refused++
			if good, err = 0, typed(err); err != nil {
				return fmt.Errorf("with %d spare descriptors: %w", spares, err)
			}
		}
		if err := nothingLeft(before); err != nil {
			return fmt.Errorf("with %d spare descriptors: %w", spares, err)
		}
	}
	fmt.Println("refused", refused)
	return end()
}

// withSpare calls start under a limit that leaves so many descriptors.
func withSpare(open, spare int, start func() error) error {
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		return err
	}
	low := unix.Rlimit{Cur: uint64(open + spare), Max: was.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		return err
	}
	err := start()
	return errors.Join(err, unix.Setrlimit(unix.RLIMIT_NOFILE, &was))
}

// typed returns nil for an error that a start may have for want of descriptors.
func typed(err error) error {
	var failed *OpError
	switch {
	case !errors.As(err, &failed):
		return fmt.Errorf("%w (%T), want an *OpError", err, err)
	case errors.Is(err, unix.EMFILE), errors.Is(err, launch.ErrImageRefused):
		return nil
	}
	return fmt.Errorf("%w, want EMFILE", err)
}

func init() {
	piped := func() Spec {
		return Spec{Args: []string{"cat"}, Stdin: strings.NewReader("x"), Stdout: io.Discard, Stderr: io.Discard}
	}
	callers["few descriptors for a run"] = func() error {
		return fewDescriptors(func() (func() error, func() error, error) {
			return func() error { _, err := Run(context.Background(), piped()); return err }, func() error { return nil }, nil
		})
	}
	callers["few descriptors for a joiner"] = func() error {
		return fewDescriptors(func() (func() error, func() error, error) {
			s, err := New(context.Background(), Spec{})
			if err != nil {
				return nil, nil, err
			}
			return func() error { _, err := s.Run(context.Background(), piped()); return err }, s.Close, nil
		})
	}
	callers["few descriptors for a sandbox that lives"] = func() error {
		return fewDescriptors(func() (func() error, func() error, error) {
			return func() error {
				s, err := New(context.Background(), Spec{})
				if err != nil {
					return err
				}
				return s.Close()
			}, func() error { return nil }, nil
		})
	}
	callers["few descriptors for a pool"] = func() error {
		return fewDescriptors(func() (func() error, func() error, error) {
			return func() error {
				p, err := NewPool(context.Background(), Spec{}, PoolOptions{Size: 1})
				if err != nil {
					return err
				}
				_, err = p.Run(context.Background(), piped())
				return errors.Join(err, p.Close())
			}, func() error { return nil }, nil
		})
	}
}

func TestStartsWithFewDescriptorsFailOrSucceed(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	for _, kind := range []string{"run", "joiner", "sandbox that lives", "pool"} {
		t.Run(strings.ReplaceAll(kind, " ", "-"), func(t *testing.T) {
			out, err := caller(t, "few descriptors for a "+kind).CombinedOutput()
			var refused int
			if _, scanErr := fmt.Sscanf(string(out), "refused %d", &refused); err != nil || scanErr != nil || refused < 5 {
				t.Errorf("%v\n%s", err, out)
			}
			t.Logf("%d starts were refused", refused)
		})
	}
}
