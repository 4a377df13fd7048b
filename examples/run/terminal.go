package main

import (
	"fmt"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/term"

	"github.com/ringfence-go/ringfence/sandbox"
)

// screen is the terminal that run was started at, while it shows that of the command. What is typed goes to the
// command as it is, Control-C too; so the terminal is raw until the end.
type screen struct {
	fd   int         // -1 is none
	old  *term.State // nil: it was not changed
	once sync.Once
}

// use gives spec a terminal, of the size of this one, and makes this one raw if it is typed at.
func (s *screen) use(spec *sandbox.Spec, typed bool) error {
	for _, f := range []*os.File{os.Stdout, os.Stdin, os.Stderr} {
		if term.IsTerminal(int(f.Fd())) {
			s.fd = int(f.Fd())
			break
		}
	}
	rows, cols := s.size()
	spec.Terminal = &sandbox.Terminal{Rows: rows, Cols: cols}
	// No file: everything is copied to the command's own terminal and from it.
	spec.Stdin, spec.Stdout, spec.Stderr = nil, os.Stdout, nil
	if !typed {
		return nil
	}
	spec.Stdin = os.Stdin
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return nil
	}
	var err error
	if s.old, err = term.MakeRaw(int(os.Stdin.Fd())); err != nil {
		return fmt.Errorf("--interactive: make the terminal raw: %w", err)
	}
	return nil
}

// size returns the size of the terminal; 0 and 0 if there is none, which leaves it to the library.
func (s *screen) size() (rows, cols uint16) {
	if s.fd < 0 {
		return 0, 0
	}
	width, height, err := term.GetSize(s.fd)
	if err != nil {
		return 0, 0
	}
	return uint16(height), uint16(width)
}

// restore makes the terminal what it was.
func (s *screen) restore() {
	s.once.Do(func() {
		if s.old != nil {
			_ = term.Restore(int(os.Stdin.Fd()), s.old) // it may be gone, and there is nobody to tell
		}
	})
}

// follow gives the command's terminal the size of this one, whenever that changes, until the function that it
// returns is called.
func (s *screen) follow(cmd *sandbox.Cmd) (stop func()) {
	if s.fd < 0 || len(resized) == 0 {
		return func() {}
	}
	changes, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(changes, resized...)
	select {
	case changes <- resized[0]: // it may have changed before
	default:
	}
	var follower sync.WaitGroup
	follower.Go(func() {
		for {
			select {
			case <-changes:
				if rows, cols := s.size(); rows > 0 && cols > 0 {
					_ = cmd.Resize(rows, cols) // it may have ended
				}
			case <-done:
				return
			}
		}
	})
	return func() {
		signal.Stop(changes)
		close(done)
		follower.Wait()
	}
}
