package launch

import (
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"testing"

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
