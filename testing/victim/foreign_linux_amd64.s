#include "textflag.h"

// Between clone(2) and the end of the child nothing of Go runs: the child has one thread of a program
// that has several. It may share the memory of its parent, which waits then, so that it writes to nothing.
// An alarm ends it if the call does not.

#define SYS_alarm 37
#define SYS_clone 56
#define SYS_exit_group 231

// fork keeps the number in R12 and the address of the arguments in R13; only the child goes on behind it.
#define fork \
	MOVL number+4(FP), R12; \
	MOVQ args+8(FP), R13; \
	MOVL flags+0(FP), DI; \
	XORL SI, SI; \
	XORL DX, DX; \
	XORL R10, R10; \
	XORL R8, R8; \
	MOVL $SYS_clone, AX; \
	SYSCALL; \
	TESTQ AX, AX; \
	JEQ  child; \
	MOVQ AX, pid+16(FP); \
	RET; \
child: \
	MOVL $60, DI; \
	MOVL $SYS_alarm, AX; \
	SYSCALL

// exit ends the child with the errno in AX, or with 0.
#define exit \
	XORL DI, DI; \
	CMPQ AX, $-4095; \
	JCS  ok; \
	NEGQ AX; \
	MOVQ AX, DI; \
ok: \
	MOVL $SYS_exit_group, AX; \
	SYSCALL; \
	INT  $3

// func forkSyscall(flags, number uint32, args *[6]uintptr) (pid int64)
// The call is made with the instruction of 64-bit programs, whatever its number.
TEXT ·forkSyscall(SB), NOSPLIT, $8-24
	fork
	MOVL R12, AX
	MOVQ 0(R13), DI
	MOVQ 8(R13), SI
	MOVQ 16(R13), DX
	MOVQ 24(R13), R10
	MOVQ 32(R13), R8
	MOVQ 40(R13), R9
	SYSCALL
	exit

// func forkInt80(flags, number uint32, args *[6]uintptr) (pid int64)
// The call is made with the instruction of 32-bit programs.
TEXT ·forkInt80(SB), NOSPLIT, $8-24
	fork
	MOVL R12, AX
	MOVL 0(R13), BX
	MOVL 8(R13), CX
	MOVL 16(R13), DX
	MOVL 24(R13), SI
	MOVL 32(R13), DI
	INT  $0x80
	MOVLQSX AX, AX
	exit

// func forkSysenter(flags, number uint32, args *[6]uintptr) (pid int64)
// The call is made with the other instruction of 32-bit programs, on processors of Intel. The sixth
// argument is a page below 4 GiB, from which the kernel reads one. There is no way back: the kernel returns
// to where the vDSO of a 32-bit program would be, and the child ends by SIGSEGV, or by the call.
TEXT ·forkSysenter(SB), NOSPLIT, $8-24
	fork
	MOVL R12, AX
	MOVL 0(R13), BX
	MOVL 8(R13), CX
	MOVL 16(R13), DX
	MOVL 24(R13), SI
	MOVL 32(R13), DI
	MOVL 40(R13), BP
	BYTE $0x0f; BYTE $0x34 // sysenter, which the assembler knows with a prefix only
	INT  $3

// func forkSyscall32(flags, number uint32, args *[6]uintptr) (pid int64)
// The call is made with the instruction of 64-bit programs, in 32-bit mode: on processors of AMD. The page
// holds that instruction and has room for a stack. There is no way back here either.
TEXT ·forkSyscall32(SB), NOSPLIT, $8-24
	fork
	MOVL R12, AX
	MOVL 0(R13), BX
	MOVL 8(R13), BP // the instruction takes CX for itself
	MOVL 16(R13), DX
	MOVL 24(R13), SI
	MOVL 32(R13), DI
	MOVL 40(R13), R9
	LEAQ 2048(R9), SP
	PUSHQ $0x23 // __USER32_CS of asm/segment.h
	PUSHQ R9
	RETFQ

// func forkVsyscall(flags, number uint32, args *[6]uintptr) (pid int64)
// The call is made by the page that programs had before there was a vDSO; number is its entry.
TEXT ·forkVsyscall(SB), NOSPLIT, $8-24
	fork
	MOVQ R12, AX
	SHLQ $10, AX
	MOVQ $0xffffffffff600000, CX
	ADDQ CX, AX
	MOVQ 0(R13), DI
	MOVQ 8(R13), SI
	MOVQ 16(R13), DX
	CALL AX
	exit
