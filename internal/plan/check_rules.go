//go:build linux

package plan

import "fmt"

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
	RuleSeal         Rule = "a root of the sandbox's own, and what holds devices, is read-only when PID 2 starts"
	RuleAttach       Rule = "a mount that is opened is attached before PID 2 starts"
	RuleShare        Rule = "a limit of the user namespace that is opened is lowered once, while PID 1 has the power to"
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
	RuleBare         Rule = "without namespaces each process makes its own calls, in their order"
	RuleLandlock     Rule = "without namespaces the command is restricted by a Landlock ruleset that handles every access to files, before its filters"
	RuleGroup        Rule = "without namespaces the command's process group is killed with the caller and with the guard"
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
