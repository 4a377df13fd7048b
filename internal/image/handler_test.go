//go:build linux && (amd64 || arm64)

package image

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
	"github.com/ringfence-go/ringfence/internal/plan"
)

// watcher watches its lifeline as PID 1 does, says that it is ready, and reads its input to the end. The
// owner of the lifeline's signals is the process's own ID, which is known only when it runs.
func watcher() *plan.Program {
	// struct f_owner_ex (fcntl(2)): F_OWNER_PID is 1; the ID is kept behind it.
	owner := &kernel.Memory{Bytes: []byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}
	getpid := op(number("getpid"))
	getpid.Keep, getpid.KeepAt = owner, 4
	setOwner := op(number("fcntl", lifelineFD, unix.F_SETOWN_EX))
	setOwner.Call.Args = append(setOwner.Call.Args, kernel.Arg{Mem: owner})
	read := op(kernel.Read(inFD, kernel.Zeroed(1)))
	read.Kind = plan.Until
	return program(
		op(kernel.HandleSignal(unix.SIGIO, kernel.Arch(stubArch))), getpid, setOwner, op(kernel.SetAsync(lifelineFD)),
		op(kernel.Read(lifelineFD, kernel.Zeroed(1))).Fails(unix.EAGAIN),
		say("ready"), read, say(" done"), exit(0),
	)
}

// watch starts a watcher and waits until it is ready.
func watch(t *testing.T) (p *process, in *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p = start(t, build(t, watcher()), r)
	r.Close()
	buf := make([]byte, len("ready"))
	if n, err := p.out.Read(buf); err != nil || string(buf[:n]) != "ready" {
		t.Fatalf("read %q, %v", buf[:n], err)
	}
	return p, w
}

// The end of the caller is the end of the program, wherever it is: here, in a read that blocks.
func TestEndOfTheLifelineEndsTheProgram(t *testing.T) {
	p, in := watch(t)
	defer in.Close()
	p.lifeline.Close()
	if got := p.wait(t); got.exit != 1 || got.out != "" || len(got.reports) != 0 {
		t.Errorf("%s, want exit code 1", got)
	}
}

// The control: without the end of the lifeline, the program goes on.
func TestProgramEndsByItself(t *testing.T) {
	p, in := watch(t)
	in.Close()
	if got := p.wait(t); got.exit != 0 || got.out != " done" {
		t.Errorf("%s", got)
	}
}

// Anyone may send SIGIO. Whatever it interrupts goes on, with the registers as they were.
func TestSpuriousSignalsChangeNothing(t *testing.T) {
	p, in := watch(t)
	const flood = 20000
	for i := range flood {
		if err := p.cmd.Process.Signal(unix.SIGIO); err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 {
			if _, err := in.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
	}
	in.Close()
	if got := p.wait(t); got.exit != 0 || got.out != " done" {
		t.Errorf("%s", got)
	}
}

// A byte in the lifeline, which no caller writes, is a signal too.
func TestDataInTheLifelineChangesNothing(t *testing.T) {
	p, in := watch(t)
	for range 1000 {
		if _, err := p.lifeline.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	in.Close()
	if got := p.wait(t); got.exit != 0 || got.out != " done" {
		t.Errorf("%s", got)
	}
}

// Signals and the end of the lifeline at the same time.
func TestEndOfTheLifelineInAFlood(t *testing.T) {
	p, in := watch(t)
	defer in.Close()
	const flood = 2000
	for range flood {
		_ = p.cmd.Process.Signal(unix.SIGIO)
	}
	p.lifeline.Close()
	for range flood {
		_ = p.cmd.Process.Signal(unix.SIGIO) // it may be gone
	}
	if got := p.wait(t); got.exit != 1 || got.out != "" {
		t.Errorf("%s, want exit code 1", got)
	}
}
