package seccomp

import "github.com/ringfence-go/ringfence/internal/kernel"

// A segment is a run of call numbers with one decision, from start to the start of the next.
type segment struct {
	start uint32
	do    node // entered with the number in the accumulator
}

// segments returns the runs of one ABI's table, in order, holes included.
func segments(g *graph, rules *ruleCompiler, perCall [][]int, a kernel.Arch) []segment {
	return runs(g, rules.policy, a, func(i int) node { return rules.decision(perCall[i]) })
}

// runs merges the decisions on the lines of a table, and puts Unknown into the holes.
func runs(g *graph, p *Policy, a kernel.Arch, decide func(line int) node) []segment {
	unknown := g.ret(p.unknown())
	var out []segment
	add := func(start uint32, do node) {
		if n := len(out); n == 0 || out[n-1].do != do {
			out = append(out, segment{start, do})
		}
	}
	next := uint32(0)
	if a == kernel.X32 {
		next = kernel.X32Bit
	}
	for i := range a.Len() {
		nr, _ := a.At(i)
		if nr != next {
			add(next, unknown)
		}
		add(nr, decide(i))
		next = nr + 1
	}
	add(next, unknown)
	return out
}

// completed extends the segments of one audit architecture to all 2^32 numbers. The ABIs of x86-64
// halve them at bit 30; the one that is not compiled is foreign. Number -1, which a tracer uses to
// skip a call, belongs to none.
func completed(g *graph, p *Policy, group []kernel.Arch, numbers []segment) []segment {
	if a := group[0]; a != kernel.AMD64 && a != kernel.X32 {
		return numbers
	}
	foreign := g.ret(p.badArch())
	if len(group) == 1 && group[0] == kernel.X32 {
		numbers = append([]segment{{0, foreign}}, numbers...)
	}
	if len(group) == 1 && group[0] == kernel.AMD64 {
		numbers = append(numbers, segment{kernel.X32Bit, foreign})
	}
	if len(group) == 2 && group[0] == kernel.X32 {
		half := 0
		for numbers[half].start != 0 {
			half++
		}
		numbers = append(numbers[half:len(numbers):len(numbers)], numbers[:half]...)
	}
	return append(numbers, segment{^uint32(0), g.ret(p.unknown())})
}

// maxSingles is how many equality tests follow each other at a leaf of the search tree.
const maxSingles = 2

// searchTree returns a balanced tree of comparisons over the runs. Preconditions: the first starts
// at 0, starts ascend.
func searchTree(g *graph, numbers []segment) node {
	// With both ABIs of x86-64 compiled, the first test tells them apart, whichever has more runs.
	for i := range numbers {
		if numbers[i].start == kernel.X32Bit && len(numbers)-i > 2 {
			return g.test(jumpGreaterEqual, kernel.X32Bit,
				bisect(g, foldSingles(g, numbers[i:])), bisect(g, foldSingles(g, numbers[:i])))
		}
	}
	return bisect(g, foldSingles(g, numbers))
}

// foldSingles merges runs that are equal but for single numbers between them: "a call in the midst
// of allowed ones" takes one test for equality instead of two for order.
func foldSingles(g *graph, in []segment) []segment {
	var out []segment
	for i := 0; i < len(in); {
		s, singles := in[i], 0
		for singles < maxSingles && i+2*singles+2 < len(in) {
			single, after := in[i+2*singles+1], in[i+2*singles+2]
			if after.do != in[i].do || after.start != single.start+1 {
				break
			}
			s.do = g.test(jumpEqual, single.start, single.do, s.do)
			singles++
		}
		out = append(out, s)
		i += 2*singles + 1
	}
	return out
}

func bisect(g *graph, runs []segment) node {
	if len(runs) == 1 {
		return runs[0].do
	}
	mid := len(runs) / 2
	return g.test(jumpGreaterEqual, runs[mid].start, bisect(g, runs[mid:]), bisect(g, runs[:mid]))
}
