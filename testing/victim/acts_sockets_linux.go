package victim

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// socketActs make sockets in every way there is.
var socketActs = map[string]act{
	"sockets":  func(string) (string, error) { return eachSocket(socketOf) },
	"pairs":    func(string) (string, error) { return eachSocket(pairOf) },
	"shout":    shout,
	"squat":    squat,
	"sysv":     systemV,
	"callpair": callPair,
}

// The highest numbers that a kernel may know: linux/socket.h, linux/net.h.
const maxFamily, maxSocketType = 64, 10

// eachSocket lists those families and types of which a socket can be made.
func eachSocket(try func(family, kind, protocol int) error) (string, error) {
	var list []string
	for family := range maxFamily {
		for kind := range maxSocketType + 1 {
			for _, protocol := range []int{0, 1, unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_RAW} {
				if err := try(family, kind, protocol); err == nil {
					list = append(list, fmt.Sprintf("%d/%d", family, kind))
					break
				}
			}
		}
	}
	return strings.Join(list, " "), nil
}

func socketOf(family, kind, protocol int) error {
	return closing(unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol))
}

func pairOf(family, kind, protocol int) error {
	fds, err := unix.Socketpair(family, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return err
	}
	return errors.Join(unix.Close(fds[0]), unix.Close(fds[1]))
}

// abstract is the address of an abstract socket, by its name with an @.
func abstract(name string) unix.Sockaddr { return &unix.SockaddrUnix{Name: name} }

// pairs are the types of socketpair(2) that unix(7) has, the raw one, which is a datagram's, too.
var pairs = [...]int{unix.SOCK_STREAM, unix.SOCK_SEQPACKET, unix.SOCK_DGRAM, unix.SOCK_RAW}

// shout sends something to an abstract socket from a connected pair, of whatever type there is.
func shout(name string) (string, error) {
	return ofPair(func(fd, other int) error {
		if err := unix.Sendto(fd, []byte("x"), 0, abstract(name)); err != nil {
			return err
		}
		var b [1]byte
		if n, _, err := unix.Recvfrom(other, b[:], unix.MSG_DONTWAIT); err == nil && n == len(b) {
			return errors.New("it came to the other socket of the pair")
		}
		return nil
	})
}

// squat takes an abstract name for a socket of a pair.
func squat(name string) (string, error) {
	return ofPair(func(fd, _ int) error { return unix.Bind(fd, abstract(name)) })
}

// ofPair reports the types of pairs with which do succeeds; if there are none, it is the last error.
func ofPair(do func(fd, other int) error) (string, error) {
	var done []string
	var failed error
	for _, kind := range pairs {
		fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			failed = err
			continue
		}
		if err := do(fds[0], fds[1]); err != nil {
			failed = err
		} else {
			done = append(done, fmt.Sprint(kind))
		}
		_, _ = unix.Close(fds[0]), unix.Close(fds[1])
	}
	if done == nil {
		return "", failed
	}
	return strings.Join(done, " "), nil
}

// callPair sends a byte through a pair, as programs do that have it for a pipe.
func callPair(string) (string, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	if _, err := unix.Write(fds[0], []byte("x")); err != nil {
		return "", err
	}
	var b [2]byte
	n, err := unix.Read(fds[1], b[:])
	return string(b[:max(n, 0)]), errors.Join(err, unix.Close(fds[0]), unix.Close(fds[1]))
}

// systemV lists the channels of System V and POSIX that can be made: memory, semaphores, messages, a queue.
func systemV(arg string) (string, error) {
	key := uintptr(number(arg))
	var list []string
	for _, made := range []struct {
		name    string
		get     uintptr
		args    []uintptr
		control uintptr
		removal []uintptr // before and after the ID there is what each call has
	}{
		{"shm", unix.SYS_SHMGET, []uintptr{key, 4096, unix.IPC_CREAT | 0o600}, unix.SYS_SHMCTL, []uintptr{unix.IPC_RMID, 0}},
		{"sem", unix.SYS_SEMGET, []uintptr{key, 1, unix.IPC_CREAT | 0o600}, unix.SYS_SEMCTL, []uintptr{0, unix.IPC_RMID}},
		{"msg", unix.SYS_MSGGET, []uintptr{key, unix.IPC_CREAT | 0o600}, unix.SYS_MSGCTL, []uintptr{unix.IPC_RMID, 0}},
	} {
		args := append(made.args, 0, 0, 0)
		id, _, errno := unix.Syscall(made.get, args[0], args[1], args[2])
		if errno != 0 {
			continue
		}
		list = append(list, made.name)
		if _, _, errno := unix.Syscall(made.control, id, made.removal[0], made.removal[1]); errno != 0 {
			return strings.Join(list, " "), errno
		}
	}
	queue := fmt.Sprintf("ringfence-%d", key)
	var err error
	if openQueue(queue, unix.O_RDWR|unix.O_CREAT) == nil {
		list, err = append(list, "mq"), unlinkQueue(queue)
	}
	return strings.Join(list, " "), err
}
