package victim

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// Ways out that are known from elsewhere.

func init() {
	register(map[string]act{
		"chrootescape": chrootEscape,
		"handle":       handle,
		"byhandle":     byHandle,
		"child":        child,
		"clone3":       clone3,
		"setns":        setns,
		"personality":  func(arg string) (string, error) { return "", call(unix.SYS_PERSONALITY, uintptr(number(arg))) },
		"prctl":        func(arg string) (string, error) { a, b := twoInts(arg); return "", prctl(a, b) },
		"vmwrite":      vmWrite,
		"getfd":        getFD,
		"forcewrite":   forceWrite,
		"memfdexec":    memfdExec,
		"sendfd":       sendFD,
		"recvfd":       receiveFD,
	})
}

func prctl(option, value int) error { return unix.Prctl(option, uintptr(value), 0, 0, 0) }

// chrootEscape goes into a directory by chroot(2), as into a jail, and out of it by a second one, which leaves
// the working directory above the new root. Later acts see where it got to.
func chrootEscape(string) (string, error) {
	if err := os.MkdirAll("/tmp/jail/inner", 0o700); err != nil {
		return "", err
	}
	if err := errors.Join(unix.Chroot("/tmp/jail"), os.Chdir("/")); err != nil {
		return "", err
	}
	jailed, err := list("/")
	if err != nil {
		return "", err
	}
	fd, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.Chroot("inner"), unix.Fchdir(fd)); err != nil {
		return "", err
	}
	for range 64 {
		if err := unix.Chdir(".."); err != nil {
			return "", err
		}
	}
	return jailed, unix.Chroot(".")
}

// handle returns the handle of a file, by which it can be opened without its path.
func handle(path string) (string, error) {
	h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, path, 0)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d,%s", h.Type(), hex.EncodeToString(h.Bytes())), nil
}

// byHandle opens a file by its handle, and reads it: "directory of its file system,handle".
func byHandle(arg string) (string, error) {
	parts := strings.Split(arg, ",")
	bytes, err := hex.DecodeString(parts[2])
	if err != nil {
		return "", err
	}
	dir, err := unix.Open(parts[0], unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(dir)
	fd, err := unix.OpenByHandleAt(dir, unix.NewFileHandle(int32(number(parts[1])), bytes), unix.O_RDONLY|unix.O_CLOEXEC)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	return read(fmt.Sprintf("/proc/self/fd/%d", fd))
}

// child makes a call in a child, where what it changes ends: "name,argument,argument".
func child(arg string) (string, error) {
	parts := strings.Split(arg, ",")
	if len(gates) == 0 {
		return "", errors.ErrUnsupported
	}
	nr, ok := kernel.Number(gates[0].arch, parts[0])
	if !ok {
		return "", fmt.Errorf("no call %q", parts[0])
	}
	var args [6]uintptr
	for i, a := range parts[1:] {
		args[i] = uintptr(number(a))
	}
	return "", inChild(uint32(nr), &args)
}

func inChild(number uint32, args *[6]uintptr) error {
	pid := gates[0].fork(uint32(unix.SIGCHLD), number, args)
	if pid < 0 {
		return unix.Errno(-pid)
	}
	switch result := ended(int(pid), false); {
	case result == "":
		return nil
	case strings.HasPrefix(result, "E"):
		return errnoNamed(result)
	default:
		return errors.New(result)
	}
}

func errnoNamed(name string) error {
	for n := unix.Errno(1); n < 256; n++ {
		if unix.ErrnoName(n) == name {
			return n
		}
	}
	return errors.New(name)
}

// setns enters the namespace of a file.
func setns(path string) (string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	return "", unix.Setns(fd, 0)
}

// getFD takes a descriptor out of a process: "pid,descriptor".
func getFD(arg string) (string, error) {
	pid, fd := twoInts(arg)
	if pid == 0 {
		pid = os.Getpid()
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(pidfd)
	return "", closing(unix.PidfdGetfd(pidfd, fd, 0))
}

// memfdExec executes a copy of the victim that is in memory alone, and returns what came of its act.
func memfdExec(act string) (string, error) {
	image, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return "", err
	}
	fd, err := unix.MemfdCreate("victim", unix.MFD_CLOEXEC)
	if err != nil {
		return "", err
	}
	file := os.NewFile(uintptr(fd), "victim")
	defer file.Close()
	if _, err := file.Write(image); err != nil {
		return "", err
	}
	cmd := exec.Command(fmt.Sprintf("/proc/self/fd/%d", fd))
	cmd.Args = []string{Path, act}
	out, err := cmd.Output()
	return string(out), err
}

// sendFD waits at a socket and sends whoever comes a descriptor of a file: "socket,file".
func sendFD(arg string) (string, error) {
	socket, path, _ := strings.Cut(arg, ",")
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return "", err
	}
	defer l.Close()
	emit(Outcome{Act: "listening"})
	c, err := l.AcceptUnix()
	if err != nil {
		return "", err
	}
	defer c.Close()
	_, _, err = c.WriteMsgUnix([]byte{0}, unix.UnixRights(int(f.Fd())), nil)
	return "", err
}

// receiveFD takes a descriptor from a socket and reads it.
func receiveFD(socket string) (string, error) {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return "", err
	}
	defer c.Close()
	var b [1]byte
	rights := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := c.ReadMsgUnix(b[:], rights)
	if err != nil {
		return "", err
	}
	messages, err := unix.ParseSocketControlMessage(rights[:n])
	if err != nil || len(messages) != 1 {
		return "", fmt.Errorf("%d messages: %w", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return "", err
	}
	return read(fmt.Sprintf("/proc/self/fd/%d", fds[0]))
}
