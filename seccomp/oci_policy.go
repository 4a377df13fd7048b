package seccomp

import (
	"errors"
	"slices"
)

// profile gives the rules of a document the order that a Policy needs: of those on one call, the
// last without conditions counts, else those with.
func (r *ociReader) profile() (*Profile, error) {
	final := map[string]int{} // the last rule without conditions, by call
	for i := range r.rules {
		if rule := &r.rules[i]; len(rule.Args) == 0 && rule.Action != r.deflt {
			for _, name := range rule.Names {
				final[name] = i
			}
		}
	}
	p := &Policy{Default: r.deflt, BadArch: KillProcess}
	conditional := map[string][]int{}
	var late []Rule
	for i := range r.rules {
		rule := r.rules[i].Rule
		if rule.Action == r.deflt {
			continue
		}
		rule.Names = nil
		seen := map[string]bool{}
		for _, name := range r.rules[i].Names {
			last, decided := final[name]
			switch {
			case seen[name]:
				continue
			case len(rule.Args) > 0 && !decided:
				r.checkOverlap(name, i, conditional[name])
				conditional[name] = append(conditional[name], i)
			case len(rule.Args) > 0 || last != i:
				continue
			}
			rule.Names = append(rule.Names, name)
			seen[name] = true
		}
		switch {
		case len(rule.Names) == 0:
		case len(rule.Args) == 0:
			p.Rules = append(p.Rules, rule)
		default:
			late = append(late, rule)
		}
	}
	p.Rules = append(p.Rules, late...)
	if len(*r.f) > 0 {
		return nil, errors.Join(*r.f...)
	}
	r.out.Policy = p
	r.out.Archs = []string{r.host.Arch}
	for _, arch := range append(r.listed, r.mapped...) {
		if !slices.Contains(r.out.Archs, arch) {
			r.out.Archs = append(r.out.Archs, arch)
		}
	}
	if err := p.Validate(); err != nil {
		return nil, err
	}
	return &r.out, nil
}

// checkOverlap reports conditions on one call that can hold at once with different actions.
func (r *ociReader) checkOverlap(name string, i int, earlier []int) {
	if len(earlier) > MaxInstructions {
		r.f.add(r.rules[i].path, "is one of more than %d rules with conditions on %s, which no filter can hold", MaxInstructions, name)
		return
	}
	for _, j := range earlier {
		if r.rules[i].Action != r.rules[j].Action && !disjoint(r.rules[i].Args, r.rules[j].Args) {
			r.f.add(r.rules[i].path, "and %s have conditions on %s that can hold at once: which action wins depends on libseccomp",
				r.rules[j].String(), name)
			return
		}
	}
}

// disjoint reports whether no call can meet both lists of conditions. It may say no of some that
// are.
func disjoint(a, b []Arg) bool {
	for i := range a {
		for j := range b {
			if a[i].Index == b[j].Index && a[i].mask() == b[j].mask() && excludes(&a[i], &b[j]) {
				return true
			}
		}
	}
	return false
}

// excludes reports whether no value of the argument meets both conditions.
func excludes(a, b *Arg) bool {
	aMin, aMax, aOK := interval(a)
	bMin, bMax, bOK := interval(b)
	if aOK && bOK {
		return aMin > bMax || bMin > aMax
	}
	return a.Value == b.Value && (a.Op == NotEqual && b.Op == Equal || a.Op == Equal && b.Op == NotEqual)
}

// interval returns the masked values that meet a condition, if they are one interval.
func interval(a *Arg) (least, most uint64, ok bool) {
	const greatest = ^uint64(0)
	switch a.Op {
	case Equal:
		return a.Value, a.Value, true
	case Less:
		return 0, a.Value - 1, a.Value > 0
	case LessEqual:
		return 0, a.Value, true
	case Greater:
		return a.Value + 1, greatest, a.Value < greatest
	case GreaterEqual:
		return a.Value, greatest, true
	}
	return 0, 0, false
}
