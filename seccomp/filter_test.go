package seccomp

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestNewFilterRefusesWhatTheKernelRefuses(t *testing.T) {
	ret := Instruction{Code: opReturn}
	for what, insns := range map[string][]Instruction{
		"0 instructions":             {},
		"4097 instructions":          make([]Instruction, MaxInstructions+1),
		"not a return":               {ret, {Code: opLoadImm}},
		"loads offset 2":             {{Code: opLoad, K: 2}, ret},
		"loads offset 64":            {{Code: opLoad, K: 64}, ret},
		"scratch word 16":            {{Code: opStore, K: 16}, ret},
		"past the end":               {{Code: opJump, K: 1}, ret},
		"jumps past the end":         {{Code: jumpEqual, JF: 1}, ret},
		"divides by zero":            {{Code: classALU | aluDiv}, ret},
		"shifts by 32":               {{Code: classALU | aluLsh, K: 32}, ret},
		"0x94":                       {{Code: 0x94, K: 1}, ret}, // BPF_MOD, which seccomp does not take
		"0x28":                       {{Code: 0x28}, ret},       // BPF_LD|BPF_H|BPF_ABS
		"0x40":                       {{Code: 0x40}, ret},       // BPF_LD|BPF_W|BPF_IND
		"did not write":              {{Code: opLoadMem}, ret},
		"a path to it did not write": {{Code: jumpEqual, JT: 1}, {Code: opStore, K: 3}, {Code: opLoadXMem, K: 3}, ret},
	} {
		f, err := NewFilter(insns)
		var fe *FilterError
		if f != nil || !errors.As(err, &fe) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	ok := []Instruction{{Code: opStore, K: 3}, {Code: jumpEqual, JT: 1}, {Code: opStoreX, K: 3}, {Code: opLoadMem, K: 3}, ret}
	if _, err := NewFilter(ok); err != nil {
		t.Error(err)
	}
}

// The arithmetic that only foreign filters use.
func TestEvalOfForeignFilters(t *testing.T) {
	d := Data{Nr: 7, Arch: 9, InstructionPointer: 0x1122334455667788, Args: [6]uint64{5: 0xaabbccdd00000001}}
	for _, tt := range []struct {
		want  uint32
		insns []Instruction
	}{
		{7, []Instruction{{Code: opLoad}}},
		{0x55667788, []Instruction{{Code: opLoad, K: 8}}},
		{0x11223344, []Instruction{{Code: opLoad, K: 12}}},
		{0xaabbccdd, []Instruction{{Code: opLoad, K: 60}}},
		{64, []Instruction{{Code: opLoadLen}}},
		{64, []Instruction{{Code: opLoadXLen}, {Code: opCopyFromX}}},
		{9, []Instruction{{Code: opLoadXImm, K: 2}, {Code: opLoad}, {Code: classALU | aluAdd | sourceX}}},
		{5, []Instruction{{Code: opLoad}, {Code: classALU | aluSub, K: 2}}},
		{14, []Instruction{{Code: opLoad}, {Code: classALU | aluMul, K: 2}}},
		{3, []Instruction{{Code: opLoad}, {Code: classALU | aluDiv, K: 2}}},
		{0, []Instruction{{Code: opLoad}, {Code: classALU | aluDiv | sourceX}}},
		{15, []Instruction{{Code: opLoad}, {Code: classALU | aluOr, K: 8}}},
		{5, []Instruction{{Code: opLoad}, {Code: classALU | aluXor, K: 2}}},
		{28, []Instruction{{Code: opLoad}, {Code: classALU | aluLsh, K: 2}}},
		{14, []Instruction{{Code: opLoadXImm, K: 33}, {Code: opLoad}, {Code: classALU | aluLsh | sourceX}}},
		{3, []Instruction{{Code: opLoad}, {Code: classALU | aluRsh, K: 1}}},
		{0xfffffff9, []Instruction{{Code: opLoad}, {Code: opNegate}}},
		{7, []Instruction{{Code: opLoad}, {Code: opCopyToX}, {Code: opStoreX, K: 15}, {Code: opLoadImm}, {Code: opLoadXMem, K: 15}, {Code: opCopyFromX}}},
		{1, []Instruction{{Code: opLoad}, {Code: opCopyToX}, {Code: jumpEqual | sourceX, JF: 1}, {Code: opLoadImm, K: 1}}},
		{1, []Instruction{{Code: opLoadImm, K: 1}, {Code: opJump, K: 1}, {Code: opLoadImm, K: 2}}},
	} {
		f, err := NewFilter(append(tt.insns, Instruction{Code: opReturnA}))
		if err != nil {
			t.Error(err)
			continue
		}
		if got, _ := f.run(&d); got != tt.want {
			t.Errorf("%#x, want %#x:\n%s", got, tt.want, f.Explain())
		}
	}
}

func TestRawRoundTrip(t *testing.T) {
	f := compileWithPure(t, Default(), "amd64")
	raw := f.Raw()
	g, err := ReadRaw(raw)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(f.Instructions(), g.Instructions()) || g.Archs() != nil {
		t.Error("read back as another filter")
	}
	if f.Explain() != g.Explain() {
		t.Error("explained differently without knowing the architectures")
	}
	for _, bad := range [][]byte{nil, raw[:len(raw)-1], raw[:len(raw)-8], make([]byte, 8*(MaxInstructions+1))} {
		var fe *FilterError
		if _, err := ReadRaw(bad); !errors.As(err, &fe) {
			t.Errorf("%d bytes: %v", len(bad), err)
		}
	}
	insns := f.Instructions()
	insns[0].Code = 0
	if f.Instructions()[0].Code == 0 {
		t.Error("Instructions lets the caller change the filter")
	}
}

// Every operation has a form in Explain, from wherever the filter came.
func TestExplainOfForeignFilters(t *testing.T) {
	f, err := NewFilter([]Instruction{
		{Code: opLoad, K: 8}, {Code: opLoad, K: 12}, {Code: opStore, K: 1}, {Code: opStoreX, K: 2},
		{Code: opLoadMem, K: 1}, {Code: opLoadXMem, K: 2}, {Code: opLoadLen}, {Code: opLoadXLen},
		{Code: opLoadImm, K: 7}, {Code: opLoadXImm, K: 8}, {Code: opCopyToX}, {Code: opCopyFromX}, {Code: opNegate},
		{Code: classALU | aluLsh, K: 3}, {Code: classALU | aluXor | sourceX}, {Code: jumpGreater | sourceX, JF: 1},
		{Code: opJump}, {Code: opLoad, K: 4}, {Code: jumpEqual, JF: 1, K: 0x1234}, {Code: opLoad},
		{Code: jumpEqual, JF: 1, K: 59}, {Code: opReturnA}, {Code: opReturn, K: retTrap | 3},
	})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "explain-foreign.txt", f.Explain())
}
