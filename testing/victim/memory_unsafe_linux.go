package victim

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapped returns new memory, which the runtime knows nothing of, and its address.
func mapped(size int) ([]byte, uintptr, error) {
	p, err := unix.MmapPtr(-1, 0, nil, uintptr(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, 0, err
	}
	return unsafe.Slice((*byte)(p), size), uintptr(p), nil
}

// unmap takes a part of mapped memory away.
func unmap(addr uintptr, size int) error {
	return call(unix.SYS_MUNMAP, addr, uintptr(size))
}
