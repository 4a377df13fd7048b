package victim

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Bombs: acts that take as much of something as there is.

var bombActs = map[string]act{"take": take, "hold": hold, "forks": forks}

// takers take one more of a thing that the kernel counts, and keep it until the process ends.
var takers = map[string]func(i int) error{
	"inotify": func(int) error { _, err := unix.InotifyInit1(unix.IN_CLOEXEC); return err },
	"watch":   watch,
	"terminal": func(int) error {
		_, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		return err
	},
	"signal": queueSignal,
	"aio":    func(int) error { return aioSetup(4096) },
	"queue":  takeQueue,
	"pipe":   func(int) error { var p [2]int; return unix.Pipe2(p[:], unix.O_CLOEXEC) },
	"inode":  func(i int) error { return makeFile("/tmp/" + strconv.Itoa(i)) },
	"link":   func(i int) error { return unix.Symlink("nothing", "/tmp/"+strconv.Itoa(i)) },
	"name": func(i int) error {
		if i == 0 {
			return makeFile("/tmp/0")
		}
		return unix.Link("/tmp/0", "/tmp/"+strconv.Itoa(i))
	},
	"directory": deeper,
	"zombie":    zombie,
	"inflight":  inFlight,
	"process":   process,
}

// take takes up to so many of a thing: "thing,number". It tells how many it got, and what became of the next.
func take(arg string) (string, error) {
	thing, most, _ := strings.Cut(arg, ",")
	taker, ok := takers[thing]
	if !ok {
		return "", fmt.Errorf("nobody takes %q", thing)
	}
	for i := range number(most) {
		if err := taker(i); err != nil {
			return strconv.Itoa(i), err
		}
	}
	return most, nil
}

func makeFile(path string) error {
	fd, err := unix.Open(path, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// takeQueue makes a queue that goes with the process: its name is nobody else's and is taken away at once, since
// whoever is outside of a sandbox makes it where the host's are.
func takeQueue(i int) error {
	name := fmt.Sprintf("take-%d-%d", os.Getpid(), i)
	if _, err := mqOpen(name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL); err != nil { // kept open
		return err
	}
	return unlinkQueue(name)
}

var watcher int

// watch watches one more file.
func watch(i int) error {
	if i == 0 {
		var err error
		if watcher, err = unix.InotifyInit1(unix.IN_CLOEXEC); err != nil {
			return err
		}
	}
	name := "/tmp/" + strconv.Itoa(i)
	if err := makeFile(name); err != nil {
		return err
	}
	_, err := unix.InotifyAddWatch(watcher, name, unix.IN_OPEN)
	return err
}

// deeper makes a directory in the last one, and goes there.
func deeper(int) error {
	name := string(bytes.Repeat([]byte{'d'}, 255))
	if err := os.Mkdir(name, 0o700); err != nil {
		return err
	}
	return unix.Chdir(name)
}

// zombie leaves a child that has ended, for nobody to wait for.
func zombie(int) error {
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if pid == 0 && errno == 0 {
		for {
			_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
	}
	if errno != 0 {
		return errno
	}
	// Until it is one.
	return unix.Waitid(unix.P_PID, int(pid), nil, unix.WEXITED|unix.WNOWAIT, nil)
}

// inFlight sends many descriptors to where nobody receives them.
func inFlight(int) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(make([]int, 100)...), nil, unix.MSG_DONTWAIT)
}

// process starts a child that stays.
func process(int) error {
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	for pid == 0 && errno == 0 {
		_, _, _ = unix.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0) // until it is killed
	}
	if errno != 0 {
		return errno
	}
	return nil
}

// forks forks, as each of its children does.
func forks(string) (string, error) {
	for {
		_, _, _ = unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	}
}
