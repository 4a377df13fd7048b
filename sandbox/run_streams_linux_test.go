package sandbox

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// Streams are those of os/exec, with a limit.

func TestOutputMaxIsExact(t *testing.T) {
	t.Parallel()
	const n = 100_000
	for _, test := range []struct {
		script   string
		out, err int
		want     Ending
	}{
		{"head -c 100000 /dev/zero", n, 0, Exited},
		{"head -c 100001 /dev/zero", n, 0, OutputExceeded},
		{"head -c 100000 /dev/zero >&2; head -c 100000 /dev/zero", n, n, Exited},
		{"head -c 100001 /dev/zero >&2; sleep 1000", 0, n, OutputExceeded},
		{"head -c 5 /dev/zero; yes >&2", 5, n, OutputExceeded},
	} {
		var out, errs bytes.Buffer
		spec := script(test.script)
		spec.Stdout, spec.Stderr, spec.Limits.OutputMax = &out, &errs, n
		r := run(t, spec)
		if r.Ended != test.want || out.Len() != test.out || errs.Len() != test.err {
			t.Errorf("%s: %v with %d and %d bytes, want %v with %d and %d", test.script, r, out.Len(), errs.Len(), test.want, test.out, test.err)
		}
	}
}

func TestOutputMaxHoldsForPipes(t *testing.T) {
	t.Parallel()
	for size, want := range map[string]Ending{"100000": Exited, "100001": OutputExceeded, "99999999": OutputExceeded} {
		spec := script("head -c " + size + " /dev/zero; exit 0")
		spec.Limits.OutputMax = 100_000
		c := Command(t.Context(), spec)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, out)
		if n != 100_000 || err != nil {
			t.Errorf("%s: %d bytes, %v", size, n, err)
		}
		if r, err := c.Wait(); err != nil || r.Ended != want {
			t.Errorf("%s: %v, %v, want %v", size, r, err, want)
		}
	}
}

func TestOneWriterForBothStreams(t *testing.T) {
	t.Parallel()
	var both bytes.Buffer
	spec := script("for i in 1 2 3; do echo out; echo err >&2; done")
	spec.Stdout, spec.Stderr = &both, &both
	run(t, spec)
	if both.String() != strings.Repeat("out\nerr\n", 3) {
		t.Errorf("%q", both.String())
	}
}

type uncomparable struct{ f func([]byte) }

func (u uncomparable) Write(b []byte) (int, error) { u.f(b); return len(b), nil }

func TestWritersThatCannotBeCompared(t *testing.T) {
	t.Parallel()
	w := uncomparable{func([]byte) {}}
	spec := script("echo out; echo err >&2")
	spec.Stdout, spec.Stderr = w, w
	run(t, spec)
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

func TestFailingWriterIsTheErrorOfTheRun(t *testing.T) {
	t.Parallel()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	boom := errors.New("boom")
	spec := script("head -c 1000000 /dev/zero; exit 4")
	spec.Stdout = failingWriter{boom}
	r, err := Run(t.Context(), spec)
	if !errors.Is(err, boom) || r == nil || r.ExitCode != 4 {
		t.Errorf("%v, %v, want exit code 4 and the writer's error", r, err)
	}
}

func TestFailingReaderIsTheErrorOfTheRun(t *testing.T) {
	t.Parallel()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	boom := errors.New("boom")
	spec := script("cat; exit 4")
	var out bytes.Buffer
	spec.Stdin, spec.Stdout = io.MultiReader(strings.NewReader("text"), errReader{boom}), &out
	r, err := Run(t.Context(), spec)
	if !errors.Is(err, boom) || r == nil || r.ExitCode != 4 || out.String() != "text" {
		t.Errorf("%v, %v, %q", r, err, out.String())
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestHugeStdinThatIsNotReadIsNoError(t *testing.T) {
	t.Parallel()
	spec := script("head -c 3")
	var out bytes.Buffer
	spec.Stdin, spec.Stdout = io.LimitReader(zeros{}, 1<<40), &out
	if r := run(t, spec); r.ExitCode != 0 || out.Len() != 3 {
		t.Errorf("%v, %d bytes", r, out.Len())
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestBlockingStdinDoesNotHoldWaitUp(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	defer w.Close() // ends the goroutine that reads
	spec := script("exit 6")
	spec.Stdin = r
	began := time.Now()
	if r := run(t, spec); r.ExitCode != 6 {
		t.Error(r)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestStdinReachesTheCommandWhole(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	spec := script("wc -c")
	spec.Stdin, spec.Stdout = io.LimitReader(zeros{}, 5_000_000), &out
	run(t, spec)
	if strings.TrimSpace(out.String()) != "5000000" {
		t.Errorf("%q", out.String())
	}
}

func TestGrandchildThatHoldsAPipeDoesNotHoldWaitUp(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	spec := script("(trap '' TERM HUP; setsid sleep 1000) & echo done; exit 2")
	spec.Stdout = &out
	began := time.Now()
	if r := run(t, spec); r.Ended != Exited || r.ExitCode != 2 || out.String() != "done\n" {
		t.Errorf("%v, %q", r, out.String())
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestFilesAreHandedToTheCommandItself(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	spec := script("echo to the file")
	spec.Stdout, spec.Limits.OutputMax = w, 1 // not counted: it is an *os.File
	if r := run(t, spec); r.Ended != Exited {
		t.Error(r)
	}
	w.Close()
	if data, err := io.ReadAll(r); string(data) != "to the file\n" || err != nil {
		t.Errorf("%q, %v", data, err)
	}
}

func TestOutputKeepsTheStderrOfAFailure(t *testing.T) {
	t.Parallel()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	out, err := Output(t.Context(), script("echo out; echo err >&2; exit 3"))
	var exit *ExitError
	if string(out) != "out\n" || !errors.As(err, &exit) || string(exit.Stderr) != "err\n" || exit.ExitCode != 3 {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := Output(t.Context(), Spec{Args: []string{"true"}, Stdout: io.Discard}); err == nil {
		t.Error("Stdout was set, and there is no error")
	}
}
