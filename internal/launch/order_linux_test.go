package launch

import (
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/plan"
)

// A record comes from whoever sends it first: the stub sends Cloned, init Started and Failed, and nothing
// orders the two processes.

// sendRecord sends a record of kind about a process, as a process of a program does.
func sendRecord(t *testing.T, conn *os.File, kind plan.RecordKind, pid int) {
	t.Helper()
	b := make([]byte, plan.RecordNotes)
	binary.LittleEndian.PutUint32(b, uint32(kind))
	binary.LittleEndian.PutUint32(b[plan.RecordPID:], uint32(pid))
	if _, err := conn.Write(b); err != nil {
		t.Fatal(err)
	}
}

func following(t *testing.T) (*start, *os.File) {
	t.Helper()
	ours, theirs, err := newReport()
	if err != nil {
		t.Fatal(err)
	}
	s := &start{p: &Process{report: ours, init: -1, command: -1}}
	t.Cleanup(s.p.Close)
	t.Cleanup(func() { theirs.Close() })
	return s, theirs
}

func TestInitIsKnownOnceTheCommandWasStarted(t *testing.T) {
	for name, order := range map[string][]plan.RecordKind{
		"the usual order":     {plan.Cloned, plan.Started},
		"a stub that is late": {plan.Started, plan.Cloned},
	} {
		t.Run(name, func(t *testing.T) {
			child := exec.Command("sleep", "60")
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = child.Process.Kill()
				_ = child.Wait()
			})
			s, conn := following(t)
			for _, kind := range order {
				sendRecord(t, conn, kind, child.Process.Pid)
			}
			if err := s.follow(); err != nil {
				t.Fatal(err)
			}
			if s.p.init < 0 {
				t.Error("PID 1 cannot be killed")
			}
		})
	}
}

// A program that waits for every child may have reaped PID 1 before it is looked at, and its ID may be
// another's by then.
func TestInitThatIsNoChildIsNotTaken(t *testing.T) {
	s, conn := following(t)
	sendRecord(t, conn, plan.Cloned, os.Getppid())
	sendRecord(t, conn, plan.Started, 2)
	if err := s.follow(); err != nil {
		t.Fatal(err)
	}
	if s.p.init >= 0 {
		t.Error("a process that is no child would be killed in the place of PID 1")
	}
	if err := s.p.Kill(); !errors.Is(err, ErrEnded) {
		t.Errorf("Kill: %v, want ErrEnded", err)
	}
}

// A stub that is killed when it has made PID 1, and has not told of it, leaves a child that nobody knows of.
func TestInitOfAKilledStubIsReaped(t *testing.T) {
	s, conn := following(t)
	var err error
	var r *os.File
	if r, s.p.lifeline, err = os.Pipe(); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	sleep := func(group int) *os.Process {
		t.Helper()
		cmd := exec.Command("sleep", "60")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: group}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd.Process
	}
	stub := sleep(0)
	init, other := sleep(stub.Pid), sleep(0)
	for _, p := range []*os.Process{stub, init} { // as cgroup.kill does
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	conn.Close() // as their ends do
	var died *DiedError
	if err := s.see(stub); !errors.As(err, &died) || died.Status.Signal() != unix.SIGKILL {
		t.Errorf("%v", err)
	}
	if pid, err := unix.Wait4(init.Pid, nil, unix.WNOHANG, nil); !errors.Is(err, unix.ECHILD) {
		t.Errorf("PID 1 is still a child of this program: %d, %v", pid, err)
	}
	_ = other.Kill()
	if _, err := other.Wait(); err != nil {
		t.Errorf("another child: %v", err)
	}
}
