//go:build linux

package plan

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// RecordKind says what a record reports.
type RecordKind uint32

// The records that a program sends to its caller, each as one message of the report socket.
const (
	Failed  RecordKind = iota + 1 // an op did not return what it must; the process ended
	Cloned                        // init exists
	Started                       // the command was executed, or failed before
	Ended                         // the command ended: wait status, usage, and the call for which it was
	Waited                        // the same of a command that joined: siginfo_t, and usage
	Ready                         // all is set up, and PID 2 waits to be told what to execute
)

// The layout of the records: the kind in the first four bytes, then what these offsets say.
const (
	RecordIndex  = 4                                      // Failed: the op, 4 bytes
	RecordResult = 8                                      // Failed: its result, 8 bytes
	RecordPID    = 4                                      // Cloned, Started: the process ID as its parent sees it, 4 bytes
	RecordOwner  = 8                                      // Started, without namespaces: struct f_owner_ex of the command's group
	RecordNotes  = 16                                     // Started: kept results, 8 bytes each
	RecordStatus = 4                                      // Ended: wait status, 4 bytes
	RecordUsage  = 8                                      // Ended: struct rusage
	RecordCall   = RecordUsage + kernel.SizeofRusage      // Ended: struct seccomp_notif, that the witness received
	RecordSeen   = RecordCall + kernel.SizeofNotification // Ended: result of its look at the listener, 8 bytes

	RecordInfo  = 8                // Waited: siginfo_t, 128 bytes
	RecordSpent = RecordInfo + 128 // Waited: struct rusage

	sizeofWaited = RecordSpent + kernel.SizeofRusage

	SizeofFailed = 16
	sizeofEnded  = RecordSeen + 8
)

// notSeen stands at RecordSeen until the witness has looked: no call returns it.
const notSeen = ^uint64(0)

// MaxRecord is the size of the largest record.
const MaxRecord = RecordNotes + 8*MaxNotes

// MaxNotes is how many results a program can keep.
const MaxNotes = 256

// NewRecord returns the memory of a record that is filled in as the program runs.
func NewRecord(kind RecordKind, notes int) *kernel.Memory {
	size := RecordNotes + 8*notes
	switch kind {
	case Ended:
		size = sizeofEnded
	case Waited:
		size = sizeofWaited
	}
	m := kernel.Zeroed(size)
	if kind == Ended {
		binary.LittleEndian.PutUint64(m.Bytes[RecordSeen:], notSeen)
	}
	binary.LittleEndian.PutUint32(m.Bytes, uint32(kind))
	return m
}

// Record is what a program reported.
type Record struct {
	Kind   RecordKind
	Index  int             // Failed
	Result int64           // Failed
	PID    int             // Cloned, Started
	Group  int             // Started, without namespaces: the command's ID, and its group's
	Notes  []int64         // Started
	Status unix.WaitStatus // Ended
	Usage  unix.Rusage     // Ended: of the command and those it waited for
	Call   *Refusal        // Ended: for which the filter ended the sandbox; nil if it did not
}

// Refusal is a call for which the filter ends the sandbox. The zero Refusal is one of which nothing is
// known: it was given up before it could be received.
type Refusal struct {
	Arch   uint32 // AUDIT_ARCH_*
	Number int32
	Args   [6]uint64
}

// ParseRecord decodes one message.
func ParseRecord(b []byte) (Record, error) {
	if len(b) < SizeofFailed {
		return Record{}, fmt.Errorf("record of %d bytes", len(b))
	}
	r := Record{Kind: RecordKind(binary.LittleEndian.Uint32(b))}
	switch r.Kind {
	case Failed:
		r.Index = int(binary.LittleEndian.Uint32(b[RecordIndex:]))
		r.Result = int64(binary.LittleEndian.Uint64(b[RecordResult:]))
	case Cloned, Started:
		r.PID = int(int32(binary.LittleEndian.Uint32(b[RecordPID:])))
		if r.Kind == Started {
			r.Group = int(int32(binary.LittleEndian.Uint32(b[RecordOwner+kernel.OwnerID:])))
		}
		for at := RecordNotes; at+8 <= len(b); at += 8 {
			r.Notes = append(r.Notes, int64(binary.LittleEndian.Uint64(b[at:])))
		}
	case Ready:
	case Waited:
		if len(b) != sizeofWaited {
			return Record{}, fmt.Errorf("record of an end with %d bytes, want %d", len(b), sizeofWaited)
		}
		r.Kind = Ended
		r.Status = parseInfo(b[RecordInfo:])
		r.Usage = parseRusage(b[RecordSpent:])
	case Ended:
		if len(b) != sizeofEnded {
			return Record{}, fmt.Errorf("record of an end with %d bytes, want %d", len(b), sizeofEnded)
		}
		r.Status = unix.WaitStatus(binary.LittleEndian.Uint32(b[RecordStatus:]))
		r.Usage = parseRusage(b[RecordUsage:])
		r.Call = parseRefusal(b)
	default:
		return Record{}, fmt.Errorf("record of unknown kind %d", r.Kind)
	}
	return r, nil
}

// parseRefusal reads struct seccomp_notif (id, pid, flags, then struct seccomp_data), and what the witness
// saw after it was told of a call that was gone: 0 is a filter with processes left, so that one of them
// made it.
func parseRefusal(b []byte) *Refusal {
	notif := b[RecordCall:]
	r := Refusal{
		Number: int32(binary.LittleEndian.Uint32(notif[16:])),
		Arch:   binary.LittleEndian.Uint32(notif[20:]),
	}
	for i := range r.Args {
		r.Args[i] = binary.LittleEndian.Uint64(notif[32+8*i:])
	}
	if received := r.Arch != 0; !received && binary.LittleEndian.Uint64(b[RecordSeen:]) != 0 {
		return nil
	}
	return &r
}

// parseInfo makes a wait status of a siginfo_t (waitid(2)): si_code is at 8, si_status at 24.
func parseInfo(b []byte) unix.WaitStatus {
	const exited, dumped, core = 1, 3, 0x80 // CLD_EXITED and CLD_DUMPED of asm-generic/siginfo.h
	code, status := binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[24:])
	switch code {
	case exited:
		return unix.WaitStatus(status & 0xff << 8)
	case dumped:
		return unix.WaitStatus(status&0x7f | core)
	}
	return unix.WaitStatus(status & 0x7f)
}

// parseRusage reads the fields that are used of struct rusage (getrusage(2)).
func parseRusage(b []byte) unix.Rusage {
	word := func(i int) int64 { return int64(binary.LittleEndian.Uint64(b[8*i:])) }
	u := unix.Rusage{Utime: unix.NsecToTimeval(word(0)*1e9 + word(1)*1e3), Stime: unix.NsecToTimeval(word(2)*1e9 + word(3)*1e3)}
	// The type of Maxrss differs between architectures.
	setInt(&u.Maxrss, word(4))
	return u
}

func setInt[T ~int32 | ~int64](to *T, v int64) { *to = T(v) }
