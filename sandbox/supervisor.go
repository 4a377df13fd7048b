package sandbox

import (
	"context"
	"os"
	"syscall"

	"github.com/ringfence-go/ringfence/seccomp"
)

// Supervisor answers one system call for which the policy says seccomp.Notify (seccomp_unotify(2)). The
// thread that made it waits for the answer, and the rest of the sandbox goes on: a Supervisor is called
// by many goroutines at once, 64 at most; more calls wait, also those for which the policy kills. ctx is the
// caller's and ends with the sandbox, and Wait waits for every Supervisor.
//
// What may be decided from what:
//
//   - Call is the kernel's copy: the payload cannot change it. Numbers, flags and descriptors may decide
//     by themselves about an answer other than Continue.
//   - What the arguments point to belongs to the payload, which may change it while it is read, and between
//     that and the moment when the kernel reads it. It may decide about an answer for which the Supervisor
//     does the work itself, on its own copy; never about Continue, which lets the kernel read again.
//   - Continue is for calls that would be harmless with any memory, for observing and counting. It is no
//     way to allow a path: another thread replaces the path.
//   - PID is of a process of the sandbox only as long as Valid says so, after whatever was done with it.
type Supervisor func(ctx context.Context, n *Notification) Answer

// Notification is a system call that waits for an answer.
type Notification struct {
	// PID is the thread that made the call, as this program sees it.
	PID int
	// Name is the call, by the kernel's name; of another ABI with that behind: "getpid (386)".
	Name string
	// Call is what the filter saw: number, ABI and arguments.
	Call seccomp.Data

	id     uint64
	source notifier
}

// notifier is where a Notification came from.
type notifier interface {
	// valid reports whether the call with this ID still waits.
	valid(id uint64) bool
	// read copies memory of a thread.
	read(pid int, b []byte, addr uint64) (int, error)
}

// Valid reports whether the call still waits for its answer. If it does, PID was the ID of the thread that
// made it from the beginning until now; if not, what was learned by PID may be of another process.
func (n *Notification) Valid() bool { return n.source.valid(n.id) }

// ReadMemory copies memory of the thread that made the call, from an address that is one of the arguments
// or was found behind one. It returns how many bytes could be read: fewer than len(b) at the end of what
// is mapped, with an error for none. What was read is of the right process, and of one moment: see
// Supervisor for what may be decided by it. os.ErrProcessDone says that the call no longer waits.
func (n *Notification) ReadMemory(b []byte, addr uint64) (int, error) {
	read, err := n.source.read(n.PID, b, addr)
	// Checked after the reading: the ID cannot have been another's before.
	if !n.Valid() {
		clear(b[:read])
		return 0, os.ErrProcessDone
	}
	return read, err
}

// ReadString is ReadMemory for a string that ends with a NUL, such as a path. Without one in the first
// most bytes the error is syscall.ENAMETOOLONG.
func (n *Notification) ReadString(addr uint64, most int) (string, error) {
	const page = 4096 // of the smallest kind: a read that crosses none of them cannot fail in the middle
	var s []byte
	for len(s) < most {
		at := addr + uint64(len(s))
		b := make([]byte, min(most-len(s), page-int(at%page)))
		read, err := n.ReadMemory(b, at)
		if err != nil {
			return "", err
		}
		for i, c := range b[:read] {
			if c == 0 {
				return string(append(s, b[:i]...)), nil
			}
		}
		s = append(s, b[:read]...)
	}
	return "", syscall.ENAMETOOLONG
}

// Answer is what becomes of a call. The zero Answer refuses it with EPERM.
type Answer struct {
	kind  answerKind
	value int64
	file  *os.File
	keeps bool // the descriptor over an execve
}

type answerKind int

const (
	answerRefuse answerKind = iota
	answerReturn
	answerContinue
	answerFile
	answerEnd
)

// Continue lets the kernel make the call, with what the arguments point to then.
func Continue() Answer { return Answer{kind: answerContinue} }

// Refuse makes the call fail with an error number of Linux, 1 to 4095; anything else is EPERM. The call is
// not made.
func Refuse(errno syscall.Errno) Answer { return Answer{kind: answerRefuse, value: int64(errno)} }

// Return makes the call return a value. The call is not made: whoever returns 0 has done what it asks for,
// or pretends.
func Return(value int64) Answer { return Answer{kind: answerReturn, value: value} }

// ReturnFile makes the call return a new descriptor of f in the process that made it, and then closes f,
// also if the process has ended. The descriptor is closed on exec. f is a hole in the wall, as an entry of
// ExtraFiles is.
func ReturnFile(f *os.File) Answer { return Answer{kind: answerFile, file: f} }

// ReturnInheritedFile is ReturnFile with a descriptor that stays open on exec.
func ReturnInheritedFile(f *os.File) Answer { return Answer{kind: answerFile, file: f, keeps: true} }

// EndRun ends everything in the sandbox: the Result is Forbidden and names the call.
func EndRun() Answer { return Answer{kind: answerEnd} }
