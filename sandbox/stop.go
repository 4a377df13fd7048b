//go:build linux

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// How a command is asked to end before it is killed, and signals to all.

// cancel ends the command for the caller's context: at once, or when it has had its time to end by itself. No
// limit is longer for that.
func (c *Cmd) cancel(timeout <-chan time.Time) {
	if c.ask() {
		patience := c.spec.StopTimeout
		if patience == 0 {
			patience = DefaultStopTimeout
		}
		timer := time.NewTimer(patience)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-timeout:
		case <-c.killed: // for another reason
			return
		case <-c.ended:
			return
		}
	}
	c.stop(Canceled)
}

// ask sends the command its StopSignal, and reports whether it is to be waited for.
func (c *Cmd) ask() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.spec.StopSignal == 0 || c.keeps || c.cause != 0 || c.running == nil {
		return false
	}
	if err := c.running.Signal(unix.Signal(c.spec.StopSignal)); err != nil {
		return false // it has ended; or the host hides it, and it can be killed alone
	}
	c.cause, c.asked = Canceled, true
	return true
}

// claim takes a reason to end everything, and reports whether it is to be done: for the first reason, and for the
// first after the command was only asked to end. c.mu is held.
func (c *Cmd) claim(cause Ending) bool {
	if c.cause == 0 {
		c.cause = cause
		return true
	}
	return c.asked && !c.killing
}

// wasAsked reports whether the command got its StopSignal, and nothing that counts more has ended it.
func (c *Cmd) wasAsked() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked && c.cause == Canceled
}

// SignalAll sends a signal to every process of the sandbox but PID 1, once to each, also to those that are
// started meanwhile. os.ErrProcessDone says that the sandbox has ended. Of a command in a Sandbox they are the
// command and what descends from it.
func (c *Cmd) SignalAll(sig os.Signal) error {
	number, ok := sig.(syscall.Signal)
	if !ok {
		return fmt.Errorf("sandbox: signal %v: %w", sig, errors.ErrUnsupported)
	}
	if c.process == nil {
		return errors.New("sandbox: SignalAll before a successful Start")
	}
	return c.process.SignalAll(unix.Signal(number))
}

// starting returns the context of the start: that of the command or, where that lets the command end by itself, one
// that gives the start as long. It may have been executed before Start knows.
func (c *Cmd) starting() (context.Context, context.CancelFunc) {
	if c.spec.StopSignal == 0 {
		return context.WithCancel(c.ctx)
	}
	patience := c.spec.StopTimeout
	if patience == 0 {
		patience = DefaultStopTimeout
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.ctx))
	var timer *time.Timer
	var mu sync.Mutex
	stop := context.AfterFunc(c.ctx, func() {
		mu.Lock()
		defer mu.Unlock()
		timer = time.AfterFunc(patience, cancel)
	})
	return ctx, func() {
		stop()
		mu.Lock()
		defer mu.Unlock()
		if timer != nil {
			timer.Stop()
		}
		cancel()
	}
}
