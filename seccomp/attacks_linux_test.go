package seccomp

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// An attack maps what it wants, and returns the address of a path at which execve is to find it.
type attack struct {
	name string
	do   func(w ExecWindow) (path uintptr, err error)
}

// attackPath is what the attackers execute.
const attackPath = "/proc/self/exe"

var attacks = []attack{
	{"own memory", func(ExecWindow) (uintptr, error) {
		a, err := mapAt(0, 4096, 0)
		return a, errors.Join(err, put(a))
	}},
	{"mmap, fixed", func(w ExecWindow) (uintptr, error) { return mapThere(w.Start, mapFixed) }},
	{"mmap, fixed in the last page", func(w ExecWindow) (uintptr, error) { return mapThere(w.End-uint64(os.Getpagesize()), mapFixed) }},
	{"mmap, not replacing", func(w ExecWindow) (uintptr, error) { return mapThere(w.Start, mapFixedNoReplace) }},
	{"mmap by a hint", func(w ExecWindow) (uintptr, error) { return mapThere(w.Start, 0) }},
	{"mmap from 0 on", func(w ExecWindow) (uintptr, error) {
		_, err := mapAt(0, w.Start+4096, mapFixed)
		return uintptr(w.Start), errors.Join(err, put(uintptr(w.Start)))
	}},
	{"mmap that grows downwards", func(w ExecWindow) (uintptr, error) {
		_, err := mapAt(execWindowTop, 4096, mapFixed|mapGrowsDown)
		a := uintptr(execWindowTop - 2*os.Getpagesize())
		return a, errors.Join(err, put(a))
	}},
	{"mremap, fixed", func(w ExecWindow) (uintptr, error) { return moveTo(uintptr(w.Start), mremapFixed) }},
	{"mremap by a hint", func(w ExecWindow) (uintptr, error) { return moveTo(uintptr(w.Start), mremapDontUnmap) }},
	{"the stack moved to above the window", moveStack},
	{"the kernel's shared object", moveVDSO},
	{"shmat", attach},
	{"a full address space", fill},
}

// mapAt maps memory that may be written.
func mapAt(addr, size uint64, flags uintptr) (uintptr, error) {
	a, _, errno := unix.RawSyscall6(unix.SYS_MMAP, uintptr(addr), uintptr(size), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE|flags, ^uintptr(0), 0)
	if errno != 0 {
		return 0, fmt.Errorf("mmap: %w", errno)
	}
	return a, nil
}

func mapThere(addr uint64, flags uintptr) (uintptr, error) {
	a, err := mapAt(addr, uint64(os.Getpagesize()), flags)
	return a, errors.Join(err, put(a))
}

// put writes the path to a place of memory, which the kernel does: nothing here has a pointer to it.
func put(addr uintptr) error { return putText(addr, attackPath) }

func putText(addr uintptr, text string) error {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	if _, err := unix.Write(p[1], append([]byte(text), 0)); err != nil {
		return err
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(p[0]), addr, uintptr(len(text)+1)); errno != 0 {
		return fmt.Errorf("write the path to %#x: %w", addr, errno)
	}
	return nil
}

func moveTo(addr uintptr, flag uintptr) (uintptr, error) {
	size := uintptr(os.Getpagesize())
	a, err := mapAt(0, uint64(size), 0)
	if err != nil {
		return 0, err
	}
	to, _, errno := unix.RawSyscall6(unix.SYS_MREMAP, a, size, size, unix.MREMAP_MAYMOVE|flag, addr, 0)
	if errno != 0 {
		return 0, fmt.Errorf("mremap: %w", errno)
	}
	return to, put(to)
}

// mapping returns where in memory something is that /proc/self/maps has a name for.
func mapping(name string) (start, end uintptr, err error) {
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasSuffix(line, " "+name+"\n") {
			_, err := fmt.Sscanf(line, "%x-%x", &start, &end)
			return start, end, err
		}
	}
	return 0, 0, fmt.Errorf("no %s in memory", name)
}

// moveStack moves the lowest page of the stack, which grows when the page below it is touched.
func moveStack(ExecWindow) (uintptr, error) {
	start, _, err := mapping("[stack]")
	if err != nil {
		return 0, err
	}
	size := uintptr(os.Getpagesize())
	if _, _, errno := unix.RawSyscall6(unix.SYS_MREMAP, start, size, size, unix.MREMAP_MAYMOVE|mremapFixed, execWindowTop, 0); errno != 0 {
		return 0, fmt.Errorf("mremap: %w", errno)
	}
	a := execWindowTop - 2*size
	return a, put(a)
}

// moveVDSO maps the kernel's shared object such that its own name is in the window.
func moveVDSO(w ExecWindow) (uintptr, error) {
	const name = "linux-vdso.so.1\x00"
	start, end, err := mapping("[vdso]")
	if err != nil {
		return 0, err
	}
	first := start
	for _, vvar := range []string{"[vvar]", "[vvar_vclock]"} {
		if a, _, err := mapping(vvar); err == nil {
			first = min(first, a)
		}
	}
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		return 0, err
	}
	defer mem.Close()
	image := make([]byte, end-start)
	if _, err := mem.ReadAt(image, int64(start)); err != nil {
		return 0, err
	}
	at := strings.Index(string(image), name)
	if at < 0 {
		return 0, errors.New("no name in the kernel's shared object")
	}
	// There can be only one.
	if _, _, errno := unix.RawSyscall(archPrctl, archMapVDSO+3, uintptr(w.Start), 0); errno != unix.EEXIST {
		return 0, fmt.Errorf("arch_prctl: %w", errno)
	}
	// From here to execve no other thread must ask for the time.
	if _, _, errno := unix.RawSyscall(unix.SYS_MUNMAP, first, end-first, 0); errno != 0 {
		return 0, errno
	}
	if _, _, errno := unix.RawSyscall(archPrctl, archMapVDSO+3, uintptr(w.Start), 0); errno != 0 {
		return 0, errno
	}
	return uintptr(w.Start) + (start - first) + uintptr(at), nil
}

// archPrctl is the number of arch_prctl(2), which only amd64 has among the machines with 64 bits.
var archPrctl = func() uintptr {
	d, err := Call(runtime.GOARCH, "arch_prctl")
	if err != nil {
		return ^uintptr(0)
	}
	return uintptr(d.Nr)
}()

func attach(w ExecWindow) (uintptr, error) {
	id, err := unix.SysvShmGet(unix.IPC_PRIVATE, os.Getpagesize(), unix.IPC_CREAT|0o600)
	if err != nil {
		return 0, fmt.Errorf("shmget: %w", err)
	}
	a, _, errno := unix.RawSyscall(unix.SYS_SHMAT, uintptr(id), uintptr(w.Start), 0)
	if _, err := unix.SysvShmCtl(id, unix.IPC_RMID, nil); err != nil {
		return 0, err
	}
	if errno != 0 {
		return 0, fmt.Errorf("shmat: %w", errno)
	}
	return a, put(a)
}

// fill asks for all of the address space, in pieces as large as there are, until the kernel gives the
// window.
func fill(w ExecWindow) (uintptr, error) {
	type piece struct{ addr, size uint64 }
	pieces := make([]piece, 0, 1<<16) // the runtime gets no memory in between
	found := false
	for size := uint64(1) << 47; size >= uint64(os.Getpagesize()) && !found; size >>= 1 {
		for !found && len(pieces) < cap(pieces) {
			a, _, errno := unix.RawSyscall6(unix.SYS_MMAP, 0, uintptr(size), unix.PROT_READ|unix.PROT_WRITE,
				unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE, ^uintptr(0), 0)
			if errno != 0 {
				break
			}
			pieces = append(pieces, piece{uint64(a), size})
			found = uint64(a) <= w.Start && w.Start < uint64(a)+size
		}
	}
	if found {
		return uintptr(w.Start), put(uintptr(w.Start))
	}
	total, lowest := uint64(0), ^uint64(0)
	for _, p := range pieces {
		if _, _, errno := unix.RawSyscall(unix.SYS_MUNMAP, uintptr(p.addr), uintptr(p.size), 0); errno != 0 {
			return 0, fmt.Errorf("munmap: %w", errno)
		}
		total, lowest = total+p.size, min(lowest, p.addr)
	}
	return 0, fmt.Errorf("%d TiB in %d pieces, the lowest at %#x", total>>40, len(pieces), lowest)
}
