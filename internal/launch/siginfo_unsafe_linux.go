package launch

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The values of si_code for SIGCHLD (sigaction(2)).
const (
	cldExited = 1
	cldDumped = 3
)

// waitStatus encodes what waitid(2) says as wait4(2) would.
//
// Preconditions: info was filled in by waitid; on 64-bit systems si_status then stands 24 bytes from
// the start, behind three ints, padding, si_pid and si_uid.
func waitStatus(info *unix.Siginfo) unix.WaitStatus {
	status := *(*int32)(unsafe.Add(unsafe.Pointer(info), 24))
	const dumpedBit = 0x80
	switch info.Code {
	case cldExited:
		return unix.WaitStatus(uint32(status&0xff) << 8)
	case cldDumped:
		return unix.WaitStatus(uint32(status) | dumpedBit)
	}
	return unix.WaitStatus(uint32(status))
}
