//go:build seccomp && cgo && linux

package seccomp

import (
	"fmt"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// maxPoints bounds how many combinations of arguments are tried for one call.
const maxPoints = 1 << 10

// verify compares what libseccomp made with the policy: every call of every table, and for calls with
// conditions the values next to those of the conditions, in all combinations up to maxPoints.
func verify(p *Policy, f *Filter) error {
	for _, a := range f.archs {
		perCall := assignRules(p, a)
		for i, rules := range perCall {
			nr, name := a.At(i)
			d := Data{Nr: int32(nr), Arch: a.AuditArch()}
			if err := verifyCall(p, f, rules, d, name, a); err != nil {
				return err
			}
		}
	}
	return nil
}

func verifyCall(p *Policy, f *Filter, rules []int, d Data, name string, a kernel.Arch) error {
	values := interesting(p, rules)
	points := 1
	for _, v := range values {
		points *= len(v)
	}
	step := 1
	if points > maxPoints {
		step = points/maxPoints | 1 // odd, to meet different values of each argument
	}
	for point := 0; point < points; point += step {
		rest := point
		for i, v := range values {
			d.Args[i] = v[rest%len(v)]
			rest /= len(v)
		}
		if halfArgs(a) {
			lowHalves(&d)
		}
		if got, want := f.Eval(d), p.decideBy(rules, &d); got != want {
			return fmt.Errorf("seccomp: compile policy with libseccomp %s: it makes %s of %s(%#x) on %s, where the policy says %s: "+
				"build without the tag seccomp", libseccompVersion(), got, name, d.Args, a, want)
		}
	}
	return nil
}

// halfArgs reports whether libseccomp looks at the lower halves of arguments only: on ABIs of 32 bits,
// where the upper ones are always 0, and on x32, where they need not be. That makes it weaker there
// than the policy says, as in every program that uses libseccomp; the documentation of the package
// says so.
func halfArgs(a kernel.Arch) bool { return a == kernel.I386 || a == kernel.ARM || a == kernel.X32 }

func lowHalves(d *Data) {
	for i := range d.Args {
		d.Args[i] &= Low32
	}
}

// decideBy is Decide for a call whose rules are known.
func (p *Policy) decideBy(rules []int, d *Data) Action {
	for _, r := range rules {
		holds := true
		for i := range p.Rules[r].Args {
			holds = holds && p.Rules[r].Args[i].holds(d)
		}
		if holds {
			return p.Rules[r].Action
		}
	}
	return p.Default
}

// interesting returns for each argument the values to try.
func interesting(p *Policy, rules []int) [6][]uint64 {
	var values [6][]uint64
	seen := [6]map[uint64]bool{}
	for i := range values {
		values[i] = []uint64{0}
		seen[i] = map[uint64]bool{0: true}
	}
	for _, r := range rules {
		for _, a := range p.Rules[r].Args {
			for _, v := range []uint64{a.Value, a.Value - 1, a.Value + 1, a.Value + 1<<32, a.Value - 1<<32, a.Value | ^a.mask(), ^uint64(0)} {
				if !seen[a.Index][v] {
					seen[a.Index][v] = true
					values[a.Index] = append(values[a.Index], v)
				}
			}
		}
	}
	return values
}
