#include "textflag.h"

#define SYS_clone 220
#define SYS_exit_group 94

// func forkSyscall(flags, number uint32, args *[6]uintptr) (pid int64)
// In the child nothing of Go runs: it has one thread of a program that has several. It exits with the errno
// of the call, or with 0.
TEXT ·forkSyscall(SB), NOSPLIT, $0-24
	MOVWU number+4(FP), R9
	MOVD args+8(FP), R10
	MOVWU flags+0(FP), R0
	MOVD $0, R1
	MOVD $0, R2
	MOVD $0, R3
	MOVD $0, R4
	MOVD $SYS_clone, R8
	SVC
	CBZ  R0, child
	MOVD R0, pid+16(FP)
	RET
child:
	MOVD R9, R8
	MOVD 0(R10), R0
	MOVD 8(R10), R1
	MOVD 16(R10), R2
	MOVD 24(R10), R3
	MOVD 32(R10), R4
	MOVD 40(R10), R5
	SVC
	CMN  $4095, R0
	NEG  R0, R0
	CSEL HS, R0, ZR, R0
	MOVD $SYS_exit_group, R8
	SVC
	BRK
