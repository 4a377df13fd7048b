//go:build !linux

package sandbox

import (
	"context"
	"io"
	"os"

	"github.com/ringfence-go/ringfence/seccomp"
)

// Sandboxes are made of Linux namespaces: on other systems everything compiles and nothing runs.

func unsupported() error {
	return &UnsupportedError{Feature: UserNamespace, Needs: "Linux"}
}

// Run returns an error that matches errors.ErrUnsupported.
func Run(context.Context, Spec) (*Result, error) { return nil, unsupported() }

// Output returns an error that matches errors.ErrUnsupported.
func Output(context.Context, Spec) ([]byte, error) { return nil, unsupported() }

// ReleaseCgroups has nothing to give back.
func ReleaseCgroups(context.Context) error { return nil }

// Learn returns an error that matches errors.ErrUnsupported.
func Learn(context.Context, Spec) (*seccomp.Policy, *Result, error) {
	return nil, nil, unsupported()
}

// Host is what a machine is like.
type Host struct{}

// Probe returns an error that matches errors.ErrUnsupported.
func Probe(context.Context) (*Host, error) { return nil, unsupported() }

// Plan is the set-up of a sandbox as data.
type Plan struct{}

// String returns "".
func (*Plan) String() string { return "" }

// Compile returns the faults of spec, or else an error that matches errors.ErrUnsupported.
func Compile(spec Spec, _ *Host) (*Plan, error) {
	if err := validate(&spec); err != nil {
		return nil, err
	}
	return nil, unsupported()
}

// Cmd is a command in a sandbox of its own.
type Cmd struct{}

// Command returns a Cmd that cannot be started.
func Command(context.Context, Spec) *Cmd { return &Cmd{} }

// Start returns an error that matches errors.ErrUnsupported, as do the other methods.
func (*Cmd) Start() error { return unsupported() }

// Wait returns an error.
func (*Cmd) Wait() (*Result, error) { return nil, unsupported() }

// StdinPipe returns an error.
func (*Cmd) StdinPipe() (io.WriteCloser, error) { return nil, unsupported() }

// StdoutPipe returns an error.
func (*Cmd) StdoutPipe() (io.ReadCloser, error) { return nil, unsupported() }

// StderrPipe returns an error.
func (*Cmd) StderrPipe() (io.ReadCloser, error) { return nil, unsupported() }

// Signal returns an error.
func (*Cmd) Signal(os.Signal) error { return unsupported() }

// Resize returns an error.
func (*Cmd) Resize(uint16, uint16) error { return unsupported() }

// Kill returns an error.
func (*Cmd) Kill() error { return unsupported() }

// Pid returns 0.
func (*Cmd) Pid() int { return 0 }
