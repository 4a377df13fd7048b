#include "textflag.h"
#include "go_asm.h"

// The interpreter of images on arm64: stub_linux_amd64.s, word by word.
//
// R19 holds the header, R20 the op. SVC leaves all but R0 as they were.

// mark writes endMark of elf_linux.go.
#define mark \
	WORD $0x676e6972; \
	WORD $0x636e6566; \
	WORD $0x6f632d65; \
	WORD $0x652d6564

#define SYS_read 63
#define SYS_write 64
#define SYS_exit_group 94
#define SYS_rt_sigreturn 139
#define EAGAIN 11
#define EINTR 4

TEXT ·interpreter(SB), NOSPLIT|NOFRAME, $0-0
	MOVD $const_dataAddr, R19
	ADD  $const_headerSize, R19, R20

again:
	MOVWU const_opNumber(R20), R8
	MOVD  (const_opArgs+0)(R20), R0
	MOVD  (const_opArgs+8)(R20), R1
	MOVD  (const_opArgs+16)(R20), R2
	MOVD  (const_opArgs+24)(R20), R3
	MOVD  (const_opArgs+32)(R20), R4
	MOVD  (const_opArgs+40)(R20), R5
	SVC
	MOVBU const_opKind(R20), R9
	MOVD  const_opWant(R20), R10
	CMP   $const_kindKeep, R9
	BEQ   keep
	CMP   $const_kindExact, R9
	BEQ   exact
	CMP   $const_kindUntil, R9
	BEQ   until
	CMP   $const_kindRetry, R9
	BEQ   retry
	CMP   $0, R0
	BLT   tolerate
	BNE   next
	CMP   $const_kindFork, R9
	BNE   next
	MOVD  R10, R20 // the child
	B     again

keep:
	MOVD R0, (R10)

next:
	ADD $const_opSize, R20, R20
	B   again

until:
	CMP R10, R0
	BEQ next
	CMP $0, R0
	BLT fail
	B   again

retry:
	CMN $EAGAIN, R0 // compares with -EAGAIN
	BEQ again
	CMN $EINTR, R0
	BEQ again

exact:
	CMP R10, R0
	BEQ next

tolerate:
	NEG  R0, R11
	CMP  $64, R11 // also true of results that are no errors: they are huge now
	BHS  fail
	MOVD const_opTolerate(R20), R9
	LSR  R11, R9, R9
	TBNZ $0, R9, next

fail:
	MOVD  $const_recordFailed, R9
	MOVW  R9, const_headerRecord(R19)
	MOVHU const_opIndex(R20), R9
	MOVW  R9, (const_headerRecord+4)(R19)
	MOVD  R0, (const_headerRecord+8)(R19)
	MOVD  const_headerReport(R19), R0
	ADD   $const_headerRecord, R19, R1
	MOVD  $16, R2
	MOVD  $SYS_write, R8
	SVC
	MOVD  $1, R0
	MOVD  $SYS_exit_group, R8
	SVC
	BRK
	mark

// The handler of SIGIO: see stub_linux_amd64.s.
TEXT ·handler(SB), NOSPLIT|NOFRAME, $0-0
	MOVD $const_dataAddr, R19
	MOVD const_headerLifeline(R19), R0
	ADD  $const_headerScratch, R19, R1
	MOVD $1, R2
	MOVD $SYS_read, R8
	SVC
	CBZ  R0, gone
	MOVD $SYS_rt_sigreturn, R8
	SVC

gone:
	MOVD $1, R0
	MOVD $SYS_exit_group, R8
	SVC
	BRK
	mark

// func interpreterAddr() *byte
TEXT ·interpreterAddr(SB), NOSPLIT, $0-8
	MOVD $·interpreter(SB), R0
	MOVD R0, ret+0(FP)
	RET

// func handlerAddr() *byte
TEXT ·handlerAddr(SB), NOSPLIT, $0-8
	MOVD $·handler(SB), R0
	MOVD R0, ret+0(FP)
	RET
