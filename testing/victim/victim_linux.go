package victim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// act tries something and returns what it found.
type act func(arg string) (string, error)

var acts = map[string]act{}

func init() {
	for _, group := range []map[string]act{fileActs, processActs, kernelActs, channelActs, stalkActs, swapActs, callActs, bombActs, observeActs, socketActs, bareActs} {
		register(group)
	}
}

// register adds acts, of which no two may have one name: a test would run the other one.
func register(group map[string]act) {
	for name, do := range group {
		if acts[name] != nil {
			panic("two acts are called " + name)
		}
		acts[name] = do
	}
}

// Main tries the acts in the arguments and exits, if this program was started as Path; else it returns.
func Main() {
	if len(os.Args) == 0 || !strings.HasSuffix(os.Args[0], Path) {
		return
	}
	runtime.LockOSThread() // some acts concern a thread
	for _, arg := range os.Args[1:] {
		emit(try(arg))
	}
	unix.Exit(0) // os.Exit waits a second under the race detector
}

func emit(o Outcome) {
	line, err := json.Marshal(o)
	if err != nil {
		panic(err) // strings can always be encoded
	}
	// One write a line, so that victims that share a pipe do not mix.
	if _, err := os.Stdout.Write(append(line, '\n')); err != nil {
		unix.Exit(3)
	}
}

func try(arg string) Outcome {
	name, rest, _ := strings.Cut(arg, ":")
	o := Outcome{Act: arg}
	do, ok := acts[name]
	if !ok {
		o.Err = "no such act"
		return o
	}
	detail, err := do(rest)
	o.Detail = detail
	if err != nil {
		o.Err = name + ": " + err.Error()
		var errno syscall.Errno
		if errors.As(err, &errno) {
			o.Err = unix.ErrnoName(errno)
		}
	}
	return o
}

// Parse reads the output of a victim.
func Parse(output []byte) (map[string]Outcome, error) {
	all := map[string]Outcome{}
	for line := range bytes.Lines(output) {
		var o Outcome
		if err := json.Unmarshal(line, &o); err != nil {
			return all, fmt.Errorf("%q: %w", line, err)
		}
		all[o.Act] = o
	}
	return all, nil
}

// Outside returns the command that tries acts without a sandbox.
func Outside(acts ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Args = append([]string{Path}, acts...)
	return cmd, nil
}
