package seccomp

import (
	"fmt"
	"slices"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// A Filter is a program that the kernel would take, from [Policy.Compile], [NewFilter] or
// [ReadRaw]. It does not change. The zero Filter has no instructions and kills every process in
// [Filter.Eval].
type Filter struct {
	insns []Instruction
	archs []kernel.Arch // those it was compiled for; nil if not known
}

// Instructions returns a copy of the program, laid out as the array in struct sock_fprog.
func (f *Filter) Instructions() []Instruction { return slices.Clone(f.insns) }

// Len returns the number of instructions.
func (f *Filter) Len() int { return len(f.insns) }

// Archs returns the architectures that the filter was compiled for, nil if it came from elsewhere.
func (f *Filter) Archs() []string {
	var names []string
	for _, a := range f.archs {
		names = append(names, string(a))
	}
	return names
}

// A FilterError says why the kernel would refuse a program.
type FilterError struct {
	Index  int // of the instruction; -1: the program as a whole
	Reason string
}

func (e *FilterError) Error() string {
	if e.Index < 0 {
		return "seccomp: filter: " + e.Reason
	}
	return fmt.Sprintf("seccomp: filter: instruction %d: %s", e.Index, e.Reason)
}

// NewFilter returns the filter with these instructions, of which it keeps a copy. The error is a
// [*FilterError] if the kernel would refuse them (bpf_check_classic in net/core/filter.c,
// seccomp_check_filter in kernel/seccomp.c). It establishes that: every run of the program ends, in
// at most as many steps as it has instructions, with a return.
func NewFilter(insns []Instruction) (*Filter, error) {
	f := &Filter{insns: slices.Clone(insns)}
	if len(insns) == 0 || len(insns) > MaxInstructions {
		return nil, &FilterError{Index: -1, Reason: fmt.Sprintf("%d instructions: want 1 to %d", len(insns), MaxInstructions)}
	}
	for i, in := range f.insns {
		if reason := in.check(len(insns) - i - 1); reason != "" {
			return nil, &FilterError{Index: i, Reason: reason}
		}
	}
	if last := len(insns) - 1; f.insns[last].Code&classMask != classRET {
		return nil, &FilterError{Index: last, Reason: "the last is not a return"}
	}
	if i := readsUnsetMemory(f.insns); i >= 0 {
		return nil, &FilterError{Index: i, Reason: "reads scratch memory that a path to it did not write"}
	}
	return f, nil
}

// check returns what is wrong with an instruction that has rest others after it, or "".
func (in Instruction) check(rest int) string {
	switch in.Code {
	case opLoad:
		if in.K >= dataSize || in.K%4 != 0 {
			return fmt.Sprintf("loads offset %d: want a multiple of 4 below %d", in.K, dataSize)
		}
	case opLoadLen, opLoadXLen, opLoadImm, opLoadXImm, opReturn, opReturnA, opCopyToX, opCopyFromX, opNegate:
	case opLoadMem, opLoadXMem, opStore, opStoreX:
		if in.K >= memoryWords {
			return fmt.Sprintf("uses scratch word %d of %d", in.K, memoryWords)
		}
	case opJump:
		if uint64(in.K) >= uint64(rest) {
			return "jumps past the end"
		}
	default:
		return in.checkOperation(rest)
	}
	return ""
}

// checkOperation checks the conditional jumps and the arithmetic.
func (in Instruction) checkOperation(rest int) string {
	switch in.Code &^ sourceX {
	case jumpEqual, jumpGreater, jumpGreaterEqual, jumpSet:
		if int(in.JT) >= rest || int(in.JF) >= rest {
			return "jumps past the end"
		}
		return ""
	case classALU | aluAdd, classALU | aluSub, classALU | aluMul, classALU | aluOr, classALU | aluAnd, classALU | aluXor:
		return ""
	case classALU | aluDiv:
		if in.Code&sourceX == 0 && in.K == 0 {
			return "divides by zero"
		}
		return ""
	case classALU | aluLsh, classALU | aluRsh:
		if in.Code&sourceX == 0 && in.K >= 32 {
			return fmt.Sprintf("shifts by %d of 32 bits", in.K)
		}
		return ""
	}
	return fmt.Sprintf("the operation %#02x is not one that seccomp(2) takes", in.Code)
}

// readsUnsetMemory returns the first instruction that reads a scratch word which not every path to
// it has written, or -1 (check_load_and_stores in net/core/filter.c). Preconditions: jumps are in
// range.
func readsUnsetMemory(insns []Instruction) int {
	// written[i] has a bit for each word that every jump to i has written.
	written := make([]uint16, len(insns))
	for i := range written {
		written[i] = 0xffff
	}
	valid := uint16(0)
	for i, in := range insns {
		valid &= written[i]
		switch in.Code & classMask {
		case classST, classSTX:
			valid |= 1 << in.K
		case classLD, classLDX:
			if (in.Code == opLoadMem || in.Code == opLoadXMem) && valid&(1<<in.K) == 0 {
				return i
			}
		case classJMP:
			if in.Code == opJump {
				written[i+1+int(in.K)] &= valid
			} else {
				written[i+1+int(in.JT)] &= valid
				written[i+1+int(in.JF)] &= valid
			}
			valid = 0xffff
		case classRET:
			valid = 0xffff
		}
	}
	return -1
}
