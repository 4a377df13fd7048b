package victim

import (
	"fmt"
	"os"
	"runtime"
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

// lowCode returns the address of a page that 32-bit code can reach: it holds the instruction syscall and
// one that ends a process (ud2), and may be written to.
func lowCode() (uintptr, error) {
	const map32Bit = 0x40 // linux/mman.h of x86; elsewhere nothing asks for the page
	flags := unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
	if ForeignABIs {
		flags |= map32Bit
	}
	p, err := unix.MmapPtr(-1, 0, nil, 4096, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, flags)
	if err != nil {
		return 0, err
	}
	copy(unsafe.Slice((*byte)(p), 4096), []byte{0x0f, 0x05, 0x0f, 0x0b})
	return uintptr(p), nil
}

// loadFilter takes a seccomp filter, as the kernel has it, from a file and lets it hold for this thread
// and the children that it starts. Preconditions: no_new_privs is set.
func loadFilter(path string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if len(raw) == 0 || len(raw)%8 != 0 {
		return fmt.Errorf("%s holds no filter", path)
	}
	prog := unix.SockFprog{Len: uint16(len(raw) / 8), Filter: (*unix.SockFilter)(unsafe.Pointer(&raw[0]))}
	err = call(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(raw)
	return err
}
