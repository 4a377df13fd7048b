package victim

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// clone3 makes a child with flags of the new call, which are in memory.
func clone3(arg string) (string, error) {
	// struct clone_args of linux/sched.h, as it was first.
	args := &[8]uint64{0: uint64(number(arg)), 4: uint64(unix.SIGCHLD)}
	if len(gates) == 0 {
		return "", fmt.Errorf("no way to fork here")
	}
	nr, _ := kernel.Number(gates[0].arch, "clone3")
	return "", inChild(uint32(nr), &[6]uintptr{uintptr(unsafe.Pointer(args)), unsafe.Sizeof(*args)})
}

// vmWrite writes into another process, or, with 0, into its own memory.
func vmWrite(arg string) (string, error) {
	pid := number(arg)
	var from, to [8]byte
	local := []unix.Iovec{{Base: &from[0]}}
	local[0].SetLen(len(from))
	remote := []unix.RemoteIovec{{Base: 0x400000, Len: len(to)}}
	if pid == 0 {
		pid, remote[0].Base = os.Getpid(), uintptr(unsafe.Pointer(&to))
	}
	_, err := unix.ProcessVMWritev(pid, local, remote, 0)
	return "", err
}

// forceWrite maps a file, which it may not write to, and writes to the mapping by way of /proc/self/mem:
// "private=… shared=…".
func forceWrite(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	mem, err := os.OpenFile("/proc/self/mem", os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer mem.Close()
	var results [2]string
	for i, flags := range []int{unix.MAP_PRIVATE, unix.MAP_SHARED} {
		p, err := unix.MmapPtr(int(f.Fd()), 0, nil, 4096, unix.PROT_READ, flags)
		if err != nil {
			return "", err
		}
		_, err = mem.WriteAt([]byte("by the victim"), int64(uintptr(p)))
		if results[i] = said(err); err == nil {
			results[i] = string(unsafe.Slice((*byte)(p), 13))
		}
		if err := unix.MunmapPtr(p, 4096); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("private=%s shared=%s", results[0], results[1]), nil
}
