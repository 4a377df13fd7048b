package seccomp

import "slices"

// maxOffset is how far a conditional jump reaches: its offsets have eight bits.
const maxOffset = 255

// An emitter lays a graph out from its end to its start: jumps go forward only, so that every
// target has its place before what jumps to it.
type emitter struct {
	g   *graph
	out []Instruction // in reverse
	// last is the index in out of the copy of a node that was laid out last, and so is nearest to
	// what comes next, or -1. It may be a jump to the node.
	last []int32
	// home is the index of the node itself.
	home []int32
}

// emit returns the instructions of the graph that is entered at root.
func (g *graph) emit(root node) ([]Instruction, error) {
	e := &emitter{g: g, last: make([]int32, len(g.nodes)), home: make([]int32, len(g.nodes))}
	for i := range e.last {
		e.last[i] = -1
	}
	e.out = make([]Instruction, 0, 256)
	e.lay(root)
	slices.Reverse(e.out)
	if len(e.out) > MaxInstructions {
		return nil, &TooLargeError{Instructions: len(e.out)}
	}
	return e.out, nil
}

// lay places a node after everything that follows it.
func (e *emitter) lay(n node) {
	if e.last[n] >= 0 {
		return
	}
	v := &e.g.nodes[n]
	switch v.code {
	case opReturn:
		e.put(n)
	case opLoad, opAnd:
		e.lay(v.yes)
		e.put(n)
	default:
		e.lay(v.no)
		e.lay(v.yes)
		e.put(n)
	}
}

// put appends one copy of a node whose followers have their places.
func (e *emitter) put(n node) {
	v := &e.g.nodes[n]
	in := Instruction{Code: v.code, K: v.k}
	switch v.code {
	case opReturn:
	case opLoad, opAnd:
		// These fall through to what follows. If that is elsewhere, a copy of it takes no more
		// room than a jump to it, and one step less to run.
		if int(e.last[v.yes]) != len(e.out)-1 {
			e.put(v.yes)
		}
	default:
		// A bridge for one way makes the other way longer, so look at both until both are near.
		for !e.near(v.yes) || !e.near(v.no) {
			if !e.near(v.yes) {
				e.bridge(v.yes)
			} else {
				e.bridge(v.no)
			}
		}
		in.JT, in.JF = e.offset(v.yes), e.offset(v.no)
	}
	e.last[n] = int32(len(e.out))
	e.home[n] = int32(len(e.out))
	e.out = append(e.out, in)
}

// near reports whether a jump placed next reaches the node.
func (e *emitter) near(n node) bool { return len(e.out)-int(e.last[n])-1 <= maxOffset }

// offset is that jump's offset. Preconditions: near.
func (e *emitter) offset(n node) uint8 { return uint8(len(e.out) - int(e.last[n]) - 1) }

// bridge puts a stand-in for a node that is out of reach: a copy of a return, else a long jump.
func (e *emitter) bridge(n node) {
	in := Instruction{Code: opReturn, K: e.g.nodes[n].k}
	if e.g.nodes[n].code != opReturn {
		in = Instruction{Code: opJump, K: uint32(len(e.out) - int(e.home[n]) - 1)}
	}
	e.last[n] = int32(len(e.out))
	e.out = append(e.out, in)
}
