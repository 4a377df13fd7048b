package main

import (
	"errors"
	"syscall"

	"github.com/ringfence-go/ringfence/sandbox"
)

// The exit codes that are not the command's own: those of timeout(1), docker-run(1) and the shells.
const (
	exitLimit         = 124 // a limit ended it
	exitFailed        = 125 // run itself failed
	exitNotExecutable = 126 // the command is there and cannot be executed
	exitNotFound      = 127 // the command is not there
	exitSignal        = 128 // and the signal's number: a signal ended it
)

// exitCode returns with what run exits. interrupt is the signal that made run end the sandbox; 0 if none.
func exitCode(r *sandbox.Result, err error, interrupt syscall.Signal) int {
	switch {
	case r == nil && errors.Is(err, sandbox.ErrNotFound):
		return exitNotFound
	case r == nil && (errors.Is(err, sandbox.ErrNotExecutable) || errors.Is(err, sandbox.ErrNoInterpreter)):
		return exitNotExecutable
	case interrupt != 0 && r != nil && r.Ended == sandbox.Canceled && r.ExitCode >= 0:
		return r.ExitCode // after --stop-signal
	case interrupt != 0 && (r == nil || r.Ended == sandbox.Canceled):
		return exitSignal + int(interrupt)
	case r == nil || err != nil && !(onlyUncollected(err) && r.Err() != nil):
		return exitFailed // a command that has failed often leaves nothing to collect: its own code says more
	}
	switch r.Ended {
	case sandbox.Exited:
		return r.ExitCode
	case sandbox.Signaled, sandbox.Forbidden:
		return exitSignal + int(r.Signal)
	case sandbox.TimedOut, sandbox.OutOfCPUTime, sandbox.OutOfMemory, sandbox.OutputExceeded:
		return exitLimit
	}
	return exitFailed
}

// faults takes apart what errors.Join has joined.
func faults(err error) []error {
	// Through any, since the question is what err is, not what it wraps.
	switch e := any(err).(type) {
	case nil:
		return nil
	case *sandbox.UnsupportedError: // one fault, although it wraps two errors
	case interface{ Unwrap() []error }:
		var all []error
		for _, one := range e.Unwrap() {
			all = append(all, faults(one)...)
		}
		return all
	}
	return []error{err}
}
