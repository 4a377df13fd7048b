package sandbox

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// listen loads a filter for this thread and returns its listener.
func listen(raw []byte) (int, error) {
	insns := unsafe.Slice((*unix.SockFilter)(unsafe.Pointer(&raw[0])), len(raw)/sizeofInstruction)
	prog := unix.SockFprog{Len: uint16(len(insns)), Filter: &insns[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// setRawFilter loads a compiled filter for every thread.
func setRawFilter(raw []byte) error {
	return setFilter(unsafe.Slice((*unix.SockFilter)(unsafe.Pointer(&raw[0])), len(raw)/sizeofInstruction))
}

// setFilter loads a filter for every thread.
func setFilter(filter []unix.SockFilter) error {
	return loadFilter(filter, unix.SECCOMP_FILTER_FLAG_TSYNC)
}

// loadFilter loads a filter for this thread, or for those that the flags say.
func loadFilter(filter []unix.SockFilter, flags uintptr) error {
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return errno
	}
	return nil
}
