package seccomp

// A graph holds the filter while it is built: an acyclic graph of instructions in which equal ones
// exist once, so that equal tails are shared however they came about.
type graph struct {
	nodes []vertex
	index map[vertex]node
	full  bool // maxNodes was reached: what was built since is meaningless
}

// A node is an index in graph.nodes. Node 0 exists in every graph and returns KillProcess.
type node int32

// maxNodes bounds the work on a policy that is too large: a filter cannot have more than
// MaxInstructions reachable nodes, and building leaves few unreachable ones.
const maxNodes = 8 * MaxInstructions

// A vertex is an instruction with the nodes that may follow it.
type vertex struct {
	code uint16
	k    uint32
	// yes is what follows a jump whose test holds, and any other instruction; no the other way out
	// of a jump.
	yes, no node
}

// A word is the offset of 32 bits in seccomp_data. Every supported ABI is little endian: the upper
// half of an argument follows the lower.
type word uint32

const (
	wordNr   word = 0
	wordArch word = 4
)

func wordLow(arg int) word  { return word(16 + 8*arg) }
func wordHigh(arg int) word { return word(20 + 8*arg) }

func newGraph() *graph {
	g := &graph{index: make(map[vertex]node, 256)}
	g.add(vertex{code: opReturn, k: retKillProcess})
	return g
}

func (g *graph) add(v vertex) node {
	if n, ok := g.index[v]; ok {
		return n
	}
	if len(g.nodes) >= maxNodes {
		g.full = true
		return 0
	}
	n := node(len(g.nodes))
	g.nodes = append(g.nodes, v)
	g.index[v] = n
	return n
}

func (g *graph) ret(a Action) node { return g.add(vertex{code: opReturn, k: a.ret()}) }

// readsAccumulator reports whether the node depends on what was loaded before it.
func (g *graph) readsAccumulator(n node) bool {
	c := g.nodes[n].code
	return c != opReturn && c != opLoad
}

// load puts a word in the accumulator, unless next does not look at it.
func (g *graph) load(w word, next node) node {
	if !g.readsAccumulator(next) {
		return next
	}
	return g.add(vertex{code: opLoad, k: uint32(w), yes: next})
}

// and masks the accumulator, unless next does not look at it.
func (g *graph) and(mask uint32, next node) node {
	if !g.readsAccumulator(next) {
		return next
	}
	return g.add(vertex{code: opAnd, k: mask, yes: next})
}

// test jumps on a comparison of the accumulator with k, unless both ways are the same.
func (g *graph) test(code uint16, k uint32, yes, no node) node {
	if yes == no {
		return yes
	}
	return g.add(vertex{code: code, k: k, yes: yes, no: no})
}
