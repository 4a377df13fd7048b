//go:build linux

package sandbox

import (
	"fmt"
	"io"
	"os"
)

// StdinPipe returns a pipe to the command's standard input. Wait closes it; a caller closes it earlier
// to end the input.
func (c *Cmd) StdinPipe() (io.WriteCloser, error) {
	if err := c.pipeAllowed("Stdin", c.spec.Stdin != nil); err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.spec.Stdin = r
	if c.spec.Terminal != nil {
		c.streams.atEnd(r) // it is copied
	} else {
		c.streams.ours(r)
	}
	c.streams.atEnd(w)
	return w, nil
}

// StdoutPipe returns a pipe from the command's standard output. Wait closes it, so that everything must
// have been read before Wait is called. What is read counts for Limits.OutputMax.
func (c *Cmd) StdoutPipe() (io.ReadCloser, error) {
	return c.outputPipe("Stdout", &c.spec.Stdout)
}

// StderrPipe is StdoutPipe for the standard error.
func (c *Cmd) StderrPipe() (io.ReadCloser, error) {
	return c.outputPipe("Stderr", &c.spec.Stderr)
}

func (c *Cmd) outputPipe(name string, stream *io.Writer) (io.ReadCloser, error) {
	if err := c.pipeAllowed(name, *stream != nil); err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	*stream = w
	c.streams.atEnd(r)
	if c.spec.Terminal != nil {
		c.streams.atEnd(w) // what is copied to it is counted already
		c.streams.piped = w
		return r, nil
	}
	c.streams.ours(w)
	if c.spec.Limits.OutputMax <= 0 {
		return r, nil
	}
	return &countedPipe{file: r, left: c.spec.Limits.OutputMax, exceeded: func() { c.stop(OutputExceeded) }}, nil
}

func (c *Cmd) pipeAllowed(name string, taken bool) error {
	switch {
	case c.begun:
		return fmt.Errorf("sandbox: %sPipe after Start", name)
	case taken:
		return &SpecError{Field: name, Reason: "set already, and a pipe is asked for"}
	}
	return nil
}
