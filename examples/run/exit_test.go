package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"github.com/ringfence-go/ringfence/sandbox"
)

func TestExitCode(t *testing.T) {
	op := func(err error) error { return &sandbox.OpError{Op: "execute x", Err: err} }
	tests := []struct {
		result    *sandbox.Result
		err       error
		interrupt syscall.Signal
		want      int
	}{
		{&sandbox.Result{Ended: sandbox.Exited}, nil, 0, 0},
		{&sandbox.Result{Ended: sandbox.Exited, ExitCode: 3}, nil, 0, 3},
		{&sandbox.Result{Ended: sandbox.Exited, ExitCode: 125}, nil, 0, 125},
		{&sandbox.Result{Ended: sandbox.Exited, ExitCode: 3}, nil, syscall.SIGINT, 3}, // it was faster
		{&sandbox.Result{Ended: sandbox.Signaled, ExitCode: -1, Signal: syscall.SIGABRT}, nil, 0, 134},
		{&sandbox.Result{Ended: sandbox.Forbidden, ExitCode: -1, Signal: 31}, nil, 0, 159}, // SIGSYS, which not every system has
		{&sandbox.Result{Ended: sandbox.TimedOut, ExitCode: -1, Signal: syscall.SIGKILL}, nil, 0, 124},
		{&sandbox.Result{Ended: sandbox.OutOfCPUTime, ExitCode: -1}, nil, 0, 124},
		{&sandbox.Result{Ended: sandbox.OutOfMemory, ExitCode: -1}, nil, 0, 124},
		{&sandbox.Result{Ended: sandbox.OutputExceeded, ExitCode: -1}, nil, 0, 124},
		{&sandbox.Result{Ended: sandbox.Canceled, ExitCode: -1}, context.Canceled, syscall.SIGINT, 130},
		{&sandbox.Result{Ended: sandbox.Canceled, ExitCode: -1}, context.Canceled, syscall.SIGTERM, 143},
		{&sandbox.Result{Ended: sandbox.Canceled, ExitCode: 3}, context.Canceled, syscall.SIGTERM, 3},
		{nil, context.Canceled, syscall.SIGTERM, 143},
		{&sandbox.Result{Ended: sandbox.Exited}, errors.New("the disk is full"), 0, 125},
		{&sandbox.Result{Ended: sandbox.Exited}, &sandbox.CollectError{Path: "/x"}, 0, 125},
		{&sandbox.Result{Ended: sandbox.Exited, ExitCode: 3}, &sandbox.CollectError{Path: "/x"}, 0, 3},
		{&sandbox.Result{Ended: sandbox.Exited, ExitCode: 3}, errors.Join(&sandbox.CollectError{Path: "/x"}, context.Canceled), 0, 125},
		{&sandbox.Result{Ended: sandbox.TimedOut, ExitCode: -1}, &sandbox.CollectError{Path: "/x"}, 0, 124},
		{nil, op(sandbox.ErrNotFound), 0, 127},
		{nil, op(fs.ErrNotExist), 0, 125}, // of something else than the command
		{nil, op(sandbox.ErrNotExecutable), 0, 126},
		{nil, op(fmt.Errorf("%w: %w", sandbox.ErrNotExecutable, syscall.ENOEXEC)), 0, 126},
		{nil, op(sandbox.ErrNoInterpreter), 0, 126},
		{nil, &sandbox.SpecError{Field: "Dir"}, 0, 125},
	}
	for _, test := range tests {
		if got := exitCode(test.result, test.err, test.interrupt); got != test.want {
			t.Errorf("%v, %v, %v: %d, want %d", test.result, test.err, test.interrupt, got, test.want)
		}
	}
}

func TestFaults(t *testing.T) {
	a, b := &sandbox.SpecError{Field: "A"}, &sandbox.UnsupportedError{Feature: sandbox.CPULimit, Err: syscall.EPERM}
	if got := faults(nil); got != nil {
		t.Errorf("of nil: %v", got)
	}
	got := faults(errors.Join(a, errors.Join(b, nil)))
	if len(got) != 2 || !errors.Is(got[0], a) || !errors.Is(got[1], b) {
		t.Errorf("got %v", got)
	}
}

func TestReport(t *testing.T) {
	zero := sandbox.Usage{
		MemoryPeak: -1, PidsPeak: -1, User: -1, System: -1, Wall: 1500e6, SwapPeak: -1, PidsMaxEvents: -1, ReadBytes: -1, WriteBytes: -1,
		ReadOps: -1, WriteOps: -1, Throttled: -1, CPUPressure: -1, MemoryPressure: -1, IOPressure: -1,
	}
	for _, test := range []struct {
		result *sandbox.Result
		err    error
		want   string
	}{
		{&sandbox.Result{Ended: sandbox.Exited, ExitCode: 0, Usage: zero}, nil,
			`{"started":true,"ended":"exited","exit_code":0,"usage":{"wall_seconds":1.5,"setup_seconds":0}}`},
		{&sandbox.Result{Ended: sandbox.TimedOut, ExitCode: -1, Signal: 9, Usage: zero, Missing: []sandbox.Feature{sandbox.NewProc},
			Enforced: []sandbox.Enforcement{{Feature: sandbox.IDMap, By: "x"}}}, nil,
			`{"started":true,"ended":"timed out","signal":9,"usage":{"wall_seconds":1.5,"setup_seconds":0},"enforced":[{"feature":"id map","by":"x"}],"missing":["new /proc"]}`},
		{nil, errors.Join(&sandbox.SpecError{Field: "Dir", Reason: "bad"}, &sandbox.UnsupportedError{Feature: sandbox.CPULimit, Needs: "x", Remedy: "y"}),
			`{"started":false,"errors":[{"kind":"spec","message":"sandbox: Spec.Dir: bad","field":"Dir"},{"kind":"unsupported","message":"sandbox: cpu limit is not supported here: it needs x (y)","feature":"cpu limit","remedy":"y"}]}`},
		{nil, &sandbox.OpError{Op: "bind a on b", Call: "open_tree()", Err: syscall.ENOENT},
			`{"started":false,"errors":[{"kind":"op","message":"sandbox: bind a on b: no such file or directory","op":"bind a on b","call":"open_tree()"}]}`},
		{nil, errors.New("other"), `{"started":false,"errors":[{"kind":"other","message":"other"}]}`},
	} {
		var b bytes.Buffer
		if err := newReport(test.result, test.err).write(&b); err != nil {
			t.Fatal(err)
		}
		if got := b.String(); got != test.want+"\n" {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
}
