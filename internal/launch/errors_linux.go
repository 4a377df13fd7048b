package launch

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ErrImageRefused says that the host executes neither a memfd nor a private file.
var ErrImageRefused = errors.New("the host does not execute the set-up image")

// FailedError is a step of the program that did not return what it must.
type FailedError struct {
	Index  int
	Result int64   // as the kernel returned it: negative for an errno
	Notes  []int64 // results that the program kept, if it got that far
}

func (e *FailedError) Error() string { return fmt.Sprintf("step %d returned %d", e.Index, e.Result) }

// DiedError is a program that ended before it reported anything.
type DiedError struct{ Status unix.WaitStatus }

func (e *DiedError) Error() string {
	if e.Status.Signaled() {
		return "the set-up was ended by a signal: " + e.Status.Signal().String()
	}
	return "the set-up ended without a report"
}
