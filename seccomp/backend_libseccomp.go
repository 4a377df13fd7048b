//go:build seccomp && cgo && linux

package seccomp

import (
	"errors"
	"fmt"
	"io"
	"os"

	libseccomp "github.com/seccomp/libseccomp-golang"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// compile is the back end of Policy.Compile that drives libseccomp.
//
// libseccomp compiles some alternatives of conditions for one call wrongly (2.5.4: with "a0 < 2" and
// "a0 >= 1<<32" it allows 8), and can hang on others. One rule for a call was never wrong, so it
// is never given two: the rules are spread over layers, each a filter of its own that holds at most
// one rule for each call, and whose default is to go on with the next. That also gives the rules an
// order, which libseccomp does not know. The last layer has the rules without conditions.
//
// A prefix, made by this package, deals with foreign ABIs, with calls that are not in the tables, and
// with those that libseccomp is too old to know; calls without conditions go to the last layer at
// once. What libseccomp made is checked against the policy before it is returned.
func compile(p *Policy, abis []kernel.Arch) (*Filter, error) {
	layers, err := layersOf(p)
	if err != nil {
		return nil, err
	}
	next := unusedTrace(p)
	var programs [][]Instruction
	for i := range layers {
		action := next
		if i == len(layers)-1 {
			action = p.Default
		}
		program, err := runLibseccomp(layers[i], action, abis)
		if err != nil {
			return nil, err
		}
		if action == next {
			goOn(program, next)
		}
		programs = append(programs, program)
	}
	insns, err := prefix(p, abis, programs)
	if err != nil {
		return nil, err
	}
	for _, program := range programs {
		insns = append(insns, program...)
	}
	if len(insns) > MaxInstructions {
		return nil, &TooLargeError{Instructions: len(insns)}
	}
	f, err := NewFilter(insns)
	if err != nil {
		return nil, fmt.Errorf("seccomp: compile policy with libseccomp: %w", err)
	}
	f.archs = abis
	return f, verify(p, f)
}

// A layer holds at most one rule for each call.
type layer []Rule

// layersOf spreads the rules: the n-th condition of a call to layer n, the rule without to the last.
func layersOf(p *Policy) ([]layer, error) {
	var f faults
	var layers []layer
	var last layer
	depth := map[string]int{} // how many rules a call has had; decided: no more matter
	const decided = -1
	for i := range p.Rules {
		r := &p.Rules[i]
		refuseShape(r, i, &f)
		seen := map[string]bool{}
		for _, name := range r.Names {
			n := depth[name]
			if n == decided || seen[name] {
				continue
			}
			seen[name] = true
			single := *r
			single.Names = []string{name}
			if len(r.Args) == 0 {
				depth[name] = decided
				last = append(last, single)
				continue
			}
			if n == len(layers) {
				layers = append(layers, nil)
			}
			layers[n] = append(layers[n], single)
			depth[name] = n + 1
		}
	}
	return append(layers, last), errors.Join(f...)
}

// refuseShape reports conditions that libseccomp has no form for.
func refuseShape(r *Rule, i int, f *faults) {
	const remedy = "build without the tag seccomp"
	seen := [6]bool{}
	for j, a := range r.Args {
		if seen[a.Index] {
			f.add(fmt.Sprintf("Rules[%d].Args[%d].Index", i, j), "libseccomp takes one condition on an argument: %s", remedy)
		}
		seen[a.Index] = true
		if a.Mask != 0 && a.Op != Equal {
			f.add(fmt.Sprintf("Rules[%d].Args[%d].Mask", i, j), "libseccomp has masks for Equal only: %s", remedy)
		}
	}
}

// unusedTrace returns an action that the policy does not have, to mark "no rule of this layer
// matches" in what libseccomp returns.
func unusedTrace(p *Policy) Action {
	used := map[Action]bool{p.Default: true}
	for i := range p.Rules {
		used[p.Rules[i].Action] = true
	}
	n := 0x4d61
	for used[Trace(n)] {
		n++
	}
	return Trace(n)
}

// goOn replaces the returns of the mark by jumps to the end.
func goOn(program []Instruction, mark Action) {
	for i := range program {
		if program[i].Code == opReturn && program[i].K == mark.ret() {
			program[i] = Instruction{Code: opJump, K: uint32(len(program) - i - 1)}
		}
	}
}

// Return values that no action has, for the prefix to mark where it goes on.
const (
	toLayers = 0x00010001
	toLast   = 0x00010002
)

// prefix returns the program that runs before those of libseccomp.
func prefix(p *Policy, abis []kernel.Arch, programs [][]Instruction) ([]Instruction, error) {
	g := newGraph()
	layers := g.add(vertex{code: opReturn, k: toLayers})
	last := g.add(vertex{code: opReturn, k: toLast})
	root := g.ret(p.badArch())
	for _, group := range byAuditArch(abis) {
		var numbers []segment
		for _, a := range group {
			part, err := prefixSegments(g, p, a, layers, last)
			if err != nil {
				return nil, err
			}
			numbers = append(numbers, part...)
		}
		root = g.test(jumpEqual, group[0].AuditArch(), g.load(wordNr, searchTree(g, completed(g, p, group, numbers))), root)
	}
	insns, err := g.emit(g.load(wordArch, root))
	if err != nil {
		return nil, err
	}
	skip := 0
	for _, program := range programs[:len(programs)-1] {
		skip += len(program)
	}
	for i, in := range insns {
		to := uint32(len(insns) - i - 1)
		switch {
		case in.Code == opReturn && in.K == toLayers:
			insns[i] = Instruction{Code: opJump, K: to}
		case in.Code == opReturn && in.K == toLast:
			insns[i] = Instruction{Code: opJump, K: to + uint32(skip)}
		}
	}
	return insns, nil
}

// prefixSegments is as segments, but leaves the calls that libseccomp knows to it.
func prefixSegments(g *graph, p *Policy, a kernel.Arch, layers, last node) ([]segment, error) {
	perCall := assignRules(p, a)
	decide := make([]node, len(perCall))
	for i, rules := range perCall {
		nr, name := a.At(i)
		conditional := len(rules) > 0 && len(p.Rules[rules[0]].Args) > 0
		switch direct := !libseccompKnows(a, nr, name); {
		case direct && conditional:
			return nil, &PolicyError{Field: fmt.Sprintf("Rules[%d]", rules[0]),
				Reason: fmt.Sprintf("libseccomp %s does not know %s of %s, so that it cannot check its arguments: "+
					"update it, or build without the tag seccomp", libseccompVersion(), name, a)}
		case direct && len(rules) > 0:
			decide[i] = g.ret(p.Rules[rules[0]].Action)
		case direct:
			decide[i] = g.ret(p.Default)
		case conditional:
			decide[i] = layers
		default:
			decide[i] = last
		}
	}
	return runs(g, p, a, func(i int) node { return decide[i] }), nil
}

func libseccompVersion() string {
	major, minor, micro := libseccomp.GetLibraryVersion()
	return fmt.Sprintf("%d.%d.%d", major, minor, micro)
}

// libseccompArchs are the ABIs by libseccomp's names.
var libseccompArchs = map[kernel.Arch]libseccomp.ScmpArch{
	kernel.AMD64: libseccomp.ArchAMD64,
	kernel.I386:  libseccomp.ArchX86,
	kernel.X32:   libseccomp.ArchX32,
	kernel.ARM64: libseccomp.ArchARM64,
	kernel.ARM:   libseccomp.ArchARM,
}

// libseccompKnows reports whether libseccomp has the call with the same number. It stands socketcall
// and ipc of 386 for the calls that they multiplex, which Policy does not, so they count as not
// known, and its negative numbers for those calls as known.
func libseccompKnows(a kernel.Arch, nr uint32, name string) bool {
	if name == "socketcall" || name == "ipc" {
		return false
	}
	got, err := libseccomp.GetSyscallFromNameByArch(name, libseccompArchs[a])
	return err == nil && (uint32(got) == nr || got < -100 && a == kernel.I386)
}

// runLibseccomp compiles one layer.
func runLibseccomp(rules layer, otherwise Action, abis []kernel.Arch) ([]Instruction, error) {
	failed := func(what string, err error) error {
		return fmt.Errorf("seccomp: compile policy with libseccomp %s: %s: %w", libseccompVersion(), what, err)
	}
	filter, err := libseccomp.NewFilter(libseccompAction(otherwise))
	if err != nil {
		return nil, failed("new filter", err)
	}
	defer filter.Release()
	if err := setArchs(filter, abis); err != nil {
		return nil, failed("set architectures", err)
	}
	// The tree came with 2.5. Without, the filter is as right, and slower.
	_ = filter.SetOptimize(2)
	for _, r := range rules {
		call, err := libseccomp.GetSyscallFromName(r.Names[0])
		if err != nil || r.Action == otherwise {
			continue // the prefix decides it; or it is what happens anyway
		}
		if len(r.Args) == 0 {
			err = filter.AddRule(call, libseccompAction(r.Action))
		} else {
			err = addConditional(filter, call, r)
		}
		if err != nil {
			return nil, failed("add a rule for "+r.Names[0], err)
		}
	}
	raw, err := export(filter)
	if err != nil {
		return nil, failed("export", err)
	}
	f, err := ReadRaw(raw)
	if err != nil {
		return nil, failed("read what it made", err)
	}
	return f.Instructions(), nil
}

// setArchs makes the filter one for exactly the ABIs: libseccomp starts with that of the machine.
func setArchs(filter *libseccomp.ScmpFilter, abis []kernel.Arch) error {
	native, err := libseccomp.GetNativeArch()
	if err != nil {
		return err
	}
	wanted := false
	for _, a := range abis {
		wanted = wanted || libseccompArchs[a] == native
		if err := filter.AddArch(libseccompArchs[a]); err != nil {
			return err
		}
	}
	if wanted {
		return nil
	}
	return filter.RemoveArch(native)
}

func addConditional(filter *libseccomp.ScmpFilter, call libseccomp.ScmpSyscall, r Rule) error {
	var conditions []libseccomp.ScmpCondition
	for _, a := range r.Args {
		op, values := libseccompOps[a.Op], []uint64{a.Value}
		if a.Mask != 0 {
			op, values = libseccomp.CompareMaskedEqual, []uint64{a.Mask, a.Value}
		}
		c, err := libseccomp.MakeCondition(uint(a.Index), op, values...)
		if err != nil {
			return err
		}
		conditions = append(conditions, c)
	}
	return filter.AddRuleConditional(call, libseccompAction(r.Action), conditions)
}

var libseccompOps = map[Op]libseccomp.ScmpCompareOp{
	Equal: libseccomp.CompareEqual, NotEqual: libseccomp.CompareNotEqual, Less: libseccomp.CompareLess,
	LessEqual: libseccomp.CompareLessOrEqual, Greater: libseccomp.CompareGreater,
	GreaterEqual: libseccomp.CompareGreaterEqual,
}

func libseccompAction(a Action) libseccomp.ScmpAction {
	data := int16(uint16(a.data()))
	switch a.kind() {
	case kindKillThread:
		return libseccomp.ActKillThread
	case kindTrap:
		return libseccomp.ActTrap
	case kindErrno:
		return libseccomp.ActErrno.SetReturnCode(data)
	case kindTrace:
		return libseccomp.ActTrace.SetReturnCode(data)
	case kindLog:
		return libseccomp.ActLog
	case kindNotify:
		return libseccomp.ActNotify
	case kindAllow:
		return libseccomp.ActAllow
	}
	return libseccomp.ActKillProcess
}

// export returns the program. libseccomp before 2.6 writes to descriptors only; a filter at its longest
// fits in a pipe.
func export(filter *libseccomp.ScmpFilter) ([]byte, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	err = filter.ExportBPF(w)
	if closeErr := w.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}
