package launch

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// memfd returns a sealed anonymous file that holds the image. Nobody can write to it again.
func memfd(image []byte) (*os.File, error) {
	const name, how = "ringfence", unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, how|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) {
		// MFD_EXEC came with Linux 6.3 (kernel commit 105ff5339f49); before it, every memfd can be executed.
		fd, err = unix.MemfdCreate(name, how)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.Write(image); err != nil {
		f.Close()
		return nil, fmt.Errorf("write the set-up image: %w", err)
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		f.Close()
		return nil, os.NewSyscallError("seal memfd", err)
	}
	return f, nil
}

// privateFile returns a file without a name that holds the image, for hosts that execute no memfd. It
// is made in dir and gone when it is closed, also if this program is killed.
func privateFile(dir string, image []byte) (*os.File, error) {
	// A file that is open for writing cannot be executed (ETXTBSY, execve(2)), and a process that
	// another goroutine forks meanwhile would hold a copy of the descriptor. The lock keeps forks away.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o500)
	if err != nil {
		return nil, &os.PathError{Op: "create a file without a name in", Path: dir, Err: err}
	}
	w := os.NewFile(uintptr(fd), dir)
	defer w.Close()
	if _, err := w.Write(image); err != nil {
		return nil, err
	}
	return os.Open(fdPath(w))
}

// fdPath returns a path by which a process with a copy of f's descriptor can execute the file.
func fdPath(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

// moveAbove gives f a descriptor that the start of a process with these files does not reuse.
//
// The child moves its files to 0 and up, and may park them just above the highest descriptor in use
// (forkAndExecInChild of package syscall). A number that it overwrites would make /proc/self/fd/N
// another file.
func moveAbove(f *os.File, files []*os.File) (*os.File, error) {
	highest := len(files)
	for _, file := range files {
		if file != nil {
			highest = max(highest, int(file.Fd()))
		}
	}
	const pipeAndRounding = 4
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, highest+len(files)+pipeAndRounding)
	f.Close()
	if errors.Is(err, unix.EINVAL) {
		err = unix.EMFILE // the number is beyond RLIMIT_NOFILE (fcntl(2))
	}
	if err != nil {
		return nil, os.NewSyscallError("move a descriptor up", err)
	}
	return os.NewFile(uintptr(fd), "ringfence"), nil
}
