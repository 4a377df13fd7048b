package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// SpecError is one fault of a Spec. Run and Compile report every fault at once, joined.
type SpecError struct {
	Field  string // the path of the field: "Mounts[2].Target"
	Reason string
}

func (e *SpecError) Error() string { return fmt.Sprintf("sandbox: Spec.%s: %s", e.Field, e.Reason) }

// UnsupportedError says that the host, or this version, cannot give something that the Spec asks
// for. It matches errors.ErrUnsupported.
type UnsupportedError struct {
	Feature Feature
	Needs   string // what it would take: "a delegated cgroup v2"
	Remedy  string // what the user can do; "" if there is nothing
	Err     error  // the system's own word, if there was one
}

func (e *UnsupportedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "sandbox: %s is not supported here: it needs %s", e.Feature, e.Needs)
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	if e.Remedy != "" {
		fmt.Fprintf(&b, " (%s)", e.Remedy)
	}
	return b.String()
}

// Unwrap makes errors.Is find errors.ErrUnsupported and the system's own error.
func (e *UnsupportedError) Unwrap() []error {
	if e.Err == nil {
		return []error{errors.ErrUnsupported}
	}
	return []error{errors.ErrUnsupported, e.Err}
}

// OpError says which step of the set-up failed. No command was started.
type OpError struct {
	Index  int    // of the step in the Plan; -1 if the step is not part of it
	Op     string // what was attempted, on what: "bind /srv/data on /data"
	Call   string // the system call, as strace prints it; "" if it was none
	Remedy string // what the user can do; "" if nothing is known
	Err    error  // the cause: most often a syscall.Errno
}

func (e *OpError) Error() string {
	s := fmt.Sprintf("sandbox: %s: %v", e.Op, e.Err)
	if e.Remedy != "" {
		s += " (" + e.Remedy + ")"
	}
	return s
}

// Unwrap returns the cause.
func (e *OpError) Unwrap() error { return e.Err }

// The causes in an *OpError when the command could not be executed.
var (
	// ErrNotFound says that the command does not exist in the sandbox. It matches fs.ErrNotExist.
	ErrNotFound error = &commandError{"no such command in the sandbox", fs.ErrNotExist}
	// ErrNotExecutable says that it exists and may not or cannot be executed. It matches
	// fs.ErrPermission.
	ErrNotExecutable error = &commandError{"not an executable file", fs.ErrPermission}
	// ErrNoInterpreter says that it exists, but the program that its first line or its ELF header
	// names does not.
	ErrNoInterpreter = errors.New("its interpreter or dynamic loader does not exist in the sandbox")
)

// ErrEnded says that the Sandbox has ended: by Close, with its context, or by somebody else. It matches
// os.ErrProcessDone.
var ErrEnded error = &commandError{"the sandbox has ended", os.ErrProcessDone}

// commandError is an error with a text of its own that is a case of another.
type commandError struct {
	text string
	is   error
}

func (e *commandError) Error() string        { return e.text }
func (e *commandError) Is(target error) bool { return target == e.is }

// ExitError is an outcome that is not an exit with code 0, as Result.Err returns it.
type ExitError struct {
	*Result
	// Stderr holds the start of what the command wrote to its standard error, if Output collected it.
	Stderr []byte
}

func (e *ExitError) Error() string { return e.Result.String() }
