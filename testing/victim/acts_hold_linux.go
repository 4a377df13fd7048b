package victim

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Memory in all its forms: "hold" has the kernel keep as much of one as it gives.

const mebibyte = 1 << 20

// holders have the kernel keep one MiB more, or about that, until the process ends.
var holders = map[string]func(i int) error{
	"anonymous":  holdAnonymous,
	"pagetables": holdPageTables,
	"memfd":      holdMemfd,
	"shm":        holdShared,
	"pipes":      holdPipe,
	"sockets":    holdSockets,
	"messages":   holdMessages,
}

// hold has so many MiB kept: "form,MiB". It tells how many it got, and what became of the next.
func hold(arg string) (string, error) {
	form, most, _ := strings.Cut(arg, ",")
	holder, ok := holders[form]
	if !ok {
		return "", fmt.Errorf("nobody holds %q", form)
	}
	for i := range number(most) {
		if err := holder(i); err != nil {
			return strconv.Itoa(i), err
		}
	}
	return most, nil
}

func touchAll(b []byte) {
	for i := 0; i < len(b); i += pageSize {
		b[i] = 1
	}
}

func holdAnonymous(int) error {
	b, err := unix.Mmap(-1, 0, mebibyte, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err == nil {
		touchAll(b)
	}
	return err
}

// holdPageTables reads one page in every two MiB, for each of which the kernel keeps a table, and no page but
// the one of zeros.
func holdPageTables(int) error {
	const tables, each = mebibyte / pageSize, 2 << 20
	b, err := unix.Mmap(-1, 0, tables*each, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return err
	}
	if err := unix.Madvise(b, unix.MADV_NOHUGEPAGE); err != nil {
		return err
	}
	var sum byte
	for i := 0; i < len(b); i += each {
		sum += b[i]
	}
	if sum != 0 {
		return unix.EIO
	}
	return nil
}

func holdMemfd(int) error {
	fd, err := unix.MemfdCreate("held", 0)
	if err != nil {
		return err
	}
	return writeAll(fd, mebibyte)
}

func holdShared(int) error {
	id, err := unix.SysvShmGet(unix.IPC_PRIVATE, mebibyte, unix.IPC_CREAT|0o600)
	if err != nil {
		return err
	}
	b, err := unix.SysvShmAttach(id, 0, 0)
	if err != nil {
		return err
	}
	touchAll(b)
	return unix.SysvShmDetach(b) // it stays, attached to nobody
}

func holdPipe(int) error {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_NONBLOCK); err != nil {
		return err
	}
	_, _ = unix.FcntlInt(uintptr(p[1]), unix.F_SETPIPE_SZ, mebibyte) // else it is as large as it may be
	return unlessFull(writeAll(p[1], mebibyte))
}

// holdSockets leaves what nobody receives in the sockets of one MiB.
func holdSockets(int) error {
	for range 8 {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return err
		}
		if err := unlessFull(writeAll(pair[0], mebibyte)); err != nil {
			return err
		}
	}
	return nil
}

// unlessFull takes the error away that says that nothing more fits.
func unlessFull(err error) error {
	if errors.Is(err, unix.EAGAIN) {
		return nil
	}
	return err
}

func writeAll(fd, n int) error {
	chunk := make([]byte, 32<<10)
	for n > 0 {
		got, err := unix.Write(fd, chunk[:min(n, len(chunk))])
		if err != nil {
			return err
		}
		n -= got
	}
	return nil
}

// holdMessages leaves messages in queues of System V, each of which takes 16 KiB by default.
func holdMessages(int) error {
	const each = 16 << 10
	for range mebibyte / each {
		if err := queueMessages(each / 2); err != nil {
			return err
		}
	}
	return nil
}
