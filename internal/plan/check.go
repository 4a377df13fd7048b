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

// Rule is something that holds for every program. The text is what a Fault says.
type Rule string

// The rules, in the order in which a program meets them.
const (
	RuleBounds       Rule = "a program is bounded in ops and data, and names its descriptors"
	RuleLabel        Rule = "every op has a label"
	RuleFlow         Rule = "a process runs its own ops to its end; a fork's child is another process, behind it"
	RuleUntil        Rule = "only PID 1 and a joiner repeat, and only to wait: for PID 2, and then for all that is left"
	RuleCall         Rule = "a call is one whose effect is known, with such arguments"
	RuleMemory       Rule = "a pointer stays in its memory"
	RuleResult       Rule = "a result is the one that is predicted"
	RuleTolerance    Rule = "only an error that changes nothing is tolerated, one an op, for a reason"
	RuleDescriptor   Rule = "a descriptor is open, and of the right kind, where it is used"
	RuleStrangers    Rule = "descriptors that were not handed in are closed first"
	RuleNamespaces   Rule = "PID 1 starts in new namespaces, shares nothing, and resets signals"
	RuleIdentity     Rule = "PID 1 takes IDs of the sandbox and drops the caller's groups before it watches the lifeline"
	RuleLifeline     Rule = "PID 1 ends with the caller: handler, owner, signals, a last look, in this order"
	RuleHostPath     Rule = "of the host's paths, trees are cloned, the ID maps written, and PID 1's mount namespace is held, nothing else"
	RulePath         Rule = "inside, a path is resolved by openat2 within bounds, or is one component that no link replaces"
	RuleRestrict     Rule = "a mount is restricted before it is attached, once"
	RuleTmpfs        Rule = "a tmpfs is bounded in bytes and files"
	RuleRoot         Rule = "the host's tree is taken away before anything is attached and before PID 2 starts"
	RuleSeal         Rule = "a root of the sandbox's own is read-only when PID 2 starts"
	RuleSetup        Rule = "nothing that the set-up opened is open when PID 2 starts"
	RuleDumpable     Rule = "PID 1 is not dumpable when PID 2 starts"
	RuleBoundingSet  Rule = "the bounding set is what the command keeps when PID 2 starts, and in the end empty for everybody else"
	RuleNoNewPrivs   Rule = "no_new_privs comes before any filter, and before PID 2 starts"
	RuleSession      Rule = "the command has a session of its own"
	RuleCore         Rule = "the size of core files is bounded"
	RuleCapabilities Rule = "the command has its capabilities and no other, in every set, when it is executed, and PID 1 none when it waits"
	RuleFilter       Rule = "the command's filter is loaded, and nothing but execve comes after it"
	RuleLow          Rule = "a path at a low address stays the only thing there: free addresses are looked for above, the stack is bounded"
	RuleExec         Rule = "the last execve tolerates nothing"
	RulePayload      Rule = "the command gets its own descriptors, PID 1 keeps none of them, and the report is closed on exec"
	RuleListener     Rule = "PID 1 shares the command's descriptors until the exec to have the listener, and nothing else of it"
	RuleWitness      Rule = "somebody hears the listener: the caller, or a thread of PID 1 that notes the call and kills everything"
	RuleTerminal     Rule = "a terminal is the sandbox's own, on the command's streams and in control of its session, and its master the caller's alone"
	RuleInitFilter   Rule = "PID 1 waits behind a filter of its own, with nothing to do but wait and report"
	RuleReport       Rule = "PID 1 and the start are told to the caller, and the end is the last thing told"
	RuleKeeper       Rule = "a PID 1 without a command is confined as one with, hands over its namespaces, and waits for the caller's end"
	RuleJoin         Rule = "a joiner enters every namespace of the sandbox, the user namespace first, out of everybody's reach, and holds none of them when it starts the command"
	RuleOrphan       Rule = "a command that joins ends with its joiner and with the caller, until it is executed"
	RuleInbox        Rule = "what a sandbox that waits is told goes into empty memory, by one message, before the command's filter"
	RuleStub         Rule = "the stub starts PID 1, tells the caller, and ends"
)

// Fault is a program that breaks a rule: our bug, never the user's.
type Fault struct {
	Index  int    // of the op at which the rule is broken; -1 is the program as a whole
	Label  string // of the op
	Rule   Rule
	Detail string // what is wrong with the op
}

func (f *Fault) Error() string {
	if f.Index < 0 {
		return fmt.Sprintf("plan: %s: %s", f.Rule, f.Detail)
	}
	return fmt.Sprintf("plan: step %d, %s: %s: %s", f.Index, f.Label, f.Rule, f.Detail)
}

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
	} else if (kind == Fork) != (c.op.Call.Name == "clone3") {
		return c.fault(RuleFlow, "only clone3 forks, and nothing else")
	} else if (kind == Until) != (c.op.Call.Name == "wait4") || kind == Until && c.process != Init && c.process != Joiner {
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
