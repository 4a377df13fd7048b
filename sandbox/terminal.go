//go:build linux

package sandbox

import (
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The caller's side of a terminal: its master, which came with the word of the start.

// resolveTerminal settles the size of the terminal.
func (r *resolved) resolveTerminal(spec *Spec, _ *Host) error {
	if t := spec.Terminal; t != nil {
		rows, cols := terminalSize(t.Rows, t.Cols)
		r.terminal = &Terminal{Rows: rows, Cols: cols}
	}
	return nil
}

// terminalSize gives a size that is not set that of a VT100.
func terminalSize(rows, cols uint16) (uint16, uint16) {
	if rows == 0 {
		rows = 24
	}
	if cols == 0 {
		cols = 80
	}
	return rows, cols
}

// master returns the caller's end of the command's terminal, among what was sent with the start; nil if it
// has none. See sent in compile_exec.go for the order.
func (c *Cmd) master() *os.File {
	r := c.plan.resolved
	if r.terminal == nil {
		return nil
	}
	return c.process.Extra()[r.extras()-1]
}

// Resize says how many characters the command's terminal shows; zero is as in Terminal. What is in the
// foreground gets SIGWINCH if that is a change. os.ErrProcessDone says that the command has ended.
func (c *Cmd) Resize(rows, cols uint16) error {
	switch {
	case c.spec.Terminal == nil:
		return errors.New("sandbox: Resize of a command without a Terminal")
	case c.process == nil:
		return errors.New("sandbox: Resize before a successful Start")
	}
	rows, cols = terminalSize(rows, cols)
	conn, err := c.master().SyscallConn()
	if err != nil {
		return os.ErrProcessDone // it is closed
	}
	closed := conn.Control(func(fd uintptr) {
		err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	})
	if closed != nil {
		return os.ErrProcessDone
	}
	return os.NewSyscallError("resize the terminal", err)
}

// attach connects the streams of a Spec with the command's terminal.
func (s *streams) attach(master *os.File, spec *Spec, exceeded func()) {
	s.atEnd(master)
	s.ended = make(chan struct{})
	most := spec.Limits.OutputMax
	out := &outputCopy{from: master, to: io.Discard, left: most, bounded: most > 0, exceeded: exceeded, room: terminalRoom}
	if spec.Stdout != nil {
		out.to = spec.Stdout
	}
	if s.piped != nil {
		out.close = s.piped
	}
	s.outputs = append(s.outputs, out)
	in := &inputCopy{from: eofReader{}, to: master, typed: true, ended: s.ended, done: make(chan error, 1)}
	switch r := spec.Stdin.(type) {
	case nil:
	case *os.File:
		in.from = s.patient(r)
	default:
		in.from = r
	}
	s.inputs = append(s.inputs, in)
}

// patient returns a reader of f that leaves off at the end: what is typed at the caller's own terminal after that
// is for somebody else.
func (s *streams) patient(f *os.File) io.Reader {
	r, w, err := os.Pipe()
	if err != nil {
		return f // which is read once more than it should be
	}
	s.atEnd(w)
	return &patientReader{file: f, end: r, fd: int32(f.Fd()), endFD: int32(r.Fd())}
}

// patientReader reads a file when there is something to be read, until the other end of a pipe is closed.
type patientReader struct {
	file, end *os.File
	// Their numbers, asked for before anybody could close the file. If it is closed meanwhile, and the number
	// another's, Read says so.
	fd, endFD int32
}

func (r *patientReader) Read(b []byte) (int, error) {
	for {
		fds := []unix.PollFd{{Fd: r.fd, Events: unix.POLLIN}, {Fd: r.endFD, Events: unix.POLLIN}}
		_, err := unix.Poll(fds, -1)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, os.NewSyscallError("poll", err)
		case fds[1].Revents != 0:
			return 0, os.ErrClosed
		default:
			return r.file.Read(b)
		}
	}
}

// Close is called when nothing is read any more.
func (r *patientReader) Close() error { return r.end.Close() }

// terminalRoom is more than the kernel keeps of what was written to a terminal and not read yet
// (TTYB_DEFAULT_MEM_LIMIT of drivers/tty/tty_buffer.c, and what its reader has).
const terminalRoom = 1 << 20

// eofReader is the null device.
type eofReader struct{}

func (eofReader) Read([]byte) (int, error) { return 0, io.EOF }

// typist types at a terminal.
type typist struct {
	master *os.File
	within bool // a line that has not ended
}

func (t *typist) Write(b []byte) (int, error) {
	n, err := t.master.Write(b)
	if n > 0 {
		t.within = b[n-1] != '\n'
	}
	return n, err
}

// The times between two looks at whether the end is to be typed again.
const (
	firstRetype = 20 * time.Millisecond
	lastRetype  = time.Second
)

// end types the character that stands for the end of file, as script(1) does. It sends what was typed of a line
// to its reader, to whom that is the end only if it was nothing: within a line it takes two.
//
// A terminal has no end: what is typed is read once, and is lost when a program changes the mode before it reads.
// So it is typed again until done is closed: for whoever reads lines each time, for one who reads keys, to whom it
// is one of them, when he begins to.
func (t *typist) end(done <-chan struct{}) {
	word, lines := t.eof()
	if t.within {
		word = append(word, word...)
	}
	again := firstRetype
	timer := time.NewTimer(again)
	defer timer.Stop()
	for {
		if _, err := t.master.Write(word); err != nil {
			return // nobody is there to read it
		}
		for word = nil; len(word) == 0; {
			select {
			case <-done:
				return
			case <-timer.C:
			}
			again = min(2*again, lastRetype)
			timer.Reset(again)
			was := lines
			if word, lines = t.eof(); !lines && !was {
				word = nil
			}
		}
	}
}

// eof returns what ends the input, and whether it is read by lines. It is empty if the terminal has no such
// character (_POSIX_VDISABLE), or is gone.
func (t *typist) eof() (word []byte, lines bool) {
	conn, err := t.master.SyscallConn()
	if err != nil {
		return nil, false
	}
	_ = conn.Control(func(fd uintptr) { // an error is that it is closed
		termios, err := unix.IoctlGetTermios(int(fd), unix.TCGETS)
		if err != nil {
			return
		}
		lines = termios.Lflag&unix.ICANON != 0
		if c := termios.Cc[unix.VEOF]; c != 0 {
			word = []byte{c}
		}
	})
	return word, lines
}
