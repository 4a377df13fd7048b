//go:build linux

package plan

import (
	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// Kind is what an Op does with the flow of the program.
type Kind uint8

// The kinds of ops.
const (
	Call  Kind = iota // make the call, check its result, go on with the next op
	Fork              // the same, and the new process goes on at Child
	Until             // make the call again until its result is Want
)

// Process names who runs an op.
type Process string

// The processes of a program.
const (
	Stub    Process = "stub"    // the image, in the namespaces of the caller
	Init    Process = "init"    // PID 1 of the sandbox
	Command Process = "command" // PID 2, until it executes the command
	// Witness is a second thread of PID 1, for which no signal of the sandbox's can end it: it sees the
	// call for which the command's filter ends the sandbox.
	Witness Process = "witness"
	// Joiner is the image of another program: it enters the namespaces of a sandbox, in which it starts one
	// more command, for which it then waits outside.
	Joiner Process = "joiner"
	// Reaper and Guard are the processes of a program without namespaces: what the command leaves behind comes
	// to the reaper; the guard waits for the command, and with the guard the command's process group ends.
	Reaper Process = "reaper"
	Guard  Process = "guard"
)

// Op is one step of a Program: a system call and what its result must be.
type Op struct {
	Kind    Kind
	Process Process
	Label   string // an imperative phrase: "mount tmpfs on /tmp"
	Call    kernel.Call

	// Want is the result that lets the program go on; every other one ends it, unless Any or
	// Tolerate say otherwise.
	Want int64
	// Any accepts every result that is not an error.
	Any bool
	// Retry makes the call again when it fails with EAGAIN or EINTR.
	Retry bool
	// Keep stores the result, whatever it is, at KeepAt of this memory, and goes on.
	Keep   *kernel.Memory
	KeepAt int
	// Tolerate lists the errors that are as good as success here, for the given Reason.
	Tolerate []unix.Errno
	Reason   string

	// Child is the index of the op at which the process made by a Fork goes on.
	Child int
}

// Program is what a sandbox is: a list of system calls for its processes.
type Program struct {
	Arch kernel.Arch
	Ops  []*Op // those of a child stand behind those of its parent

	// Inherited counts the descriptors open at the start: 0 to Inherited-1.
	Inherited int
	// Payload lists the descriptors that the command keeps, in order.
	Payload []int
	// Report is the socket that the records go to; Lifeline the pipe whose other end the caller holds.
	Report, Lifeline int
	// Capabilities are those that the command keeps, as bits; nobody else keeps any.
	Capabilities uint64
	// Terminal says that the command has a controlling terminal on its streams.
	Terminal bool
	// KeepsGroups says that PID 1's user namespace lets nobody set groups (user_namespaces(7)): it cannot
	// leave the caller's.
	KeepsGroups bool
	// Keeps says that PID 1 starts no command, and waits until the caller ends it: commands join it.
	Keeps bool
	// Inbox is where PID 2 is told what to execute, InboxFD the socket on which; nil is a program that knows.
	Inbox   *kernel.Memory
	InboxFD int
	// Terminals is the descriptor by which a joiner gets at the sandbox's own devpts, for a command with a
	// terminal.
	Terminals int
	// Bare says that the program has no namespaces: Landlock holds the command's files, and a process group its
	// processes. TakesIDs says that it leaves the IDs of the caller, who is root.
	Bare, TakesIDs bool
	// Filters counts the filters of the command of such a program: one that stands for namespaces, and the Spec's.
	Filters int
	// Joins are the namespaces of the sandbox that the joiner enters; none is a program of a stub's.
	Joins []Namespace
}

// Namespace is a namespace that is handed in.
type Namespace struct {
	FD   int
	Kind kernel.CloneFlags // one of CLONE_NEW*
}
