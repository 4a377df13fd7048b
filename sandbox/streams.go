//go:build linux

package sandbox

import (
	"errors"
	"io"
	"os"
	"reflect"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// streams connects the readers and writers of a Spec with the descriptors of a command.
type streams struct {
	toClose []*os.File   // the command's ends, once it has them
	held    []*os.File   // the caller's ends, until the end
	inputs  []*inputCopy // at most one
	outputs []*outputCopy
	copying sync.WaitGroup // of outputs
}

// ours notes a file that the command gets and that this side must not keep.
func (s *streams) ours(f *os.File) { s.toClose = append(s.toClose, f) }

// atEnd notes a file to be closed when the command has ended.
func (s *streams) atEnd(f *os.File) { s.held = append(s.held, f) }

func (s *streams) closeOurs() {
	for _, f := range s.toClose {
		f.Close()
	}
	s.toClose = nil
}

// abandon closes the caller's ends.
func (s *streams) abandon() {
	for _, f := range s.held {
		f.Close()
	}
	s.held = nil
}

// open returns the descriptors of the command: 0, 1, 2 and the extra files, with every hole filled.
func (s *streams) open(spec *Spec, exceeded func()) ([]*os.File, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	s.ours(null)
	stdin, err := s.input(spec.Stdin, null)
	if err != nil {
		return nil, err
	}
	stdout, err := s.output(spec.Stdout, null, spec.Limits.OutputMax, exceeded)
	if err != nil {
		return nil, err
	}
	stderr := stdout
	if !sameWriter(spec.Stdout, spec.Stderr) {
		if stderr, err = s.output(spec.Stderr, null, spec.Limits.OutputMax, exceeded); err != nil {
			return nil, err
		}
	}
	files := []*os.File{stdin, stdout, stderr}
	for _, f := range spec.ExtraFiles {
		if f == nil {
			f = null // the program closes it again: see payload in compile.go
		}
		files = append(files, f)
	}
	return files, nil
}

// sameWriter reports whether both are one writer, without a panic for types that cannot be compared.
func sameWriter(a, b io.Writer) bool {
	if a == nil || b == nil || !reflect.TypeOf(a).Comparable() || !reflect.TypeOf(b).Comparable() {
		return false
	}
	defer func() { _ = recover() }() // an interface in a comparable struct may hold what is not
	return a == b
}

func (s *streams) input(r io.Reader, null *os.File) (*os.File, error) {
	switch r := r.(type) {
	case nil:
		return null, nil
	case *os.File:
		return r, nil
	}
	pr, pw, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.ours(pr)
	s.atEnd(pw)
	s.inputs = append(s.inputs, &inputCopy{from: r, to: pw, done: make(chan error, 1)})
	return pr, nil
}

func (s *streams) output(w io.Writer, null *os.File, most int64, exceeded func()) (*os.File, error) {
	switch w := w.(type) {
	case nil:
		return null, nil
	case *os.File:
		return w, nil
	}
	pr, pw, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.ours(pw)
	s.atEnd(pr)
	s.outputs = append(s.outputs, &outputCopy{from: pr, to: w, left: most, bounded: most > 0, exceeded: exceeded})
	return pw, nil
}

// copy starts to copy.
func (s *streams) copy() {
	for _, in := range s.inputs {
		go in.run() // finish waits for it; see there for one that cannot be waited for
	}
	for _, out := range s.outputs {
		s.copying.Go(out.run)
	}
}

// inputGrace is how long finish waits for a Stdin that still blocks when the command has ended.
const inputGrace = 100 * time.Millisecond

// finish waits for the copies. When it is called every process of the sandbox has ended, so that all
// output is in the pipes.
//
// A reader of the caller's that blocks for ever is left to itself after a grace time: nothing can
// interrupt it, and no command may keep its caller waiting.
func (s *streams) finish() error {
	for _, out := range s.outputs {
		// A process outside may hold the pipe open, if the Spec handed in a way to send it there.
		_ = out.from.SetReadDeadline(time.Unix(1, 0)) // os.Pipe supports deadlines
	}
	s.copying.Wait()
	s.abandon()
	var errs []error
	for _, out := range s.outputs {
		errs = append(errs, out.err)
	}
	for _, in := range s.inputs {
		grace := time.NewTimer(inputGrace)
		select {
		case err := <-in.done:
			errs = append(errs, err)
		case <-grace.C:
		}
		grace.Stop()
	}
	return errors.Join(errs...)
}

// inputCopy feeds the command's standard input.
type inputCopy struct {
	from io.Reader
	to   *os.File
	done chan error // buffered: run never waits
}

func (c *inputCopy) run() {
	_, err := io.Copy(c.to, c.from)
	if errors.Is(err, unix.EPIPE) || errors.Is(err, os.ErrClosed) {
		err = nil // the command did not read it all
	}
	c.to.Close() // once more at the end, where it does nothing
	c.done <- err
}

// outputCopy empties one of the command's output pipes.
type outputCopy struct {
	from     *os.File
	to       io.Writer
	bounded  bool
	left     int64 // bytes until the limit
	exceeded func()
	err      error
}

func (c *outputCopy) run() {
	buf := make([]byte, 32<<10)
	for {
		n, err := c.from.Read(buf)
		c.take(buf[:n])
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.drain(buf)
			return
		}
		if err != nil {
			return // the end of file: a pipe that is read has no other error
		}
	}
}

// drain takes what is in the pipe and does not wait for more.
func (c *outputCopy) drain(buf []byte) {
	_ = c.from.SetReadDeadline(time.Time{}) // past, it would refuse the reads below
	conn, err := c.from.SyscallConn()
	if err != nil {
		return // only for a closed file, and finish closes it later
	}
	// What the sandbox wrote fits into the pipe; whoever outside holds it may go on writing for ever.
	for n, left := 1, pipeSize(conn); n > 0 && left > 0; left -= n {
		_ = conn.Read(func(fd uintptr) bool {
			n, _ = unix.Read(int(fd), buf) // EAGAIN: it is empty
			return true
		})
		c.take(buf[:max(n, 0)])
	}
}

// pipeSize returns how much a pipe can hold.
func pipeSize(conn syscall.RawConn) int {
	size := 0
	_ = conn.Control(func(fd uintptr) {
		size, _ = unix.FcntlInt(fd, unix.F_GETPIPE_SZ, 0) // it is a pipe
	})
	return size
}

// take passes b on, up to the limit. After an error of the writer the rest is read and dropped, so that
// the command is not held up by it.
func (c *outputCopy) take(b []byte) {
	if c.bounded && int64(len(b)) > c.left {
		c.exceeded()
		b = b[:c.left]
	}
	if c.bounded {
		c.left -= int64(len(b))
	}
	if len(b) == 0 || c.err != nil {
		return
	}
	if n, err := c.to.Write(b); err != nil {
		c.err = err
	} else if n < len(b) {
		c.err = io.ErrShortWrite
	}
}

// countedPipe is the caller's end of an output pipe with a limit.
type countedPipe struct {
	file     *os.File
	left     int64
	exceeded func()
}

// Read reads up to the limit; one byte more ends the run and reads as the end of file.
func (p *countedPipe) Read(b []byte) (int, error) {
	n, err := p.file.Read(b)
	if int64(n) > p.left {
		p.exceeded()
		n = int(p.left)
		p.left = 0
		return n, io.EOF
	}
	p.left -= int64(n)
	return n, err
}

func (p *countedPipe) Close() error { return p.file.Close() }
