package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/ringfence-go/ringfence/sandbox"
)

// ender ends the command for a signal: the first ends its context, so that it gets its --stop-signal, or is
// killed; the second kills it.
type ender struct {
	signals chan os.Signal
	cmd     atomic.Pointer[sandbox.Cmd] // once it was started
	ended   chan struct{}
	first   chan syscall.Signal
}

// awaitSignals returns a context that ends with SIGINT or SIGTERM, and if the terminal is raw with what else
// would end this process and leave it so.
func awaitSignals(raw bool) (context.Context, *ender) {
	ctx, cancel := context.WithCancel(context.Background())
	e := &ender{signals: make(chan os.Signal, 2), ended: make(chan struct{}), first: make(chan syscall.Signal, 1)}
	ending := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if raw {
		ending = append(ending, leaving...)
		if len(stopping) > 0 {
			signal.Ignore(stopping...)
		}
	}
	for _, s := range ending {
		if !signal.Ignored(s) { // as by nohup, or by a shell for its background jobs
			signal.Notify(e.signals, s)
		}
	}
	go func() {
		defer cancel()
		defer close(e.first)
		for asked := false; ; asked = true {
			select {
			case s := <-e.signals:
				number, ok := s.(syscall.Signal)
				if cmd := e.cmd.Load(); asked && cmd != nil {
					_ = cmd.Kill() // it was started
				}
				if ok && !asked {
					e.first <- number
				}
				cancel()
			case <-e.ended:
				return
			}
		}
	}()
	return ctx, e
}

// stop lets signals do what they did before, and returns the first one; 0 if none came.
func (e *ender) stop() syscall.Signal {
	signal.Stop(e.signals)
	close(e.ended)
	return <-e.first
}

// setStopSignal takes the name of a signal, with or without SIG, or its number.
func setStopSignal(o *options, a []string) error {
	name := strings.ToUpper(a[0])
	if n, err := strconv.Atoi(name); err == nil && n > 0 {
		o.stopSignal = syscall.Signal(n) // the library knows how many there are
		return nil
	}
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if o.stopSignal = signalNumber(name); o.stopSignal == 0 {
		return fmt.Errorf("%q is no signal (signal(7))", a[0])
	}
	return nil
}
