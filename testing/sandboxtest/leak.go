package sandboxtest

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// leakPatience is how long the end of what tests have started may take. Waiting ends as soon as
// nothing is left.
const leakPatience = 2 * time.Second

// modulePath is in the stack of every goroutine of this library.
const modulePath = "github.com/ringfence-go/ringfence"

// CheckLeaks runs m and returns its exit code, or 1 if that is 0 and the tests left something behind:
// an open file descriptor, a child process, a mount in the process's mount namespace, or a goroutine
// that runs code of this library or was started by it. What is left is printed to standard error. The
// same things that were there before m ran are no leak.
//
// Main calls it. It is for a TestMain that cannot use Main. What is called after the tests, in this order,
// gives back what they share, such as sandbox.ReleaseCgroups.
func CheckLeaks(m interface{ Run() int }, after ...func()) int {
	before := things()
	code := m.Run()
	for _, f := range after {
		f()
	}
	var leaks map[string]string
	for deadline := time.Now().Add(leakPatience); ; time.Sleep(10 * time.Millisecond) {
		leaks = things()
		maps.DeleteFunc(leaks, func(id, _ string) bool { _, old := before[id]; return old })
		if len(leaks) == 0 || time.Now().After(deadline) {
			break
		}
	}
	for _, id := range slices.Sorted(maps.Keys(leaks)) {
		fmt.Fprintf(os.Stderr, "sandboxtest: the tests left %s: %s\n", id, leaks[id])
	}
	if code == 0 && len(leaks) > 0 {
		return 1
	}
	return code
}

// things returns what exists now and could be a leak later: what it is, by a name that nothing else
// gets while it exists.
func things() map[string]string {
	all := goroutines()
	maps.Copy(all, osThings())
	return all
}

// goroutines returns the stacks of this library's goroutines, but for the one that calls.
func goroutines() map[string]string {
	all := map[string]string{}
	// The first stack is the caller's own.
	for i, stack := range strings.Split(string(stacks()), "\n\n") {
		if i > 0 && strings.Contains(stack, modulePath) {
			// "goroutine 7 [select]:"; a number is never used again.
			id, _, _ := strings.Cut(stack, " [")
			all[id] = stack
		}
	}
	return all
}

func stacks() []byte {
	for size := 1 << 16; ; size *= 2 {
		buf := make([]byte, size)
		if n := runtime.Stack(buf, true); n < size {
			return bytes.TrimSpace(buf[:n])
		}
	}
}
