//go:build !linux

package sandbox

import (
	"context"
	"io"
	"io/fs"
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

// Features returns nil.
func (*Host) Features() []FeatureState { return nil }

// Err returns an error that matches errors.ErrUnsupported.
func (*Host) Err() error { return unsupported() }

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

// SignalAll returns an error.
func (*Cmd) SignalAll(os.Signal) error { return unsupported() }

// Resize returns an error.
func (*Cmd) Resize(uint16, uint16) error { return unsupported() }

// Kill returns an error.
func (*Cmd) Kill() error { return unsupported() }

// Pid returns 0.
func (*Cmd) Pid() int { return 0 }

// Sandbox is a sandbox that lives.
type Sandbox struct{}

// New returns the faults of spec, or else an error that matches errors.ErrUnsupported.
func New(_ context.Context, spec Spec) (*Sandbox, error) {
	if err := validateKeeper(&spec); err != nil {
		return nil, err
	}
	return nil, unsupported()
}

// Run returns the faults of spec, or else an error that matches errors.ErrUnsupported.
func (*Sandbox) Run(_ context.Context, spec Spec) (*Result, error) {
	if err := validateJoin(&spec); err != nil {
		return nil, err
	}
	return nil, unsupported()
}

// Command returns a Cmd that cannot be started.
func (*Sandbox) Command(context.Context, Spec) *Cmd { return &Cmd{} }

// Pause returns an error, as do Resume, Stats and Update.
func (*Sandbox) Pause() error { return unsupported() }

// Resume returns an error.
func (*Sandbox) Resume() error { return unsupported() }

// Stats returns an error.
func (*Sandbox) Stats() (*Stats, error) { return nil, unsupported() }

// Update returns an error.
func (*Sandbox) Update(Limits) error { return unsupported() }

// CopyOut returns an error that matches errors.ErrUnsupported.
func (*Sandbox) CopyOut(context.Context, Collect) error { return unsupported() }

// CopyIn returns an error that matches errors.ErrUnsupported.
func (*Sandbox) CopyIn(context.Context, string, fs.FS, CopyOptions) error { return unsupported() }

// Done returns a closed channel.
func (*Sandbox) Done() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

// Close has nothing to close.
func (*Sandbox) Close() error { return nil }

// Pool keeps sandboxes ready.
type Pool struct{}

// NewPool returns the faults of spec, or else an error that matches errors.ErrUnsupported.
func NewPool(_ context.Context, spec Spec, options PoolOptions) (*Pool, error) {
	if err := validatePool(&spec, &options); err != nil {
		return nil, err
	}
	return nil, unsupported()
}

// Run returns the faults of spec, or else an error that matches errors.ErrUnsupported.
func (*Pool) Run(_ context.Context, spec Spec) (*Result, error) {
	if err := validatePooled(&spec); err != nil {
		return nil, err
	}
	return nil, unsupported()
}

// Command returns a Cmd that cannot be started.
func (*Pool) Command(context.Context, Spec) *Cmd { return &Cmd{} }

// Close has nothing to close.
func (*Pool) Close() error { return nil }

// SignalAll returns an error.
func (*Sandbox) SignalAll(os.Signal) error { return unsupported() }
