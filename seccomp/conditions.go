package seccomp

// A ruleCompiler turns the rules of one call into a graph. It works from the first rule to the last:
// when a condition fails, the next rule is tried with what is known by then.
type ruleCompiler struct {
	g        *graph
	policy   *Policy
	useFacts bool

	// Of the call that is being compiled.
	rules []int
	memo  map[place]node
	spent int // nodes asked for with facts
}

// A place is a point in the rules of a call, with what is known there. Equal places are compiled
// once, which bounds the work: without facts there are few of them.
type place struct {
	rule, arg int
	low       bool // the upper half of the argument is decided, the lower is next
	state
}

// A state is what is known at a point in the filter.
type state struct {
	loaded word // the word in the accumulator, noWord if none that matters
	facts  facts
}

const noWord word = 0xffff

// facts are what the tests on the way to a place have told of the arguments.
type facts struct {
	// halves bounds each half of each argument: [2*i] the lower half of argument i, [2*i+1] the upper.
	halves [12]bounds
	// not are the first values that a half does not have, n of them.
	not [maxNot]exclusion
	n   uint8
}

type bounds struct{ min, max uint32 }

type exclusion struct {
	w word
	k uint32
}

// maxNot is enough for a choice between a few values, such as the families of sockets.
const maxNot = 6

// factBudget is how many places of one call may be compiled with facts; beyond, a policy has so
// many conditions that sharing code is worth more.
const factBudget = 256

func newRuleCompiler(g *graph, p *Policy, useFacts bool) *ruleCompiler {
	return &ruleCompiler{g: g, policy: p, useFacts: useFacts}
}

// decision returns the graph that decides a call by its rules. It is entered with the number of the
// call in the accumulator.
func (c *ruleCompiler) decision(rules []int) node {
	if len(rules) == 0 {
		return c.g.ret(c.policy.Default)
	}
	if first := &c.policy.Rules[rules[0]]; len(first.Args) == 0 {
		return c.g.ret(first.Action)
	}
	start := state{loaded: noWord}
	for i := range start.facts.halves {
		start.facts.halves[i].max = ^uint32(0)
	}
	c.rules, c.spent = rules, 0
	c.memo = make(map[place]node)
	n := c.at(place{state: start})
	if c.spent > factBudget && c.useFacts {
		c.useFacts = false
		c.memo = make(map[place]node)
		n = c.at(place{state: start})
		c.useFacts = true
	}
	return n
}

// at compiles what follows a place.
func (c *ruleCompiler) at(p place) node {
	if p.rule == len(c.rules) {
		return c.g.ret(c.policy.Default)
	}
	rule := &c.policy.Rules[c.rules[p.rule]]
	if p.arg == len(rule.Args) {
		return c.g.ret(rule.Action)
	}
	if n, ok := c.memo[p]; ok {
		return n
	}
	c.spent++
	if c.spent > maxNodes {
		c.g.full = true
	}
	if c.useFacts && c.spent > factBudget || c.g.full {
		return 0 // decision starts again without facts, or the whole policy is too large
	}
	n := c.condition(p, &rule.Args[p.arg])
	c.memo[p] = n
	return n
}

// condition compiles one condition. It establishes: yes is entered if and only if the condition
// holds, whatever bits the argument has.
func (c *ruleCompiler) condition(p place, arg *Arg) node {
	yes := func(s state) node { return c.at(place{rule: p.rule, arg: p.arg + 1, state: s}) }
	no := func(s state) node { return c.at(place{rule: p.rule + 1, state: s}) }
	value, mask := arg.Value, arg.mask()
	high, low := uint32(value>>32), uint32(value)
	highMask, lowMask := uint32(mask>>32), uint32(mask)

	op := arg.Op
	switch op { // a < b is !(a >= b), and so on: three operators are left
	case NotEqual:
		op, yes, no = Equal, no, yes
	case Less:
		op, yes, no = GreaterEqual, no, yes
	case LessEqual:
		op, yes, no = Greater, no, yes
	}
	code := uint16(jumpEqual)
	switch op {
	case Greater:
		code = jumpGreater
	case GreaterEqual:
		code = jumpGreaterEqual
	}
	lowHalf := func(s state) node {
		return c.compare(s, wordLow(arg.Index), lowMask, code, low, yes, no)
	}
	if p.low {
		return lowHalf(p.state)
	}
	// The upper half decides, unless it is equal: then the lower one does.
	equalHigh := func(s state) node {
		return c.at(place{rule: p.rule, arg: p.arg, low: true, state: s})
	}
	if code == jumpEqual {
		return c.compare(p.state, wordHigh(arg.Index), highMask, jumpEqual, high, equalHigh, no)
	}
	return c.compare(p.state, wordHigh(arg.Index), highMask, jumpGreater, high, yes, func(s state) node {
		return c.compare(s, wordHigh(arg.Index), highMask, jumpEqual, high, equalHigh, no)
	})
}

// compare compiles a test of one masked word, with what is known taken into account.
func (c *ruleCompiler) compare(s state, w word, mask uint32, code uint16, k uint32, yes, no func(state) node) node {
	f := *s.facts.of(w)
	switch {
	case f.min == f.max:
		f.min &= mask
		f.max = f.min
	case mask != ^uint32(0):
		f = bounds{0, mask} // as far as anybody knows
	case code == jumpEqual && s.facts.excludes(w, k):
		return no(s)
	}
	switch code {
	case jumpEqual:
		if f.min == f.max && f.min == k {
			return yes(s)
		}
		if k < f.min || k > f.max {
			return no(s)
		}
	case jumpGreater:
		if f.min > k {
			return yes(s)
		}
		if f.max <= k {
			return no(s)
		}
	case jumpGreaterEqual:
		if f.min >= k {
			return yes(s)
		}
		if f.max < k {
			return no(s)
		}
	}
	if mask != ^uint32(0) {
		return c.masked(s, w, mask, code, k, yes, no)
	}
	after := s
	after.loaded = w
	t, e := after, after
	if c.useFacts {
		t.facts.learn(w, code, k, true)
		e.facts.learn(w, code, k, false)
	}
	return c.loaded(s, w, c.g.test(code, k, yes(t), no(e)))
}

// masked compiles a test of some bits of a word.
func (c *ruleCompiler) masked(s state, w word, mask uint32, code uint16, k uint32, yes, no func(state) node) node {
	after := s
	after.loaded = w
	switch {
	case code == jumpEqual && k == 0:
		// One instruction for "none of these bits", which leaves the word in place.
		return c.loaded(s, w, c.g.test(jumpSet, mask, no(after), yes(after)))
	case code == jumpEqual && k == mask && mask&(mask-1) == 0:
		return c.loaded(s, w, c.g.test(jumpSet, mask, yes(after), no(after)))
	}
	after.loaded = noWord
	return c.loaded(s, w, c.g.and(mask, c.g.test(code, k, yes(after), no(after))))
}

// loaded puts the word in the accumulator unless it is there.
func (c *ruleCompiler) loaded(s state, w word, n node) node {
	if s.loaded == w {
		return n
	}
	return c.g.load(w, n)
}

func (f *facts) of(w word) *bounds { return &f.halves[(w-wordLow(0))/4] }

func (f *facts) excludes(w word, k uint32) bool {
	for _, not := range f.not[:f.n] {
		if not.w == w && not.k == k {
			return true
		}
	}
	return false
}

// learn narrows the bounds of a word by the outcome of a test.
func (f *facts) learn(w word, code uint16, k uint32, holds bool) {
	b := f.of(w)
	switch {
	case code == jumpEqual && holds:
		b.min, b.max = k, k
	case code == jumpEqual && b.min == k:
		b.min++
	case code == jumpEqual && b.max == k:
		b.max--
	case code == jumpEqual && f.n < maxNot:
		f.not[f.n] = exclusion{w, k}
		f.n++
	case code == jumpEqual:
	case code == jumpGreater && holds:
		b.min = max(b.min, k+1)
	case code == jumpGreater:
		b.max = min(b.max, k)
	case code == jumpGreaterEqual && holds:
		b.min = max(b.min, k)
	case code == jumpGreaterEqual:
		b.max = min(b.max, k-1)
	}
}
