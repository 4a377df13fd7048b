package main

import (
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/ringfence-go/ringfence/idmap"
	"github.com/ringfence-go/ringfence/sandbox"
)

// report is what --json writes, always one object on one line. Started tells whether the rest is about
// a command; if not, Errors says why.
type report struct {
	Started  bool     `json:"started"`
	Ended    string   `json:"ended,omitempty"`     // as sandbox.Ending says it: "exited", "timed out"
	ExitCode *int     `json:"exit_code,omitempty"` // if it exited
	Signal   int      `json:"signal,omitempty"`    // the number of the signal that ended it
	Syscall  string   `json:"syscall,omitempty"`   // the system call that the filter refused
	Usage    *usage   `json:"usage,omitempty"`
	Enforced []by     `json:"enforced,omitempty"`
	Missing  []string `json:"missing,omitempty"`
	Errors   []fault  `json:"errors,omitempty"`
}

// usage is a sandbox.Usage; what is not known is left out.
type usage struct {
	WallSeconds     *float64 `json:"wall_seconds,omitempty"`
	SetupSeconds    *float64 `json:"setup_seconds,omitempty"`
	UserSeconds     *float64 `json:"user_seconds,omitempty"`
	SystemSeconds   *float64 `json:"system_seconds,omitempty"`
	MemoryPeakBytes *int64   `json:"memory_peak_bytes,omitempty"`
	PidsPeak        *int64   `json:"pids_peak,omitempty"`
	Sampled         bool     `json:"sampled,omitempty"` // the peaks: they may be too low
	SwapPeakBytes   *int64   `json:"swap_peak_bytes,omitempty"`
	PidsMaxEvents   *int64   `json:"pids_max_events,omitempty"`
	ReadBytes       *int64   `json:"read_bytes,omitempty"`
	WriteBytes      *int64   `json:"write_bytes,omitempty"`
	ReadOps         *int64   `json:"read_ops,omitempty"`
	WriteOps        *int64   `json:"write_ops,omitempty"`

	ThrottledSeconds      *float64 `json:"throttled_seconds,omitempty"`
	CPUPressureSeconds    *float64 `json:"cpu_pressure_seconds,omitempty"`
	MemoryPressureSeconds *float64 `json:"memory_pressure_seconds,omitempty"`
	IOPressureSeconds     *float64 `json:"io_pressure_seconds,omitempty"`
}

// by is a protection and the mechanism that gave it.
type by struct {
	Feature string `json:"feature"`
	By      string `json:"by"`
}

// fault is one error. Kind says which of the fields are there.
type fault struct {
	Kind    string `json:"kind"` // "spec", "unsupported", "op", "collect" or "other"
	Message string `json:"message"`
	Field   string `json:"field,omitempty"`   // spec: the path in the Spec
	Feature string `json:"feature,omitempty"` // unsupported
	Op      string `json:"op,omitempty"`      // op: the step that failed
	Call    string `json:"call,omitempty"`    // op: its system call
	Path    string `json:"path,omitempty"`    // collect: the path in the sandbox
	Remedy  string `json:"remedy,omitempty"`
}

// newReport says in data how a run went.
func newReport(r *sandbox.Result, err error) *report {
	rep := &report{Started: r != nil}
	for _, e := range faults(err) {
		rep.Errors = append(rep.Errors, newFault(e))
	}
	if r == nil {
		return rep
	}
	rep.Ended, rep.Signal, rep.Syscall = r.Ended.String(), int(r.Signal), r.Syscall
	if r.ExitCode >= 0 {
		rep.ExitCode = &r.ExitCode
	}
	u := &r.Usage
	rep.Usage = &usage{
		WallSeconds: seconds(u.Wall), SetupSeconds: seconds(u.Setup), UserSeconds: seconds(u.User), SystemSeconds: seconds(u.System),
		MemoryPeakBytes: count(u.MemoryPeak), PidsPeak: count(u.PidsPeak), Sampled: u.Sampled, SwapPeakBytes: count(u.SwapPeak),
		PidsMaxEvents: count(u.PidsMaxEvents), ReadBytes: count(u.ReadBytes), WriteBytes: count(u.WriteBytes), ReadOps: count(u.ReadOps), WriteOps: count(u.WriteOps),
		ThrottledSeconds: seconds(u.Throttled), CPUPressureSeconds: seconds(u.CPUPressure), MemoryPressureSeconds: seconds(u.MemoryPressure), IOPressureSeconds: seconds(u.IOPressure),
	}
	for _, e := range r.Enforced {
		rep.Enforced = append(rep.Enforced, by{string(e.Feature), e.By})
	}
	for _, f := range r.Missing {
		rep.Missing = append(rep.Missing, string(f))
	}
	return rep
}

func newFault(err error) fault {
	f := fault{Kind: "other", Message: err.Error()}
	var spec *sandbox.SpecError
	var unsupported *sandbox.UnsupportedError
	var op *sandbox.OpError
	var uncollected *sandbox.CollectError
	var ids *idmap.AutoError
	switch {
	case errors.As(err, &uncollected): // the error in it may be any
		f.Kind, f.Path, f.Remedy = "collect", uncollected.Path, uncollected.Remedy
	case errors.As(err, &spec):
		f.Kind, f.Field = "spec", spec.Field
	case errors.As(err, &unsupported):
		f.Kind, f.Feature, f.Remedy = "unsupported", string(unsupported.Feature), unsupported.Remedy
	case errors.As(err, &ids): // of --subid
		f.Kind, f.Feature, f.Remedy = "unsupported", string(sandbox.IDMap), ids.Remedy
	case errors.As(err, &op):
		f.Kind, f.Op, f.Call, f.Remedy = "op", op.Op, op.Call, op.Remedy
	}
	return f
}

func seconds(d time.Duration) *float64 {
	if d < 0 {
		return nil
	}
	s := d.Seconds()
	return &s
}

func count(n int64) *int64 {
	if n < 0 {
		return nil
	}
	return &n
}

// write writes the object and a line break in one call, so that no other writer comes between.
func (rep *report) write(w io.Writer) error {
	line, err := json.Marshal(rep)
	if err != nil {
		return err
	}
	_, err = w.Write(append(line, '\n'))
	return err
}
