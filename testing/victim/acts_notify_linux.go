package victim

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// Acts on calls for which a supervisor is asked.

func init() {
	register(map[string]act{
		"result":    result,
		"openat":    openat,
		"full":      full,
		"pointer":   pointer,
		"swap":      swap,
		"together":  together,
		"children":  children,
		"killchild": killChild,
		"openmany":  openMany,
		"loop":      loop,
	})
}

// result makes a call and returns what it returned: "name,argument,argument".
func result(arg string) (string, error) {
	name, rest, _ := strings.Cut(arg, ",")
	nr, ok := kernel.Number(kernel.Arch(runtime.GOARCH), name)
	if !ok {
		return "", fmt.Errorf("no call %q", name)
	}
	var args [6]uintptr
	for i, a := range strings.FieldsFunc(rest, func(r rune) bool { return r == ',' }) {
		args[i] = uintptr(number(a))
	}
	r, _, errno := unix.Syscall6(uintptr(nr), args[0], args[1], args[2], args[3], args[4], args[5])
	if errno != 0 {
		return "", errno
	}
	return fmt.Sprint(int64(r)), nil
}

// openat opens a file by openat(2), and tells whether it closes on exec, and what is in it.
func openat(path string) (string, error) {
	fd, err := unix.Openat(unix.AT_FDCWD, path, unix.O_RDONLY, 0)
	if err != nil {
		return "", err
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(io.LimitReader(f, 1<<10))
	return fmt.Sprintf("%d %s", flags, data), err
}

// full opens a file when every descriptor is taken.
func full(path string) (string, error) {
	fd, err := unix.Dup(0)
	if err != nil {
		return "", err
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return "", err
	}
	old := limit
	limit.Cur = uint64(fd) + 1 // the lowest ones are taken first
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return "", err
	}
	_, err = unix.Openat(unix.AT_FDCWD, path, unix.O_RDONLY, 0)
	return "", errors.Join(err, unix.Setrlimit(unix.RLIMIT_NOFILE, &old), unix.Close(fd))
}

// pointer passes a string to mkdirat(2) that lies where strings should not: it is "end" at the end of
// what is mapped; "cut", with no NUL there; "across" a page; "long", without a NUL in a MiB; "nowhere"; "null";
// "kernel".
func pointer(kind string) (string, error) {
	page := os.Getpagesize()
	const text = "/tmp/pointer"
	size := 3 * page
	if kind == "long" {
		size = 1<<20 + page
	}
	memory, addr, err := mapped(size)
	if err != nil {
		return "", err
	}
	end := size - page
	if err := unmap(addr+uintptr(end), page); err != nil {
		return "", err
	}
	memory = memory[:end]
	at := addr
	switch kind {
	case "end":
		at += uintptr(end - copy(memory[end-len(text)-1:], text) - 1)
	case "cut":
		at += uintptr(end - copy(memory[end-len(text):], text))
	case "across":
		at += uintptr(page - 5)
		copy(memory[page-5:], text)
	case "long":
		for i := range memory {
			memory[i] = 'x'
		}
	case "nowhere":
		at += uintptr(end)
	case "null":
		at = 0
	case "kernel":
		at = ^uintptr(0) - 4 // and around to 0
	}
	const here = ^uintptr(0) - 99 // AT_FDCWD
	return "", call(unix.SYS_MKDIRAT, here, at, 0o700)
}

// swap opens a path many times that another thread replaces all the time, and tells what it read:
// "one,other", both of the same length.
func swap(arg string) (string, error) {
	one, other, _ := strings.Cut(arg, ",")
	memory, addr, err := mapped(os.Getpagesize())
	if err != nil {
		return "", err
	}
	copy(memory, one)
	stop := make(chan struct{})
	var swapper sync.WaitGroup
	swapper.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			copy(memory, other)
			copy(memory, one)
		}
	})
	seen := map[string]bool{}
	const here = ^uintptr(0) - 99 // AT_FDCWD
	for range 2000 {
		fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, here, addr, unix.O_RDONLY, 0, 0, 0)
		if errno != 0 {
			seen[unix.ErrnoName(errno)] = true
			continue
		}
		f := os.NewFile(fd, one)
		data, err := io.ReadAll(f)
		if err != nil {
			return "", err
		}
		seen[string(data)] = true
		f.Close()
	}
	close(stop)
	swapper.Wait()
	return strings.Join(slices.Sorted(maps.Keys(seen)), " "), nil
}

// together makes getppid from many threads, and tells the results: "threads,calls of each".
func together(arg string) (string, error) {
	threads, calls := twoInts(arg)
	var mu sync.Mutex
	seen := map[string]int{}
	var all sync.WaitGroup
	for range threads {
		all.Go(func() {
			for range calls {
				r, err := result("getppid")
				if err != nil {
					r = err.Error()
				}
				mu.Lock()
				seen[r]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return fmt.Sprint(seen), nil
}

// children has many processes do an act at the same time, and tells what came of it: "processes,act".
func children(arg string) (string, error) {
	count, do, _ := strings.Cut(arg, ",")
	out := make([]bytes.Buffer, number(count))
	cmds := make([]*exec.Cmd, len(out))
	for i := range cmds {
		cmds[i] = childVictim(do)
		cmds[i].Stdout = &out[i]
		if err := cmds[i].Start(); err != nil {
			return "", err
		}
	}
	seen := map[string]int{}
	for i, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			return "", err
		}
		all, err := Parse(out[i].Bytes())
		if err != nil {
			return "", err
		}
		seen[all[do].String()]++
	}
	return fmt.Sprint(seen), nil
}

// killChild starts a process that does an act, waits for a byte on its standard input, and kills it.
func killChild(do string) (string, error) {
	cmd := childVictim(do)
	if err := cmd.Start(); err != nil {
		return "", err
	}
	if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
		return "", err
	}
	if err := cmd.Process.Kill(); err != nil {
		return "", err
	}
	return cmd.Wait().Error(), nil
}

func childVictim(do string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{Path, do}
	return cmd
}

// loop makes getppid many times, and tells how long that took: "count".
func loop(arg string) (string, error) {
	began := time.Now()
	for range number(arg) {
		if _, _, errno := unix.Syscall(unix.SYS_GETPPID, 0, 0, 0); errno != 0 {
			return "", errno
		}
	}
	return time.Since(began).String(), nil
}

// openMany opens a file many times from several threads, and tells what was in it: "count,path".
func openMany(arg string) (string, error) {
	count, path, _ := strings.Cut(arg, ",")
	const threads = 4
	var mu sync.Mutex
	seen := map[string]int{}
	var all sync.WaitGroup
	for range threads {
		all.Go(func() {
			for range number(count) / threads {
				got := openOnce(path)
				mu.Lock()
				seen[got]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return fmt.Sprint(seen), nil
}

func openOnce(path string) string {
	fd, err := unix.Openat(unix.AT_FDCWD, path, unix.O_RDONLY, 0)
	if err != nil {
		return err.Error()
	}
	if fd < 3 {
		return fmt.Sprint("descriptor ", fd)
	}
	defer unix.Close(fd)
	var b [256]byte
	n, err := unix.Read(fd, b[:])
	if err != nil {
		return err.Error()
	}
	return string(b[:n])
}
