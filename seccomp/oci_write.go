package seccomp

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// The OCI form of a profile, as it is written: no includes, excludes or archMap, since a Policy has
// decided them.
type (
	ociProfile struct {
		DefaultAction    string       `json:"defaultAction"`
		DefaultErrnoRet  *uint32      `json:"defaultErrnoRet,omitempty"`
		Architectures    []string     `json:"architectures,omitempty"`
		Flags            []string     `json:"flags,omitempty"`
		ListenerPath     string       `json:"listenerPath,omitempty"`
		ListenerMetadata string       `json:"listenerMetadata,omitempty"`
		Syscalls         []ociSyscall `json:"syscalls,omitempty"`
	}
	ociSyscall struct {
		Names    []string `json:"names"`
		Action   string   `json:"action"`
		ErrnoRet *uint32  `json:"errnoRet,omitempty"`
		Args     []ociArg `json:"args,omitempty"`
	}
	ociArg struct {
		Index    uint   `json:"index"`
		Value    uint64 `json:"value"`
		ValueTwo uint64 `json:"valueTwo,omitempty"`
		Op       string `json:"op"`
	}
)

// WriteOCI returns the profile in the JSON form of the OCI runtime specification, with the meaning
// that ReadOCI gives it back. The form knows no order of rules, so it cannot say everything that a
// Policy can; what it cannot say is a [*PolicyError], never left out:
//
//   - exceptions: a call that is allowed, or refused otherwise than by default, but for some
//     arguments
//   - conditions that overlap and have different actions
//   - two conditions on one argument, and masks with another comparison than Equal and NotEqual
//   - an Unknown other than ENOSYS, a BadArch that does not kill
//
// Use [Policy.MarshalText] to keep any policy.
func (pr *Profile) WriteOCI() ([]byte, error) {
	if err := pr.Policy.Validate(); err != nil {
		return nil, err
	}
	p := ociPolicy(pr.Policy)
	var f faults
	out := ociProfile{Flags: pr.Flags, ListenerPath: pr.ListenerPath, ListenerMetadata: pr.ListenerMetadata}
	out.DefaultAction, out.DefaultErrnoRet = scmpNames(p.Default)
	if p.unknown() != Errno(eNOSYS) {
		f.add("Unknown", "%s: the OCI form cannot say it, and readers assume errno(ENOSYS)", p.Unknown)
	}
	if b := p.badArch(); b != KillProcess && b != KillThread {
		f.add("BadArch", "%s: the OCI form cannot say it, and readers kill", p.BadArch)
	}
	for i, arch := range pr.Archs {
		scmp, ok := scmpArchs[arch]
		if !ok {
			f.add(fmt.Sprintf("Archs[%d]", i), "%q: want one of %v", arch, slices.Sorted(maps.Keys(scmpArchs)))
		}
		out.Architectures = append(out.Architectures, scmp)
	}
	byRule := ociNames(p, &f)
	for i := range p.Rules {
		if len(byRule[i]) == 0 {
			continue
		}
		call := ociSyscall{Names: byRule[i], Args: ociArgs(&p.Rules[i], i, &f)}
		call.Action, call.ErrnoRet = scmpNames(p.Rules[i].Action)
		out.Syscalls = append(out.Syscalls, call)
	}
	if len(f) > 0 {
		return nil, errors.Join(f...)
	}
	text, err := json.MarshalIndent(out, "", "\t")
	return append(text, '\n'), err
}

// ociPolicy returns p with rules that the form can say for those with a masked NotEqual: one for each bit
// of the mask, for numbers differ if they do in one bit or another. The places of other rules stay as
// they are in messages only if they stand before.
func ociPolicy(p *Policy) *Policy {
	expanded := *p
	expanded.Rules = nil
	for _, r := range p.Rules {
		expanded.Rules = append(expanded.Rules, splitNotEqual(r)...)
	}
	return &expanded
}

// splitNotEqual returns rules of which one matches whenever r does, and none otherwise.
func splitNotEqual(r Rule) []Rule {
	i := slices.IndexFunc(r.Args, func(a Arg) bool { return a.Op == NotEqual && a.Mask != 0 })
	if i < 0 {
		return []Rule{r}
	}
	var rules []Rule
	for bit := uint64(1); bit != 0; bit <<= 1 {
		a := r.Args[i]
		if a.Mask&bit == 0 {
			continue
		}
		split := r
		split.Args = slices.Clone(r.Args)
		split.Args[i] = Arg{Index: a.Index, Op: Equal, Value: ^a.Value & bit, Mask: bit}
		rules = append(rules, splitNotEqual(split)...)
		if len(rules) > MaxInstructions {
			return []Rule{r} // no filter has room for it: said as it is, it is refused with its place
		}
	}
	return rules
}

// scmpNames returns an action's name and number in the OCI form.
func scmpNames(a Action) (string, *uint32) {
	data := a.data()
	switch a.kind() {
	case kindKillProcess:
		return "SCMP_ACT_KILL_PROCESS", nil
	case kindKillThread:
		return "SCMP_ACT_KILL_THREAD", nil
	case kindTrap:
		return "SCMP_ACT_TRAP", nil
	case kindErrno:
		return "SCMP_ACT_ERRNO", &data
	case kindTrace:
		return "SCMP_ACT_TRACE", &data
	case kindLog:
		return "SCMP_ACT_LOG", nil
	case kindNotify:
		return "SCMP_ACT_NOTIFY", nil
	}
	return "SCMP_ACT_ALLOW", nil
}

// ociNames returns for each rule the calls for which it is written.
func ociNames(p *Policy, f *faults) [][]string {
	chains := map[string][]int{} // the rules that can decide a call, the last perhaps without conditions
	var order []string
	for i := range p.Rules {
		for _, name := range p.Rules[i].Names {
			chain, seen := chains[name]
			if !seen {
				order = append(order, name)
			}
			if n := len(chain); n == 0 || len(p.Rules[chain[n-1]].Args) > 0 && chain[n-1] != i {
				chains[name] = append(chain, i)
			}
		}
	}
	byRule := make([][]string, len(p.Rules))
	for _, name := range order {
		for _, i := range ociChain(p, name, chains[name], f) {
			byRule[i] = append(byRule[i], name)
		}
	}
	return byRule
}

// ociChain returns those rules of a call that say the same without an order.
func ociChain(p *Policy, name string, chain []int, f *faults) []int {
	end := p.Default
	last := chain[len(chain)-1]
	if len(p.Rules[last].Args) == 0 {
		end = p.Rules[last].Action
		chain = chain[:len(chain)-1]
	}
	// A condition that leads to what would happen anyway, with none after it that leads elsewhere.
	for len(chain) > 0 && p.Rules[chain[len(chain)-1]].Action == end {
		chain = chain[:len(chain)-1]
	}
	field := func(i int) string { return fmt.Sprintf("Rules[%d]", i) }
	switch {
	case len(chain) == 0 && end == p.Default:
		return nil
	case len(chain) == 0:
		return []int{last}
	case end != p.Default:
		f.add(field(chain[0]), "is an exception to Rules[%d] for %s, which the OCI form cannot say", last, name)
		return nil
	}
	var written []int
	for n, i := range chain {
		for _, j := range chain[:n] {
			if p.Rules[i].Action != p.Rules[j].Action && !disjoint(p.Rules[i].Args, p.Rules[j].Args) {
				f.add(field(i), "overlaps Rules[%d] for %s with another action: the OCI form has no order of rules", j, name)
				return nil
			}
		}
		if p.Rules[i].Action != end {
			written = append(written, i)
		}
	}
	return written
}

func ociArgs(r *Rule, i int, f *faults) []ociArg {
	var args []ociArg
	seen := [6]bool{}
	for j, a := range r.Args {
		if seen[a.Index] {
			f.add(fmt.Sprintf("Rules[%d].Args[%d].Index", i, j), "%d has a condition already, which the OCI form cannot say", a.Index)
		}
		seen[a.Index] = true
		arg := ociArg{Index: uint(a.Index), Value: a.Value}
		for name, op := range scmpOps {
			if op == a.Op {
				arg.Op = name
			}
		}
		switch {
		case a.Mask != 0 && a.Op != Equal:
			f.add(fmt.Sprintf("Rules[%d].Args[%d].Mask", i, j), "the OCI form has masks for Equal only")
		case a.Mask != 0:
			arg.Op, arg.Value, arg.ValueTwo = "SCMP_CMP_MASKED_EQ", a.Mask, a.Value
		}
		args = append(args, arg)
	}
	return args
}
