//go:build linux

package sandbox

import (
	"errors"
	"io"
	"os"
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
	ended   chan struct{}  // closed by finish, if the command has a terminal
	piped   *os.File       // the end of StdoutPipe that a terminal's output is copied to; nil is none
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
	if spec.Terminal != nil {
		return s.withExtra(spec, null, null, null, null), nil // the program puts the terminal on them
	}
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
	for _, pipe := range s.held {
		// The command may be another user than the caller, to whom the pipe belongs, and open it again as
		// /dev/stdout. Nobody gets at it whom the kernel does not let trace a process that has it (proc(5), fd).
		if err := pipe.Chmod(0o666); err != nil {
			return nil, err
		}
	}
	return s.withExtra(spec, null, stdin, stdout, stderr), nil
}

// withExtra appends the extra files to the streams.
func (s *streams) withExtra(spec *Spec, null *os.File, files ...*os.File) []*os.File {
	for _, f := range spec.ExtraFiles {
		if f == nil {
			f = null // the program closes it again: see payload in compile.go
		}
		files = append(files, f)
	}
	return files
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
	if s.ended != nil {
		close(s.ended)
	}
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
	// typed says that it is a terminal: what ends is not the file, but what is typed.
	typed bool
	ended chan struct{} // closed when nobody is left to read what is typed
	done  chan error    // buffered: run never waits
}

func (c *inputCopy) run() {
	keys := &typist{master: c.to}
	to := io.Writer(c.to)
	if c.typed {
		to = keys
	}
	_, err := io.Copy(to, c.from)
	if errors.Is(err, unix.EPIPE) || errors.Is(err, os.ErrClosed) || c.typed && errors.Is(err, unix.EIO) {
		err = nil // the command did not read it all
	}
	if c.typed {
		if r, ok := c.from.(*patientReader); ok {
			r.Close()
		}
		keys.end(c.ended)
		c.done <- err
		return
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
	room     int      // of a terminal: how much may be in it unread; of a pipe it is asked for
	close    *os.File // closed at the end; nil is nothing
	err      error
}

func (c *outputCopy) run() {
	if c.close != nil {
		defer c.close.Close()
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := c.from.Read(buf)
		c.take(buf[:n])
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.drain(buf)
			return
		}
		if err != nil {
			return // the end of file, for which a terminal says EIO: what is read has no other error
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
	left := c.room
	if left == 0 {
		left = pipeSize(conn)
	}
	for n := 1; n > 0 && left > 0; left -= n {
		_ = conn.Read(func(fd uintptr) bool {
			n, _ = unix.Read(int(fd), buf) // EAGAIN: it is empty; EIO: and nobody has the terminal any more
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
