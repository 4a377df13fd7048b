package seccomp

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// A Learner watches the calls of a program and makes the smallest policy that lets it do the same again.
// It never allows what its base refuses: such calls keep their refusal, in what is learned too. Its
// methods may be called by many goroutines.
type Learner struct {
	base   *Policy
	arch   kernel.Arch
	always []string

	mu   sync.Mutex
	seen map[string]*observation // by call
}

// observation is what was seen of one call: the decisions of the base, by the values that they may depend
// on, or by which a small policy tells one use of the call from another.
type observation struct {
	uses map[[6]uint64]Action
	many bool // there were more than are worth a rule each
}

// maxUses is how many values of a call are told apart. Beyond, they are no commands but data.
const maxUses = 24

// selectors are the arguments that say what a call does, where one call is many.
var selectors = map[string][]int{
	"ioctl": {1}, "fcntl": {1}, "fcntl64": {1}, "prctl": {0}, "arch_prctl": {0}, "personality": {0},
	"socket": {0, 1, 2}, "socketpair": {0, 1, 2}, "clone": {0}, "unshare": {0},
}

// wide are the selectors of which the kernel takes all 64 bits.
var wide = map[string]bool{"clone": true, "unshare": true}

// NewLearner returns a Learner for one architecture (a GOARCH). base, of which it keeps a copy, decides
// what the program may do meanwhile. always are calls that are not watched, since the program cannot start
// without them: base decides about them, and what is learned has its rules. The errors are
// [*PolicyError].
func NewLearner(base *Policy, arch string, always ...string) (*Learner, error) {
	if err := base.Validate(); err != nil {
		return nil, err
	}
	archs, err := parseArchs([]string{arch})
	if err != nil {
		return nil, err
	}
	var f faults
	for i, name := range always {
		if !known(name) {
			f.add(fmt.Sprintf("always[%d]", i), "%s", unknownName(name))
		}
	}
	if len(f) > 0 {
		return nil, f[0]
	}
	return &Learner{base: base.Clone(), arch: archs[0], always: slices.Clone(always), seen: map[string]*observation{}}, nil
}

// Watching returns the policy to run the program with: it asks about everything but the calls that are
// not watched. Whoever is asked passes the call to Record, and does what that returns.
func (l *Learner) Watching() *Policy {
	p := &Policy{Default: Notify, BadArch: l.base.BadArch, Unknown: Notify}
	p.Rules = l.unwatched()
	return p
}

// unwatched returns the rules of the calls that are not watched.
func (l *Learner) unwatched() []Rule {
	var rules []Rule
	for _, name := range l.always {
		rules = append(rules, rulesFor(l.base, name)...)
	}
	return rules
}

// rulesFor returns the rules of p for one call, down to the one that decides in any case.
func rulesFor(p *Policy, name string) []Rule {
	var rules []Rule
	for _, r := range p.Rules {
		if !slices.Contains(r.Names, name) {
			continue
		}
		rules = append(rules, Rule{Names: []string{name}, Args: slices.Clone(r.Args), Action: r.Action})
		if len(r.Args) == 0 {
			return rules
		}
	}
	return append(rules, Rule{Names: []string{name}, Action: p.Default})
}

// Record notes a call, and returns what the base decides about it.
func (l *Learner) Record(d Data) Action {
	action := l.base.Decide(d, string(l.arch))
	arch, ok := abi(d, []string{string(l.arch)})
	if !ok {
		return action // a foreign ABI, about which BadArch decides
	}
	name, ok := kernel.Name(arch, int(uint32(d.Nr)))
	if !ok {
		return action
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.seen[name]
	if o == nil {
		o = &observation{uses: map[[6]uint64]Action{}}
		l.seen[name] = o
	}
	if !o.many {
		o.uses[l.use(name, &d)] = action
		o.many = len(o.uses) > maxUses
	}
	return action
}

// use returns the arguments that tell one use of a call from another; the others are 0.
func (l *Learner) use(name string, d *Data) (use [6]uint64) {
	if len(selectors[name]) == 0 || !l.selects(name) {
		// Which rule of the base has decided is all that matters.
		for i, r := range rulesFor(l.base, name) {
			if r.matches(name, d) {
				use[0] = uint64(i)
				break
			}
		}
		return use
	}
	for _, i := range selectors[name] {
		use[i] = d.Args[i] & l.mask(name)
	}
	return use
}

// selects reports whether the base decides about a call by its selectors alone.
func (l *Learner) selects(name string) bool {
	for _, r := range rulesFor(l.base, name) {
		for _, a := range r.Args {
			if !slices.Contains(selectors[name], a.Index) {
				return false
			}
		}
	}
	return true
}

// mask returns the bits of a call's selectors that count: those that the kernel takes, and those that the
// base looks at.
func (l *Learner) mask(name string) uint64 {
	mask := uint64(Low32)
	if wide[name] {
		mask = ^uint64(0)
	}
	for _, r := range rulesFor(l.base, name) {
		for i := range r.Args {
			mask |= r.Args[i].mask()
		}
	}
	return mask
}

// Policy returns the smallest policy that decides as the base did about every call that was recorded, and
// kills for every other one, so that the Result of a sandbox names it. A use of ioctl, fcntl, prctl,
// socket and the like is told from another by the arguments that say what it is. A call that is newer
// than this package is refused with ENOSYS.
func (l *Learner) Policy() *Policy {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &Policy{Default: KillProcess, BadArch: l.base.BadArch}
	if u := l.base.Unknown; u.kind() == kindErrno {
		p.Unknown = u
	}
	plain := map[Action][]string{} // calls for which nothing is to be told apart
	for _, r := range l.unwatched() {
		if len(r.Args) == 0 {
			plain[r.Action] = append(plain[r.Action], r.Names...)
		} else {
			p.Rules = append(p.Rules, r)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.seen)) {
		if slices.Contains(l.always, name) {
			continue
		}
		for _, r := range l.rules(name, l.seen[name]) {
			if len(r.Args) == 0 && len(l.rules(name, l.seen[name])) == 1 {
				plain[r.Action] = append(plain[r.Action], name)
			} else {
				p.Rules = append(p.Rules, r)
			}
		}
	}
	for _, action := range slices.SortedFunc(maps.Keys(plain), byAction) {
		if action != p.Default {
			names := plain[action]
			slices.Sort(names)
			p.Rules = append(p.Rules, Rule{Names: slices.Compact(names), Action: action})
		}
	}
	return p
}

// byAction puts what is allowed first.
func byAction(a, b Action) int { return int(int64(b) - int64(a)) }

// rules returns the rules for one call.
func (l *Learner) rules(name string, o *observation) []Rule {
	selects := len(selectors[name]) > 0 && l.selects(name)
	base := rulesFor(l.base, name)
	switch {
	case selects && !o.many:
		return l.selected(name, o)
	case len(base) == 1:
		return base
	case selects:
		return base // every decision of the base, since nobody can tell which values come next
	}
	var rules []Rule
	for _, use := range slices.SortedFunc(maps.Keys(o.uses), compareUses) {
		r, ok := without(base, int(use[0]))
		if !ok {
			return base
		}
		rules = append(rules, r)
	}
	return rules
}

// selected returns a rule for each use that was seen.
func (l *Learner) selected(name string, o *observation) []Rule {
	var rules []Rule
	mask := l.mask(name)
	if mask == ^uint64(0) {
		mask = 0 // which says the same
	}
	for _, use := range slices.SortedFunc(maps.Keys(o.uses), compareUses) {
		r := Rule{Names: []string{name}, Action: o.uses[use]}
		for _, i := range selectors[name] {
			r.Args = append(r.Args, Arg{Index: i, Op: Equal, Value: use[i], Mask: mask})
		}
		rules = append(rules, r)
	}
	return rules
}

func compareUses(a, b [6]uint64) int { return slices.Compare(a[:], b[:]) }

// without returns rule i of base in a form that needs none of those before it: with the contrary of each
// as a condition. That can be said only of rules with one condition.
func without(base []Rule, i int) (Rule, bool) {
	r := base[i]
	r.Args = slices.Clone(r.Args)
	for _, before := range base[:i] {
		if len(before.Args) != 1 {
			return Rule{}, false
		}
		a := before.Args[0]
		contrary := map[Op]Op{Equal: NotEqual, NotEqual: Equal, Less: GreaterEqual, GreaterEqual: Less, Greater: LessEqual, LessEqual: Greater}
		a.Op = contrary[a.Op]
		r.Args = append(r.Args, a)
	}
	return r, true
}
