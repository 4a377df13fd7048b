package victim

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// channelActs try to reach somebody outside.
var channelActs = map[string]act{
	"dial":       dial,
	"listen":     listen,
	"interfaces": interfaces,
	"socket":     socket,
	"shmmake":    func(arg string) (string, error) { return sharedMemory(arg, unix.IPC_CREAT|0o666) },
	"shmfind":    func(arg string) (string, error) { return sharedMemory(arg, 0) },
	"mqmake":     func(arg string) (string, error) { return "", openQueue(arg, unix.O_RDWR|unix.O_CREAT) },
	"mqfind":     func(arg string) (string, error) { return "", openQueue(arg, unix.O_RDWR) },
	"keyring": func(string) (string, error) {
		_, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
		return "", err
	},
	"addkey": func(arg string) (string, error) {
		_, err := unix.AddKey("user", arg, []byte("x"), unix.KEY_SPEC_PROCESS_KEYRING)
		return "", err
	},
	"ioctl":    ioctl,
	"hostname": func(string) (string, error) { return os.Hostname() },
}

// dial connects: "network,address".
func dial(arg string) (string, error) {
	network, address, _ := strings.Cut(arg, ",")
	c, err := net.Dial(network, address)
	if err != nil {
		return "", err
	}
	return "", c.Close()
}

// listen holds an address until the victim ends: "network,address".
func listen(arg string) (string, error) {
	network, address, _ := strings.Cut(arg, ",")
	l, err := net.Listen(network, address)
	if err != nil {
		return "", err
	}
	held = append(held, l)
	return l.Addr().String(), nil
}

var held []net.Listener // so that no finalizer closes them

func interfaces(string) (string, error) {
	all, err := net.Interfaces()
	if err != nil {
		return "", err
	}
	var list []string
	for _, i := range all {
		list = append(list, fmt.Sprintf("%s %v", i.Name, i.Flags))
	}
	slices.Sort(list)
	return strings.Join(list, "; "), nil
}

// socket makes one: "family,type,protocol".
func socket(arg string) (string, error) {
	parts := strings.Split(arg, ",")
	return "", closing(unix.Socket(number(parts[0]), number(parts[1])|unix.SOCK_CLOEXEC, number(parts[2])))
}

// sharedMemory finds or makes System V shared memory: "key".
func sharedMemory(key string, flags int) (string, error) {
	id, err := unix.SysvShmGet(number(key), 4096, flags)
	if err != nil {
		return "", err
	}
	return fmt.Sprint(id), nil
}

// The requests of ioctl(2) that write into a terminal.
var requests = map[string]uint64{
	"TIOCSTI":        unix.TIOCSTI,
	"TIOCSTI+2^32":   unix.TIOCSTI | 1<<32,
	"TIOCLINUX":      0x541c,
	"TIOCLINUX+2^32": 0x541c | 1<<32,
	"TIOCCONS":       unix.TIOCCONS,
	"TIOCSETD":       unix.TIOCSETD,
	"TIOCSETD+2^32":  unix.TIOCSETD | 1<<32,
	"TIOCGWINSZ":     unix.TIOCGWINSZ,
}

// ioctl makes a request of a terminal: "descriptor,request".
func ioctl(arg string) (string, error) {
	fd, request, _ := strings.Cut(arg, ",")
	return "", ioctlByte(number(fd), requests[request], 'x')
}

// openQueue opens or makes a POSIX message queue, which stays when it is closed.
func openQueue(name string, flags int) error {
	fd, err := mqOpen(name, flags)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}
