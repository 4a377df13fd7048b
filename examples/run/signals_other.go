//go:build !unix

package main

import (
	"os"
	"syscall"
)

// signalNumber returns the signal with a name such as SIGTERM; 0 if there is none.
func signalNumber(name string) syscall.Signal {
	return map[string]syscall.Signal{"SIGHUP": syscall.SIGHUP, "SIGINT": syscall.SIGINT, "SIGQUIT": syscall.SIGQUIT, "SIGTERM": syscall.SIGTERM, "SIGKILL": syscall.SIGKILL}[name]
}

// Of these signals other systems know none.
var resized, leaving, stopping []os.Signal
