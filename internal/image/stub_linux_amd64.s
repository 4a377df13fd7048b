#include "textflag.h"
#include "go_asm.h"

// The interpreter of images on amd64. It is never called in this program: image copies its bytes.
// It is position independent, uses no stack, and keeps everything in registers, so that two processes
// that share memory (clone with CLONE_VM) can be in it at once.
//
// R12 holds the header, BX the op. SYSCALL leaves all but AX, CX and R11 as they were.

// mark writes endMark of elf_linux.go.
#define mark \
	QUAD $0x636e6566676e6972; \
	QUAD $0x652d65646f632d65

#define SYS_read 0
#define SYS_write 1
#define SYS_rt_sigreturn 15
#define SYS_exit_group 231
#define EAGAIN 11
#define EINTR 4

TEXT ·interpreter(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ $const_dataAddr, R12
	LEAQ const_headerSize(R12), BX

again:
	MOVL const_opNumber(BX), AX
	MOVQ (const_opArgs+0)(BX), DI
	MOVQ (const_opArgs+8)(BX), SI
	MOVQ (const_opArgs+16)(BX), DX
	MOVQ (const_opArgs+24)(BX), R10
	MOVQ (const_opArgs+32)(BX), R8
	MOVQ (const_opArgs+40)(BX), R9
	SYSCALL
	MOVBLZX const_opKind(BX), CX
	CMPL CX, $const_kindKeep
	JEQ  keep
	CMPL CX, $const_kindExact
	JEQ  exact
	CMPL CX, $const_kindUntil
	JEQ  until
	CMPL CX, $const_kindRetry
	JEQ  retry
	TESTQ AX, AX
	JLT  tolerate
	JNE  next
	CMPL CX, $const_kindFork
	JNE  next
	MOVQ const_opWant(BX), BX // the child
	JMP  again

keep:
	MOVQ const_opWant(BX), CX
	MOVQ AX, (CX)

next:
	ADDQ $const_opSize, BX
	JMP  again

until:
	CMPQ AX, const_opWant(BX)
	JEQ  next
	TESTQ AX, AX
	JLT  fail
	JMP  again

retry:
	CMPQ AX, $-EAGAIN
	JEQ  again
	CMPQ AX, $-EINTR
	JEQ  again

exact:
	CMPQ AX, const_opWant(BX)
	JEQ  next

tolerate:
	MOVQ AX, DX
	NEGQ DX
	CMPQ DX, $64 // also true of results that are no errors: they are huge now
	JCC  fail
	MOVQ const_opTolerate(BX), CX
	BTQ  DX, CX
	JCS  next

fail:
	MOVL $const_recordFailed, const_headerRecord(R12)
	MOVWLZX const_opIndex(BX), CX
	MOVL CX, (const_headerRecord+4)(R12)
	MOVQ AX, (const_headerRecord+8)(R12)
	MOVL $SYS_write, AX
	MOVQ const_headerReport(R12), DI
	LEAQ const_headerRecord(R12), SI
	MOVL $16, DX
	SYSCALL
	MOVL $SYS_exit_group, AX
	MOVL $1, DI
	SYSCALL
	INT  $3
	mark

// The handler of SIGIO, the lifeline's signal. The signal is only a hint, since anyone may send it: the
// truth is the pipe, which is at its end when its writer, the caller, is gone.
TEXT ·handler(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ $const_dataAddr, R12
	MOVL $SYS_read, AX
	MOVQ const_headerLifeline(R12), DI
	LEAQ const_headerScratch(R12), SI
	MOVL $1, DX
	SYSCALL
	TESTQ AX, AX
	JEQ  gone
	ADDQ $8, SP // past the return address: where rt_sigreturn(2) looks for the frame
	MOVL $SYS_rt_sigreturn, AX
	SYSCALL

gone:
	MOVL $SYS_exit_group, AX
	MOVL $1, DI
	SYSCALL
	INT  $3
	mark

// func interpreterAddr() *byte
TEXT ·interpreterAddr(SB), NOSPLIT, $0-8
	LEAQ ·interpreter(SB), AX
	MOVQ AX, ret+0(FP)
	RET

// func handlerAddr() *byte
TEXT ·handlerAddr(SB), NOSPLIT, $0-8
	LEAQ ·handler(SB), AX
	MOVQ AX, ret+0(FP)
	RET
