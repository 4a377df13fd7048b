//go:build linux && (amd64 || arm64)

package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
	"github.com/ringfence-go/ringfence/internal/plan"
)

// The descriptors of a program in these tests.
const (
	inFD       = 0 // a file with the contents input, for reading
	outFD      = 1 // a pipe
	nullFD     = 2 // the null device
	reportFD   = 3
	lifelineFD = 4
	firstFD    = 5 // the first that is free
)

const input = "the quick brown fox"

// emulator is the program that runs images, if this machine cannot by itself.
func emulator() string { return os.Getenv("RINGFENCE_IMAGE_EMULATOR") }

// outcome is what a program did.
type outcome struct {
	exit    int
	out     string
	reports []string
}

func (o outcome) String() string {
	return fmt.Sprintf("exit %d, out %q, reports %q", o.exit, o.out, o.reports)
}

// process is an image that runs.
type process struct {
	cmd      *exec.Cmd
	report   *os.File
	lifeline *os.File // the caller's end
	out      *os.File
}

// start runs an image. Its standard input is in.
func start(t testing.TB, image []byte, in *os.File) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	p := &process{cmd: command(ctx, t, image)}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	p.report = os.NewFile(uintptr(fds[0]), "report")
	theirs := os.NewFile(uintptr(fds[1]), "report")
	lifeline, lifelineW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.lifeline = lifelineW
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = outR
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = in, outW, null
	p.cmd.ExtraFiles = []*os.File{theirs, lifeline}
	err = p.cmd.Start()
	for _, f := range []*os.File{theirs, lifeline, outW, null} {
		f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// command returns the command that runs an image: out of a memfd, or by the emulator out of a file.
func command(ctx context.Context, t testing.TB, image []byte) *exec.Cmd {
	t.Helper()
	if emulator() != "" {
		path := filepath.Join(t.TempDir(), "image")
		if err := os.WriteFile(path, image, 0o700); err != nil {
			t.Fatal(err)
		}
		return exec.CommandContext(ctx, emulator(), path)
	}
	fd, err := unix.MemfdCreate("image", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "image")
	defer f.Close()
	if _, err := f.Write(image); err != nil {
		t.Fatal(err)
	}
	// Out of the way of the descriptors that the child gets.
	const high = 200
	fd, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, high)
	if err != nil {
		t.Fatal(err)
	}
	moved := os.NewFile(uintptr(fd), "image")
	t.Cleanup(func() { moved.Close() })
	return exec.CommandContext(ctx, "/proc/self/fd/"+itoa(fd))
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}

// wait returns what the program did.
func (p *process) wait(t testing.TB) outcome {
	t.Helper()
	out, err := io.ReadAll(p.out)
	if err != nil {
		t.Fatal(err)
	}
	err = p.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	o := outcome{exit: p.cmd.ProcessState.ExitCode(), out: string(out)}
	if o.exit < 0 {
		t.Fatalf("the program ended by %s", p.cmd.ProcessState)
	}
	buf := make([]byte, 1<<16)
	for {
		n, _, err := unix.Recvfrom(int(p.report.Fd()), buf, unix.MSG_DONTWAIT)
		if n <= 0 || err != nil {
			break
		}
		o.reports = append(o.reports, string(buf[:n]))
	}
	p.report.Close()
	p.lifeline.Close()
	p.out.Close()
	return o
}

// run builds and runs a program.
func run(t testing.TB, p *plan.Program) outcome {
	t.Helper()
	image, err := Build(p)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "input")
	if err := os.WriteFile(path, []byte(input), 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	return start(t, image, in).wait(t)
}

// program returns a program of these ops.
func program(ops ...*plan.Op) *plan.Program {
	for _, op := range ops {
		if op.Label == "" {
			op.Label = op.Call.Name
		}
	}
	return &plan.Program{Arch: kernel.Arch(stubArch), Ops: ops, Inherited: firstFD, Report: reportFD, Lifeline: lifelineFD}
}

func op(c kernel.Call) *plan.Op { return &plan.Op{Call: c} }

// say writes to the output.
func say(s string) *plan.Op { return op(kernel.WriteString(outFD, s)).Returns(int64(len(s))) }

func exit(code int) *plan.Op { return op(kernel.Exit(code)) }

// show writes memory to the output.
func show(m *kernel.Memory) *plan.Op {
	return op(kernel.Write(outFD, m, "memory")).Returns(int64(len(m.Bytes)))
}

// number is a call by its name and plain arguments.
func number(name string, args ...int64) kernel.Call {
	c := kernel.Call{Name: name}
	for _, a := range args {
		c.Args = append(c.Args, kernel.Arg{Value: a})
	}
	return c
}

func (o outcome) equal(other outcome) bool {
	return o.exit == other.exit && o.out == other.out && slices.Equal(o.reports, other.reports)
}
