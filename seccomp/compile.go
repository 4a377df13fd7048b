package seccomp

import (
	"fmt"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// MaxInstructions is how long a filter may be (BPF_MAXINSNS of linux/bpf_common.h).
const MaxInstructions = 4096

// A TooLargeError says that a policy does not fit in one filter.
type TooLargeError struct {
	Instructions int // how many it would take; 0: so many that the compiler stopped
}

func (e *TooLargeError) Error() string {
	size := "far more"
	if e.Instructions > 0 {
		size = fmt.Sprint(e.Instructions)
	}
	return fmt.Sprintf("seccomp: compile policy: it takes %s instructions, and the kernel takes %d: "+
		"compile for fewer architectures, or use fewer conditions on arguments", size, MaxInstructions)
}

// Compile translates the policy to a filter for the given architectures, each a GOARCH ("amd64",
// "386", "arm64", "arm") or "x32". All other ABIs get BadArch. Name the architectures that the
// sandboxed programs are built for, usually runtime.GOARCH alone: each further ABI doubles what a
// program can call.
//
// The same policy and architectures give the same instructions on every machine.
//
// The errors are [*PolicyError] (joined, as Validate reports them) and [*TooLargeError].
func (p *Policy) Compile(archs ...string) (*Filter, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	abis, err := parseArchs(archs)
	if err != nil {
		return nil, err
	}
	return compile(p, abis)
}

// compilePure is the compiler of this package. Preconditions: p is valid, abis are distinct.
func compilePure(p *Policy, abis []kernel.Arch) (*Filter, error) {
	// What is known of an argument from the tests so far makes most filters shorter, and some
	// longer, since code is then shared less.
	insns, err := assemble(p, abis, true)
	if err != nil {
		insns, err = assemble(p, abis, false)
	}
	if err != nil {
		return nil, err
	}
	f, err := NewFilter(insns)
	if err != nil {
		return nil, fmt.Errorf("seccomp: compile policy: %w: this is a bug of the compiler", err)
	}
	f.archs = abis
	return f, nil
}

// assemble is the list of stages.
func assemble(p *Policy, abis []kernel.Arch, useFacts bool) ([]Instruction, error) {
	g := newGraph()
	rules := newRuleCompiler(g, p, useFacts)
	root := g.ret(p.badArch())
	for _, group := range byAuditArch(abis) {
		var numbers []segment
		for _, a := range group {
			perCall := assignRules(p, a)
			numbers = append(numbers, segments(g, rules, perCall, a)...)
		}
		tree := searchTree(g, completed(g, p, group, numbers))
		root = g.test(jumpEqual, group[0].AuditArch(), g.load(wordNr, tree), root)
	}
	if g.full {
		return nil, &TooLargeError{}
	}
	return g.emit(g.load(wordArch, root))
}

// byAuditArch groups the ABIs that seccomp_data.arch does not tell apart. The first ABI given is
// tested for first, so the list is built from the end.
func byAuditArch(abis []kernel.Arch) [][]kernel.Arch {
	var groups [][]kernel.Arch
next:
	for i := len(abis) - 1; i >= 0; i-- {
		for j := range groups {
			if groups[j][0].AuditArch() == abis[i].AuditArch() {
				groups[j] = append(groups[j], abis[i])
				continue next
			}
		}
		groups = append(groups, []kernel.Arch{abis[i]})
	}
	return groups
}

// assignRules returns for each line of the ABI's table the rules that can decide it, in order, up
// to the first without conditions.
func assignRules(p *Policy, a kernel.Arch) [][]int {
	perCall := make([][]int, a.Len())
	// Most calls have one rule: they share one array of them.
	one := make([]int, len(p.Rules))
	for r := range p.Rules {
		one[r] = r
		for _, name := range p.Rules[r].Names {
			i, ok := a.Index(name)
			if !ok {
				continue
			}
			switch n := len(perCall[i]); {
			case n == 0:
				perCall[i] = one[r : r+1 : r+1]
			case len(p.Rules[perCall[i][n-1]].Args) > 0:
				perCall[i] = append(perCall[i], r)
			}
		}
	}
	return perCall
}
