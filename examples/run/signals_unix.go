//go:build unix

package main

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// signalNumber returns the signal with a name such as SIGTERM; 0 if there is none.
func signalNumber(name string) syscall.Signal { return unix.SignalNum(name) }

// resized are the signals that say that the terminal has another size.
var resized = []os.Signal{syscall.SIGWINCH}

// leaving are the signals that end a program, beside SIGINT and SIGTERM: one that has made its terminal raw has
// to make it what it was before.
var leaving = []os.Signal{syscall.SIGHUP, syscall.SIGQUIT}

// stopping are the signals that stop a program and leave its terminal as it is, raw. They are sent by keys
// that a raw terminal does not know.
var stopping = []os.Signal{syscall.SIGTSTP}
