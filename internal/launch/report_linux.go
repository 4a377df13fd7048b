package launch

import (
	"errors"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/plan"
)

// report is the caller's end of the socket that the records arrive on, a message each.
type report struct {
	file *os.File
	conn syscall.RawConn
}

// newReport returns the caller's end and the program's.
func newReport() (*report, *os.File, error) {
	// SOCK_SEQPACKET keeps records apart, and reads as the end of file once no writer is left.
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	// The caller's end belongs to the runtime's poller; the program's blocks.
	_ = unix.SetNonblock(fds[0], true) // cannot fail on an open descriptor
	ours, theirs := os.NewFile(uintptr(fds[0]), "report"), os.NewFile(uintptr(fds[1]), "report")
	conn, err := ours.SyscallConn()
	if err != nil {
		ours.Close()
		theirs.Close()
		return nil, nil, err
	}
	return &report{ours, conn}, theirs, nil
}

// read returns the next record and the descriptors that came with it, which the caller then owns. The
// error is io.EOF when no process is left that could write one.
func (r *report) read() (plan.Record, []int, error) {
	var buf [plan.MaxRecord]byte
	var control [64]byte
	var n, controlN int
	var err error
	waitErr := r.conn.Read(func(fd uintptr) bool {
		n, controlN, _, _, err = unix.Recvmsg(int(fd), buf[:], control[:], unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
		return !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR)
	})
	switch {
	case waitErr != nil:
		return plan.Record{}, nil, waitErr
	case err != nil:
		return plan.Record{}, nil, os.NewSyscallError("recvmsg", err)
	}
	fds, err := descriptors(control[:controlN])
	if err != nil {
		return plan.Record{}, nil, err
	}
	if n == 0 {
		closeAll(fds)
		return plan.Record{}, nil, io.EOF
	}
	record, err := plan.ParseRecord(buf[:n])
	if err != nil {
		closeAll(fds)
		return plan.Record{}, nil, err
	}
	return record, fds, nil
}

// waits reports whether there is something to read, be it the end.
func (r *report) waits() (waits bool) {
	_ = r.conn.Control(func(fd uintptr) { // it fails if r is closed
		var b [1]byte
		_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		waits = !errors.Is(err, unix.EAGAIN)
	})
	return waits
}

func descriptors(control []byte) ([]int, error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, err
	}
	var all []int
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			closeAll(all)
			return nil, err
		}
		all = append(all, fds...)
	}
	return all, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
