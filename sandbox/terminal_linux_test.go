package sandbox

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// dialog is what is typed at a command's terminal, and what is seen there.
type dialog struct {
	t    *testing.T
	cmd  *Cmd
	in   io.WriteCloser
	out  io.Reader
	seen bytes.Buffer // and not expected yet
}

// converse starts a command on a terminal.
func converse(t *testing.T, spec Spec) *dialog {
	t.Helper()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	if spec.Terminal == nil {
		spec.Terminal = &Terminal{}
	}
	if spec.Limits.WallTime == 0 {
		spec.Limits.WallTime = sandboxtest.Slow(10 * time.Second) // what is expected and does not come is shown
	}
	d := &dialog{t: t, cmd: Command(t.Context(), spec)}
	var inErr, outErr error
	d.in, inErr = d.cmd.StdinPipe()
	d.out, outErr = d.cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr, d.cmd.Start()); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *dialog) enter(text string) {
	d.t.Helper()
	if _, err := io.WriteString(d.in, text); err != nil {
		d.t.Error(err)
	}
}

// expect reads up to a text.
func (d *dialog) expect(text string) {
	d.t.Helper()
	buf := make([]byte, 4096)
	for {
		if _, after, ok := bytes.Cut(d.seen.Bytes(), []byte(text)); ok {
			rest := bytes.Clone(after)
			d.seen.Reset()
			d.seen.Write(rest)
			return
		}
		n, err := d.out.Read(buf)
		d.seen.Write(buf[:n])
		if err != nil {
			d.t.Fatalf("%v, and %q is not in %q", err, text, d.seen.Bytes())
		}
	}
}

// end reads up to the end, and returns what was left and how it ended.
func (d *dialog) end() (string, *Result) {
	d.t.Helper()
	if _, err := io.Copy(&d.seen, d.out); err != nil {
		d.t.Error(err)
	}
	r, err := d.cmd.Wait()
	if err != nil {
		d.t.Error(r, err)
	}
	return d.seen.String(), r
}

func TestCommandOnATerminal(t *testing.T) {
	t.Parallel()
	d := converse(t, script(`stty size; read -r x; echo "<$x>"; test -t 2 && echo err >&2; exit 3`))
	d.expect("24 80\r\n")
	d.enter("hello\n")
	d.expect("hello\r\n<hello>\r\nerr\r\n")
	if rest, r := d.end(); rest != "" || r.Ended != Exited || r.ExitCode != 3 {
		t.Errorf("%q, %v", rest, r)
	}
}

func TestTerminalHasItsSizeFromTheStart(t *testing.T) {
	t.Parallel()
	spec := script("stty size")
	spec.Terminal = &Terminal{Rows: 5, Cols: 10}
	out, err := Output(t.Context(), spec)
	if string(out) != "5 10\r\n" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
}

func TestResize(t *testing.T) {
	t.Parallel()
	d := converse(t, script(`trap 'stty size' WINCH; echo ready; while :; do read -r x && exit 0; done`))
	d.expect("ready\r\n")
	if err := d.cmd.Resize(40, 100); err != nil {
		t.Error(err)
	}
	d.expect("40 100\r\n")
	if err := d.cmd.Resize(0, 0); err != nil {
		t.Error(err)
	}
	d.expect("24 80\r\n")
	d.enter("end\n")
	d.end()
	if err := d.cmd.Resize(1, 1); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("after the end: %v", err)
	}
	if err := Command(t.Context(), Spec{}).Resize(1, 1); err == nil {
		t.Error("resized without a terminal")
	}
	if err := Command(t.Context(), Spec{Terminal: &Terminal{}}).Resize(1, 1); err == nil {
		t.Error("resized before the start")
	}
}

func TestControlCInterruptsTheForeground(t *testing.T) {
	t.Parallel()
	d := converse(t, script("echo ready; exec cat"))
	d.expect("ready\r\n")
	d.enter("\x03")
	rest, r := d.end()
	if r.Ended != Signaled || r.Signal != syscall.SIGINT {
		t.Errorf("%v, %q", r, rest)
	}
	d = converse(t, script("trap '' INT; echo ready; exec cat"))
	d.expect("ready\r\n")
	d.enter("\x03text\n")
	d.expect("text\r\ntext\r\n")
	d.enter("\x04")
	if rest, r := d.end(); r.Err() != nil {
		t.Errorf("%v, %q", r, rest)
	}
}

func TestShellOnATerminalHasJobControl(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("/usr/bin/bash"); err != nil {
		sandboxtest.Skip(t, "bash", err.Error())
	}
	d := converse(t, Spec{Args: []string{"bash", "--norc", "--noprofile", "-i"}, Env: []string{"PS1=<prompt>", "PATH=/usr/bin:/bin", "TERM=dumb"}})
	d.expect("<prompt>")
	if greeting := d.seen.String(); greeting != "" {
		t.Errorf("before the first prompt: %q", greeting)
	}
	d.enter("echo re''ady; cat\n") // the word says that the shell has left the terminal to its jobs
	d.expect("ready\r\n")
	d.enter("hello\n")
	d.expect("hello\r\nhello\r\n")
	d.enter("\x1a")
	d.expect("Stopped")
	d.expect("<prompt>")
	d.enter("fg\n")
	d.expect("\r\ncat\r\n")
	d.enter("again\n")
	d.expect("again\r\nagain\r\n")
	d.enter("\x03")
	d.expect("<prompt>")
	d.enter("echo $?\n")
	d.expect("\r\n130\r\n<prompt>")
	d.enter("exit 7\n")
	if rest, r := d.end(); r.ExitCode != 7 {
		t.Errorf("%v, %q", r, rest)
	}
}

// A warning of a shell that cannot have job control, which the test above would see.
func TestShellWithoutATerminalHasNoJobControl(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("/usr/bin/bash"); err != nil {
		sandboxtest.Skip(t, "bash", err.Error())
	}
	var errs bytes.Buffer
	run(t, Spec{Args: []string{"bash", "--norc", "-i"}, Stderr: &errs})
	if !strings.Contains(errs.String(), "no job control") {
		t.Errorf("%q", errs.Bytes())
	}
}

func TestEndOfStdinIsTyped(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"": "", "a\nb\n": "a\r\nb\r\na\r\nb\r\n", "line": "lineline"} {
		var out bytes.Buffer
		spec := Spec{Args: []string{"cat"}, Terminal: &Terminal{}, Stdout: &out, Stdin: strings.NewReader(text)}
		spec.Limits.WallTime = sandboxtest.Slow(10 * time.Second)
		if text == "" {
			spec.Stdin = nil
		}
		r := run(t, spec)
		got := out.String()
		if text == "a\nb\n" { // the echo of a line may come before or behind what cat has written of another
			got, want = strings.Replace(got, "a\r\na\r\nb", "a\r\nb\r\na", 1), "a\r\nb\r\na\r\nb\r\n"
		}
		if r.Err() != nil || got != want {
			t.Errorf("%q: %v, %q, want %q", text, r, got, want)
		}
	}
}

// A terminal has no end, so it is typed for everybody who reads: also for who begins to read keys, as shells do.
func TestEndOfStdinIsTypedForEveryReader(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"sh", "-c", "cat; cat; read -r x; cat"}, {"bash", "--norc", "-i"},
		{"sh", "-c", "stty -icanon -echo; dd bs=1 count=1 2>/dev/null; stty icanon; cat; stty -icanon; dd bs=1 count=1"}} {
		if _, err := exec.LookPath("/usr/bin/" + args[0]); err != nil {
			sandboxtest.Skip(t, args[0], err.Error())
		}
		spec := Spec{Args: args, Terminal: &Terminal{}}
		spec.Limits.WallTime = sandboxtest.Slow(15 * time.Second)
		if r := run(t, spec); r.Err() != nil {
			t.Errorf("%q: %v", args, r)
		}
	}
}

// What is typed at the caller's terminal after the end is not taken by what has read it for the command.
func TestNothingIsReadAfterTheEnd(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if _, err := io.WriteString(w, "first\n"); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	spec := script("stty -echo; read -r x; echo $x")
	spec.Terminal, spec.Stdin, spec.Stdout = &Terminal{}, r, &out
	if result := run(t, spec); result.Err() != nil || !strings.Contains(out.String(), "first\r\n") {
		t.Errorf("%v, %q", result, out.Bytes())
	}
	if _, err := io.WriteString(w, "second"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 10)
	if n, err := r.Read(buf); err != nil || string(buf[:n]) != "second" {
		t.Errorf("%q, %v", buf[:n], err)
	}
}

// What the command has written is there at the end, however fast it ends, and whoever else it left behind.
func TestAllOutputOfATerminalArrives(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"head -c 100000 /dev/zero | tr '\\0' x; echo end", "(sleep 1000) & head -c 100000 /dev/zero | tr '\\0' x; echo end",
		"head -c 100000 /dev/zero | tr '\\0' x; echo end; kill -9 $$"} {
		for range 5 {
			var out bytes.Buffer
			spec := script("stty -opost; " + text)
			spec.Terminal, spec.Stdout = &Terminal{}, &out
			if r := run(t, spec); out.Len() != 100004 || !strings.HasSuffix(out.String(), "xend\n") {
				t.Errorf("%s: %v with %d bytes, want 100004", text, r, out.Len())
			}
		}
	}
}

func TestOutputMaxHoldsForATerminal(t *testing.T) {
	t.Parallel()
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var out bytes.Buffer
	for _, w := range []io.Writer{file, &out, nil} {
		spec := script("yes")
		spec.Terminal, spec.Stdout, spec.Limits.OutputMax = &Terminal{}, w, 1000
		if r := run(t, spec); r.Ended != OutputExceeded {
			t.Errorf("%T: %v", w, r)
		}
	}
	info, err := file.Stat()
	if err != nil || info.Size() != 1000 || out.Len() != 1000 {
		t.Errorf("%v, %v bytes in the file and %d in memory, want 1000", err, info.Size(), out.Len())
	}
}

func TestTerminalHasOneOutput(t *testing.T) {
	t.Parallel()
	var out, other bytes.Buffer
	spec := script("echo out; echo err >&2")
	spec.Terminal, spec.Stdout, spec.Stderr = &Terminal{}, &out, &other
	_, err := Run(t.Context(), spec)
	var fault *SpecError
	if !errors.As(err, &fault) || fault.Field != "Stderr" {
		t.Errorf("%v, want a fault of Stderr", err)
	}
	spec.Stderr = &out
	if r := run(t, spec); r.Err() != nil || out.String() != "out\r\nerr\r\n" {
		t.Errorf("%v, %q", r, out.Bytes())
	}
}

// Whoever is stopped or blocked at a terminal is ended as everybody else.
func TestCommandOnATerminalIsEnded(t *testing.T) {
	t.Parallel()
	spec := script("trap '' HUP INT TERM; echo ready; sleep 1000 & sleep 1000")
	spec.Limits.WallTime = sandboxtest.Slow(300 * time.Millisecond)
	d := converse(t, spec)
	d.expect("ready\r\n")
	if _, r := d.end(); r.Ended != TimedOut {
		t.Error(r)
	}
}

func TestResultNamesTheTerminal(t *testing.T) {
	t.Parallel()
	spec := script("exit 0")
	spec.Terminal = &Terminal{}
	for _, e := range run(t, spec).Enforced {
		if e.Feature == TerminalPTY {
			return
		}
	}
	t.Error("it does not")
}
