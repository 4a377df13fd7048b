//go:build linux

package plan

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// The bounds of a program.
const (
	// MaxOps is the largest number of ops: the image gives an index 16 bits.
	MaxOps = 1<<16 - 1
	// maxData bounds what the ops point to. It is far beyond what a valid Spec leads to, and keeps the
	// image below what a process can map.
	maxData = 1 << 30
	// maxInherited is more than the descriptors of any Spec, and a table of that size is small.
	maxInherited = 1024
)

// Check verifies a program, by running its processes in mind. It knows nothing of the Builder, nor
// what a Spec asked for: it takes each call for what its arguments say, as the kernel will. What it does
// not know it refuses, so that a new call or a new use of one needs a rule here first.
//
// The error is a *Fault.
func Check(p *Program) error {
	c := checker{p: p}
	if f := c.program(); f != nil {
		return f
	}
	return nil
}

// checker is the state of the one pass over the ops.
type checker struct {
	p *Program

	i        int // of the op
	op       *Op
	state            // of the process that runs it
	ended    bool    // the process is at its end
	children []child // that have not run yet, in the order of their ops
	data     int     // bytes that ops have pointed to
	put      []attachment
	puts     [64]attachment // room for put
	loose    int            // mounts that are attached nowhere
	unset    int            // limits of the user namespace that were opened and not set
	// The mounts of new file systems, by the ops that made them, that devices were attached in, and those
	// that were made read-only.
	devices, sealed []int32

	waited int            // the op that waits for PID 2; 0 is none
	heard  int64          // the listener, once PID 1 has forked the command; -1 is none
	words  [2]int64       // the counters of the witness's word and of PID 1's; 0 is none
	late   int64          // the user that PID 1 becomes after that; -1 is none
	told   *kernel.Memory // the record of the end
	// redumped: after it forked, PID 1 said again that it is not dumpable.
	redumped bool
	emptied  int               // the op that waits for all that is left; 0 is none
	watched  int64             // the pidfd of a command that joins
	placed   uint8             // the command's streams that were received
	entered  kernel.CloneFlags // the namespaces that the joiner is in
	filters  int               // that the command has loaded
	handled  uint64            // the accesses that the ruleset handles
	owner    *kernel.Memory    // that the command's ID goes to
}

// child is a process that a fork made.
type child struct {
	state state
	at    int // where it goes on
}

// state is what a process is like. A fork copies it.
type state struct {
	process   Process
	fds       []descriptor // by number
	strangers bool         // descriptors beyond the inherited may be open
	done      facts
	bounding  uint64 // capabilities that are dropped from the bounding set
	ambient   uint64 // capabilities that are raised in the ambient set
	umask     int64  // -1 is not known
	// The ops that opened the mount on top of the host's root, the one below that, and the working
	// directory; -1 is none.
	top, under, cwd int32
	signals         uint64 // that are reset
	// listener is the descriptor of the command's filter: for PID 1 open, for the command
	// the one that it must be; -1 is none.
	listener int64
	forked   []descriptor // of the command: those that it shares with PID 1
}

// Working directories that no op has opened.
const (
	atStart = -1 // where the program was started
	nowhere = -2 // in what was taken away
)

// facts is a set of things that have been done.
type facts uint64

const (
	didSignals facts = 1 << iota // reset the signal mask
	didPrivate
	didPivot
	didDetach
	didHome // went to the new root
	didSeal
	didReadMaps
	didSetgroups
	didSetresgid
	didSetresuid
	didDenySetgroups
	didUIDMap
	didGIDMap
	didHandler
	didOwner
	didAsync
	didLook // at the lifeline
	didNoNewPrivs
	didDumpable
	didSession
	didCore
	didCapset
	didFilter
	didFork
	didTell // the caller of what was forked
	didExec
	didKill   // all that was left
	didAbove  // looked for what is above the root
	didLayout // of addresses
	didStack
	didBlock   // every signal
	didWitness // started it
	didSetresuidAgain
	didMeet    // PID 1 and its witness: wait for the other's word
	didPost    // give it
	didHand    // the listener to the caller
	didReceive // the call for which the filter ends the sandbox
	didPoll    // the listener, after that
	didKeepCaps
	didControl    // the session by the terminal
	didSendMaster // to the caller
	didIgnore     // SIGCHLD
	didKeep       // the sandbox until the caller's end
	didFollow     // the joiner, into its death
	didReady      // tell that PID 2 waits
	didInbox      // receive what to execute
	didReap       // whoever the command has made the joiner a parent of
	didSubreaper
	didHandle   // make a Landlock ruleset
	didRestrict // the command by it
	didWait     // for the command

	// ofProcess are not handed on by a fork: what follows from them is, but each process must do its own.
	ofProcess = didSession | didCapset | didFilter | didFork | didTell | didWitness | didSetresuidAgain | didMeet | didPost | didKeepCaps | didControl | didSendMaster

	byCaller = didReadMaps | didSetresgid | didSetresuid
	byInit   = didDenySetgroups | didUIDMap | didGIDMap
)

func (s *state) has(f facts) bool { return s.done&f == f }

// identified reports whether PID 1 has IDs of the sandbox and nothing of the caller's.
func (c *checker) identified() bool {
	return c.has(byInit) || c.has(byCaller) && (c.has(didSetgroups) || c.p.KeepsGroups)
}

// fault is the op at hand breaking a rule.
func (c *checker) fault(rule Rule, format string, args ...any) *Fault {
	f := &Fault{Index: c.i, Rule: rule, Detail: fmt.Sprintf(format, args...)}
	if c.op != nil {
		f.Label = c.op.Label
	}
	return f
}

func (c *checker) program() *Fault {
	c.i = -1
	if f := c.header(); f != nil {
		return f
	}
	c.state = state{process: c.first(), fds: make([]descriptor, c.p.Inherited, c.p.Inherited+64), strangers: true, umask: -1, top: -1, under: -1, cwd: atStart, listener: -1}
	for i := range c.fds {
		c.fds[i] = descriptor{kind: inherited, op: -1}
	}
	for _, ns := range c.p.Joins {
		c.fds[ns.FD].kind = namespace
	}
	if c.joinsTerminal() {
		c.fds[c.p.Terminals] = descriptor{kind: ownMount, op: -1, devpts: true}
	}
	c.put, c.heard, c.late = c.puts[:0], -1, -1
	for i, op := range c.p.Ops {
		c.i, c.op = i, op
		if f := c.step(); f != nil {
			return f
		}
	}
	switch {
	case !c.ended:
		return c.fault(RuleFlow, "the program does not end with it")
	case len(c.children) > 0:
		return c.fault(RuleFlow, "the child of a fork, at %d, has no ops", c.children[0].at)
	case !c.p.Keeps && !c.ran(Command) || c.p.Keeps && !c.has(didKeep):
		return c.fault(RuleFlow, "the last process is %s", c.process)
	}
	return nil
}

// header checks what a program says beside its ops.
func (c *checker) header() *Fault {
	p := c.p
	inside := func(fd int) bool { return fd >= 0 && fd < p.Inherited }
	switch {
	case len(p.Ops) == 0 || len(p.Ops) > MaxOps:
		return c.fault(RuleBounds, "%d ops", len(p.Ops))
	case p.Capabilities&^allCapabilities != 0:
		return c.fault(RuleBounds, "capabilities %#x", p.Capabilities)
	case p.Inherited < 0 || p.Inherited > maxInherited:
		return c.fault(RuleBounds, "%d inherited descriptors", p.Inherited)
	case !inside(p.Report) || !inside(p.Lifeline) || p.Report == p.Lifeline:
		return c.fault(RuleBounds, "report %d, lifeline %d", p.Report, p.Lifeline)
	}
	if p.Bare && (p.Keeps || p.Terminal || p.Inbox != nil || len(p.Joins) > 0 || p.Capabilities != 0) {
		return c.fault(RuleBare, "it has what takes namespaces")
	}
	if f := c.joins(); f != nil {
		return f
	}
	if p.Inbox != nil && (!inside(p.InboxFD) || p.InboxFD == p.Report || p.InboxFD == p.Lifeline || !zeros(p.Inbox.Bytes) ||
		len(p.Inbox.Refs) > 0 || p.Inbox.Text != "" || p.Keeps || len(p.Joins) > 0 || len(p.Payload) != 3 || p.Payload[2] != 2) {
		return c.fault(RuleInbox, "descriptor %d, payload %v, or memory that holds something", p.InboxFD, p.Payload)
	}
	if p.Terminal && (len(p.Payload) < 3 || p.Payload[2] != 2) {
		return c.fault(RuleBounds, "a terminal, and payload %v", p.Payload)
	}
	for i, fd := range p.Payload {
		if !inside(fd) || fd == p.Report || fd == p.Lifeline || i > 0 && fd <= p.Payload[i-1] {
			return c.fault(RuleBounds, "payload descriptor %d", fd)
		}
	}
	return nil
}

// step checks one op, and does what it does.
func (c *checker) step() *Fault {
	if c.op == nil {
		return c.fault(RuleFlow, "there is no op")
	}
	if f := c.flow(); f != nil {
		return f
	}
	if c.op.Label == "" {
		return c.fault(RuleLabel, "%s has none", c.op.Call.Name)
	}
	call, ok := callOf(c.op.Call.Name)
	if !ok {
		return c.fault(RuleCall, "%s is not known", c.op.Call.Name)
	}
	if f := c.arguments(call); f != nil {
		return f
	}
	if f := c.tolerance(call); f != nil {
		return f
	}
	if f := c.result(call); f != nil {
		return f
	}
	if c.p.Bare {
		return c.bare()
	}
	if f := c.order(); f != nil {
		return f
	}
	return c.effect()
}

// ran reports whether the last process is p, or follows it.
func (c *checker) ran(p Process) bool { return c.process == p || p == Command && c.process == Witness }

// flow goes on with the next process where the last one is at its end.
func (c *checker) flow() *Fault {
	begins := len(c.children) > 0 && c.children[0].at == c.i
	switch {
	case c.ended && !begins:
		return c.fault(RuleFlow, "no process comes here")
	case c.ended:
		c.state, c.ended = c.children[0].state, false
		c.children = c.children[1:]
		if c.process == Witness && c.heard >= 0 {
			// It shares the table of PID 1, and waits until the listener is there.
			for int64(len(c.fds)) <= c.heard {
				c.fds = append(c.fds, descriptor{})
			}
			c.fds[c.heard] = descriptor{kind: listener, closeOnExec: true}
		}
	case begins:
		return c.fault(RuleFlow, "the %s does not end before it", c.process)
	}
	if c.op.Process != c.process {
		return c.fault(RuleFlow, "it is of the %s, and the %s comes here", c.op.Process, c.process)
	}
	if kind := c.op.Kind; kind > Until {
		return c.fault(RuleFlow, "kind %d", kind)
	} else if (kind == Fork) != (c.op.Call.Name == c.forks()) {
		return c.fault(RuleFlow, "only %s forks, and nothing else", c.forks())
	} else if (kind == Until) != (c.op.Call.Name == "wait4") || kind == Until && c.process != Init && c.process != Joiner && c.process != Reaper {
		return c.fault(RuleUntil, "%s in the %s", c.op.Call.Name, c.process)
	}
	return nil
}

// order checks what may follow a filter, and the few calls of the witness.
func (c *checker) order() *Fault {
	name := c.op.Call.Name
	if c.process == Witness && !isOfWitness(name) {
		return c.fault(RuleWitness, "%s", name)
	}
	if !c.has(didFilter) {
		return nil
	}
	switch c.process {
	case Command:
		if name != "execve" {
			return c.fault(RuleFilter, "%s comes after it", name)
		}
	case Joiner:
		if name == "close" && c.at(0).kind == master && c.has(didTell) {
			return nil
		}
		if name != "sendmsg" && name != "write" && name != "waitid" && name != "wait4" && name != "exit_group" {
			return c.fault(RuleInitFilter, "%s comes after it", name)
		}
	case Init:
		if name == "close" && c.at(0).kind == master && c.has(didTell) {
			return nil
		}
		if c.p.Keeps && (name == "close_range" || name == "ppoll") || c.p.Inbox != nil && name == "getrusage" {
			return nil
		}
		if name != "sendmsg" && name != "write" && name != "wait4" && name != "kill" && name != "exit_group" {
			return c.fault(RuleInitFilter, "%s comes after it", name)
		}
	}
	return nil
}

// commandPID is the process ID of the command: the second in its namespace.
const commandPID = 2

// cwd is the base of a path that starts at the working directory.
const cwd = int64(unix.AT_FDCWD)
