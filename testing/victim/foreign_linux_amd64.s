#include "textflag.h"

// Between clone(2) and the end of the child nothing of Go runs: the child has one thread of a program
// that has several.

#define SYS_clone 56
#define SYS_exit_group 231
#define SIGCHLD 17

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

// func forkSyscall(number uint32, args *[6]uintptr) (pid int64)
// The call is made with the instruction of 64-bit programs, whatever its number.
TEXT ·forkSyscall(SB), NOSPLIT, $0-24
	MOVL number+0(FP), R12
	MOVQ args+8(FP), R13
	MOVL $SIGCHLD, DI
	XORL SI, SI
	XORL DX, DX
	XORL R10, R10
	XORL R8, R8
	MOVL $SYS_clone, AX
	SYSCALL
	TESTQ AX, AX
	JNE  parent
	MOVL R12, AX
	MOVQ 0(R13), DI
	MOVQ 8(R13), SI
	MOVQ 16(R13), DX
	MOVQ 24(R13), R10
	MOVQ 32(R13), R8
	MOVQ 40(R13), R9
	SYSCALL
	exit
parent:
	MOVQ AX, pid+16(FP)
	RET

// func forkInt80(number uint32, args *[6]uintptr) (pid int64)
// The call is made with the instruction of 32-bit programs.
TEXT ·forkInt80(SB), NOSPLIT, $0-24
	MOVL number+0(FP), R12
	MOVQ args+8(FP), R13
	MOVL $SIGCHLD, DI
	XORL SI, SI
	XORL DX, DX
	XORL R10, R10
	XORL R8, R8
	MOVL $SYS_clone, AX
	SYSCALL
	TESTQ AX, AX
	JNE  parent
	MOVL R12, AX
	MOVL 0(R13), BX
	MOVL 8(R13), CX
	MOVL 16(R13), DX
	MOVL 24(R13), SI
	MOVL 32(R13), DI
	INT  $0x80
	MOVLQSX AX, AX
	exit
parent:
	MOVQ AX, pid+16(FP)
	RET
