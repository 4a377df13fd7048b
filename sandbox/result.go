package sandbox

import (
	"fmt"
	"syscall"
	"time"
)

// Ending is how a command ended.
type Ending int

// The endings. Each rests on evidence from the kernel or on an act of this library, never on a guess
// from an exit code.
const (
	Exited         Ending = iota + 1 // by itself, with ExitCode
	Signaled                         // by Signal, sent by itself, inside, or by someone outside
	Canceled                         // by the context or by Cmd.Kill
	TimedOut                         // by Limits.WallTime
	OutOfCPUTime                     // by Limits.CPUTime
	OutOfMemory                      // by the kernel, at Limits.MemoryMax
	OutputExceeded                   // by Limits.OutputMax
	Forbidden                        // for a call for which the seccomp policy kills; see Result.Syscall
)

// String returns the ending in words.
func (e Ending) String() string {
	switch e {
	case Exited:
		return "exited"
	case Signaled:
		return "signaled"
	case Canceled:
		return "canceled"
	case TimedOut:
		return "timed out"
	case OutOfCPUTime:
		return "out of CPU time"
	case OutOfMemory:
		return "out of memory"
	case OutputExceeded:
		return "output exceeded"
	case Forbidden:
		return "forbidden system call"
	}
	return fmt.Sprintf("Ending(%d)", int(e))
}

// MarshalText makes JSON show the ending in words.
func (e Ending) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// Result is how a command ended, what it used, and what held it.
type Result struct {
	Ended    Ending
	ExitCode int // -1 unless Exited, or Canceled and ended by itself after Spec.StopSignal
	// Signal ended the command, if one did; 0 if none. Of a Forbidden run it is SIGSYS, with which the
	// kernel ends a process for such a call.
	Signal syscall.Signal
	// Syscall is the refused call of a Forbidden run: "mount"; of another ABI than the program's with that
	// behind, "mount (386)"; of a number that no table has, that number. "" is not known: the call was
	// interrupted by a signal before it was seen.
	Syscall  string
	Usage    Usage
	Enforced []Enforcement // what held the command, in a fixed order
	Missing  []Feature     // left out under AllowMissing, or InotifyLimit
}

// Enforcement is a protection and the mechanism that gave it.
type Enforcement struct {
	Feature Feature
	By      string
}

// Usage is what a sandbox used: all its processes together, where nothing else is said. -1 is unknown. With
// a cgroup of its own the sandbox's numbers are those of the kernel, the set-up's included. Without one, in a
// program that ignores SIGCHLD or waits for every child, they are what the command used, with those that it
// waited for.
type Usage struct {
	Wall   time.Duration // from the command's start to its end
	Setup  time.Duration // from the call of Run to the command's start
	User   time.Duration // processor time in user mode
	System time.Duration // processor time in the kernel

	// MemoryPeak is in bytes: the peak of the sandbox's cgroup where it has one, else the peak
	// resident set of its largest process (ru_maxrss of getrusage(2)).
	MemoryPeak int64
	// PidsPeak is the largest number of processes and threads at a time; it may count one of the set-up.
	PidsPeak int64
	// Sampled says that MemoryPeak or PidsPeak is the most that was seen every 10 ms: Linux keeps the first
	// from 5.19 on, the second from 6.1.
	Sampled bool

	// What follows is counted by the sandbox's cgroup alone.

	SwapPeak      int64 // bytes; Linux 6.5
	PidsMaxEvents int64 // times that PidsMax refused a process or thread

	ReadBytes, WriteBytes int64 // on disks
	ReadOps, WriteOps     int64

	Throttled time.Duration // for which CPUMax held it back

	// The times in which at least one process waited for a processor, for memory and for a disk
	// (pressure stall information).
	CPUPressure, MemoryPressure, IOPressure time.Duration
}

// unknownUsage returns a Usage of which nothing is known.
func unknownUsage() Usage {
	return Usage{
		Wall: -1, Setup: -1, User: -1, System: -1, MemoryPeak: -1, PidsPeak: -1, SwapPeak: -1, PidsMaxEvents: -1,
		ReadBytes: -1, WriteBytes: -1, ReadOps: -1, WriteOps: -1, Throttled: -1, CPUPressure: -1, MemoryPressure: -1, IOPressure: -1,
	}
}

// Stats is what a running sandbox has used so far, and uses now. -1 is unknown.
type Stats struct {
	Usage
	Memory, Swap int64 // bytes
	Pids         int64 // processes and threads
}

// Err returns nil if the command exited with code 0, else an *ExitError.
func (r *Result) Err() error {
	if r.Ended == Exited && r.ExitCode == 0 {
		return nil
	}
	return &ExitError{Result: r}
}

// String returns the ending as os/exec words it: "exit status 1", "signal: killed", "timed out".
func (r *Result) String() string {
	switch r.Ended {
	case Exited:
		return fmt.Sprintf("exit status %d", r.ExitCode)
	case Signaled:
		return "signal: " + r.Signal.String()
	case Forbidden:
		if r.Syscall != "" {
			return "forbidden system call: " + r.Syscall
		}
	}
	return r.Ended.String()
}
