package launch

import (
	"encoding/binary"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/plan"
)

// A record comes from whoever sends it first: the stub sends Cloned, init Started and Failed, and nothing
// orders the two processes.

// sendRecord sends a record of kind with copies of files, as a process of a program does.
func sendRecord(t *testing.T, conn *os.File, kind plan.RecordKind, files ...*os.File) {
	t.Helper()
	b := make([]byte, plan.RecordNotes)
	binary.LittleEndian.PutUint32(b, uint32(kind))
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	if err := unix.Sendmsg(int(conn.Fd()), b, unix.UnixRights(fds...), nil, 0); err != nil {
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
			s, conn := following(t)
			null, err := os.Open(os.DevNull)
			if err != nil {
				t.Fatal(err)
			}
			defer null.Close()
			for _, kind := range order {
				sendRecord(t, conn, kind, null)
			}
			if err := s.follow(); err != nil {
				t.Fatal(err)
			}
			if s.p.init < 0 || s.p.command < 0 {
				t.Errorf("init %d, command %d: one of them cannot be killed", s.p.init, s.p.command)
			}
		})
	}
}
