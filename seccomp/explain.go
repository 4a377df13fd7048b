package seccomp

import (
	"fmt"
	"strings"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// Explain prints the filter, one instruction a line, with the names of calls, what is compared, and
// where jumps go:
//
//	0  load arch
//	1  if arch == amd64 goto 2 else 7
//	2  load nr
//	3  if nr >= 1 (write) goto 5 else 4
//
// It works for filters from elsewhere, too: names are given where every path to an instruction
// tested for the same architecture.
func (f *Filter) Explain() string {
	known := f.trace()
	var b strings.Builder
	for i, in := range f.insns {
		fmt.Fprintf(&b, "%4d  %s\n", i, in.explain(i, known[i]))
	}
	return b.String()
}

// knowledge is what holds at an instruction on every path to it.
type knowledge struct {
	reached bool
	a       string      // what the accumulator holds, "a" if unclear
	arch    kernel.Arch // the ABI of the call, "" if unclear
}

// trace follows the paths through the program, which go forward only.
func (f *Filter) trace() []knowledge {
	known := make([]knowledge, len(f.insns))
	flow := func(to int, k knowledge) {
		if to >= len(known) {
			return
		}
		if old := known[to]; old.reached {
			if old.a != k.a {
				k.a = "a"
			}
			if old.arch != k.arch {
				k.arch = ""
			}
		}
		k.reached = true
		known[to] = k
	}
	if len(known) > 0 {
		flow(0, knowledge{a: "a"})
	}
	for i, in := range f.insns {
		k := known[i]
		if !k.reached {
			continue
		}
		switch in.Code & classMask {
		case classRET:
			continue
		case classLD:
			k.a = in.loads()
		case classALU, classMISC:
			k.a = in.changes(k.a)
		}
		if in.Code == opJump {
			flow(i+1+int(in.K), k)
			continue
		}
		if in.Code&classMask != classJMP {
			flow(i+1, k)
			continue
		}
		yes := k
		if in.Code == jumpEqual && k.a == "arch" {
			yes.arch = archOf(in.K)
		}
		if in.Code == jumpGreaterEqual && k.a == "nr" && in.K == kernel.X32Bit && k.arch == kernel.AMD64 {
			yes.arch = kernel.X32
		}
		flow(i+1+int(in.JT), yes)
		flow(i+1+int(in.JF), k)
	}
	return known
}

// archOf names an AUDIT_ARCH value by its 64-bit or only ABI.
func archOf(audit uint32) kernel.Arch {
	for _, a := range kernel.Archs() {
		if a.AuditArch() == audit {
			return a
		}
	}
	return ""
}

// wordName names 32 bits of seccomp_data.
func wordName(offset uint32) string {
	switch offset {
	case 0:
		return "nr"
	case 4:
		return "arch"
	case 8:
		return "ip.low"
	case 12:
		return "ip.high"
	}
	half := "low"
	if offset%8 != 0 {
		half = "high"
	}
	return fmt.Sprintf("arg%d.%s", (offset-16)/8, half)
}

// loads names what an instruction of class LD puts into the accumulator.
func (in Instruction) loads() string {
	switch in.Code {
	case opLoad:
		return wordName(in.K)
	case opLoadMem:
		return fmt.Sprintf("mem[%d]", in.K)
	case opLoadLen:
		return fmt.Sprint(dataSize)
	}
	return fmt.Sprintf("%#x", in.K)
}

// changes names what an instruction of class ALU or MISC makes of the accumulator.
func (in Instruction) changes(a string) string {
	switch {
	case in.Code == opCopyToX:
		return a
	case in.Code == opAnd && a != "a":
		return fmt.Sprintf("(%s & %#x)", a, in.K)
	}
	return "a"
}

var aluSigns = map[uint16]string{
	aluAdd: "+=", aluSub: "-=", aluMul: "*=", aluDiv: "/=", aluOr: "|=", aluAnd: "&=", aluLsh: "<<=",
	aluRsh: ">>=", aluXor: "^=",
}

var jumpSigns = map[uint16]string{
	jumpEqual: "==", jumpGreater: ">", jumpGreaterEqual: ">=", jumpSet: "&",
}

func (in Instruction) explain(i int, k knowledge) string {
	switch in.Code {
	case opLoad, opLoadLen, opLoadImm, opLoadMem:
		return "load " + in.loads()
	case opLoadXLen:
		return fmt.Sprintf("x = %d", dataSize)
	case opLoadXImm:
		return fmt.Sprintf("x = %#x", in.K)
	case opLoadXMem:
		return fmt.Sprintf("x = mem[%d]", in.K)
	case opStore:
		return fmt.Sprintf("mem[%d] = a", in.K)
	case opStoreX:
		return fmt.Sprintf("mem[%d] = x", in.K)
	case opCopyToX:
		return "x = a"
	case opCopyFromX:
		return "a = x"
	case opNegate:
		return "a = -a"
	case opReturn:
		return "return " + actionOf(in.K).String()
	case opReturnA:
		return "return a"
	case opJump:
		return fmt.Sprintf("goto %d", i+1+int(in.K))
	}
	operand := in.operand(k)
	if in.Code&classMask == classALU {
		return fmt.Sprintf("a %s %s", aluSigns[in.Code&aluOperation], operand)
	}
	return fmt.Sprintf("if %s %s %s goto %d else %d",
		k.a, jumpSigns[in.Code&^sourceX], operand, i+1+int(in.JT), i+1+int(in.JF))
}

// operand prints what the accumulator is compared or combined with, by name if it has one.
func (in Instruction) operand(k knowledge) string {
	switch {
	case in.Code&sourceX != 0:
		return "x"
	case in.Code&classMask == classJMP && k.a == "arch" && archOf(in.K) != "":
		return string(archOf(in.K))
	case in.Code&classMask == classJMP && k.a == "nr":
		if name, ok := kernel.Name(k.arch, int(in.K)); ok && in.Code != jumpSet {
			return fmt.Sprintf("%d (%s)", in.K, name)
		}
		if in.K < kernel.X32Bit {
			return fmt.Sprint(in.K)
		}
	}
	return fmt.Sprintf("%#x", in.K)
}
