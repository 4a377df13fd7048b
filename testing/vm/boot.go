package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// bootTime is how long a machine may take until the tests begin. Ten seconds are usual in emulation.
const bootTime = 3 * time.Minute

// errDied says that a machine ended, or hung at its start, without a word of how the tests went.
var errDied = errors.New("the machine died before the tests had an exit code")

// Lines that guest/tests.sh prints besides what the tests do.
var (
	upLine   = regexp.MustCompile(`^vm-up (\S+) ([0-9.]+)$`)
	exitLine = regexp.MustCompile(`^(.*)vm-exit ([0-9]+)$`)
)

// transcript passes on what the machine prints and takes out the lines that are meant for the driver.
type transcript struct {
	out  io.Writer
	up   func(release string) // called when the machine is ready
	code int                  // of the tests; -1 until the line with it comes
}

// read reads lines until the end.
func (t *transcript) read(r io.Reader) error {
	t.code = -1
	for in := bufio.NewReader(r); ; {
		line, err := in.ReadString('\n')
		if werr := t.line(line); werr != nil {
			return werr
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (t *transcript) line(line string) error {
	text := strings.TrimRight(line, "\r\n")
	if m := upLine.FindStringSubmatch(text); m != nil {
		t.up(m[1])
		return nil
	}
	// A test may end without ending its last line.
	if m := exitLine.FindStringSubmatch(text); m != nil && strings.HasSuffix(line, "\n") {
		code, err := strconv.Atoi(m[2])
		if err != nil {
			return err
		}
		t.code = code
		if line = m[1]; line != "" {
			line += "\n"
		}
	}
	_, err := io.WriteString(t.out, line)
	return err
}

// boot runs a machine to its end. It returns the exit code of the tests and the kernel's release.
func (m machine) boot(ctx context.Context, out io.Writer) (code int, release string, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(bootTime, func() { cancel(errDied) })
	defer timer.Stop()

	cmd := command(ctx, "qemu-system-x86_64", m.arguments()...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return -1, "", err
	}
	if err := cmd.Start(); err != nil {
		return -1, "", err
	}
	t := transcript{out: out, up: func(r string) { release = r; timer.Stop() }}
	readErr := t.read(stdout)
	if readErr != nil {
		cancel(readErr)
	}
	waitErr := cmd.Wait()
	switch {
	case t.code >= 0:
		return t.code, release, nil
	case context.Cause(ctx) != nil && !errors.Is(context.Cause(ctx), errDied):
		return -1, release, context.Cause(ctx)
	case waitErr != nil && stderr.Len() > 0: // QEMU itself did not like something
		return -1, release, fmt.Errorf("%w: %s", waitErr, bytes.TrimSpace(stderr.Bytes()))
	}
	return -1, release, errDied
}

// bootTwice is boot, and once more if the machine died: emulation has faults that come and go.
func (m machine) bootTwice(ctx context.Context, out io.Writer) (code int, release string, err error) {
	for try := 1; ; try++ {
		code, release, err = m.boot(ctx, out)
		if err == nil || ctx.Err() != nil {
			return code, release, err
		}
		console, _ := os.ReadFile(m.console)
		fmt.Fprintf(os.Stderr, "vm: %v; the end of the kernel's messages:\n%s\n", err, lastLines(string(console), 40))
		if try == 2 || !errors.Is(err, errDied) {
			return code, release, err
		}
		fmt.Fprintln(os.Stderr, "vm: once more")
	}
}

// lastLines returns the last n lines of text.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
