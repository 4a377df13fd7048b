package seccomp

// An Instruction is one of classic BPF, laid out as struct sock_filter of linux/filter.h.
type Instruction struct {
	Code   uint16
	JT, JF uint8  // of a conditional jump: how many instructions to skip if it holds, if not
	K      uint32 // the operand
}

// Operation codes, linux/bpf_common.h: the ones that the compiler uses.
const (
	opLoad   = 0x20 // BPF_LD|BPF_W|BPF_ABS: accumulator = 32 bits of seccomp_data at offset K
	opAnd    = 0x54 // BPF_ALU|BPF_AND|BPF_K
	opJump   = 0x05 // BPF_JMP|BPF_JA
	opReturn = 0x06 // BPF_RET|BPF_K

	jumpEqual        = 0x15 // BPF_JMP|BPF_JEQ|BPF_K
	jumpGreater      = 0x25 // BPF_JMP|BPF_JGT|BPF_K
	jumpGreaterEqual = 0x35 // BPF_JMP|BPF_JGE|BPF_K
	jumpSet          = 0x45 // BPF_JMP|BPF_JSET|BPF_K
)

// The fields of an operation code, and those operations that only filters from elsewhere have.
const (
	classMask = 0x07
	classLD   = 0x00
	classLDX  = 0x01
	classST   = 0x02
	classSTX  = 0x03
	classALU  = 0x04
	classJMP  = 0x05
	classRET  = 0x06
	classMISC = 0x07

	sourceX = 0x08 // the operand of ALU and JMP is the index register, not K

	opLoadLen    = 0x80 // BPF_LD|BPF_W|BPF_LEN: the size of seccomp_data
	opLoadImm    = 0x00
	opLoadMem    = 0x60
	opLoadXLen   = 0x81
	opLoadXImm   = 0x01
	opLoadXMem   = 0x61
	opStore      = 0x02
	opStoreX     = 0x03
	opReturnA    = 0x16
	opCopyToX    = 0x07 // BPF_MISC|BPF_TAX
	opCopyFromX  = 0x87 // BPF_MISC|BPF_TXA
	opNegate     = 0x84
	dataSize     = 64 // sizeof(struct seccomp_data)
	memoryWords  = 16 // BPF_MEMWORDS
	aluOperation = 0xf0
)

// Operations of class ALU, with K or X.
const (
	aluAdd = 0x00
	aluSub = 0x10
	aluMul = 0x20
	aluDiv = 0x30
	aluOr  = 0x40
	aluAnd = 0x50
	aluLsh = 0x60
	aluRsh = 0x70
	aluXor = 0xa0
)
