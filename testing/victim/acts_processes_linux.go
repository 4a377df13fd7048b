package victim

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

var processActs = map[string]act{
	"kill":       func(arg string) (string, error) { p, s := twoInts(arg); return "", unix.Kill(p, syscall.Signal(s)) },
	"sigqueue":   sigqueue,
	"pidfdkill":  pidfdKill,
	"attach":     func(arg string) (string, error) { return "", unix.PtraceAttach(number(arg)) },
	"seize":      func(arg string) (string, error) { return "", unix.PtraceSeize(number(arg)) },
	"vmread":     vmRead,
	"interrupt":  interrupt,
	"prlimit":    prlimit,
	"renice":     func(arg string) (string, error) { return "", unix.Setpriority(unix.PRIO_PROCESS, number(arg), 19) },
	"reniceuser": func(string) (string, error) { return "", unix.Setpriority(unix.PRIO_USER, 0, 19) },
	"ioprio":     func(arg string) (string, error) { return "", call(unix.SYS_IOPRIO_SET, 1, uintptr(number(arg)), 3<<13) },
	"ioprioidle": func(arg string) (string, error) { return "", call(unix.SYS_IOPRIO_SET, 3, uintptr(number(arg)), 3<<13) },
	"affinity":   affinity,
	"scheduler":  scheduler,
	"ids":        ids,
	"session":    session,
	"umask":      func(string) (string, error) { return fmt.Sprintf("%04o", unix.Umask(0)), nil },
	"environ":    func(string) (string, error) { return strings.Join(os.Environ(), "\n"), nil },
	"cwd":        func(string) (string, error) { return unixGetwd() },
	"run":        run,
	"runas":      runAs,
	"rlimit":     rlimit,
	"setuid":     func(arg string) (string, error) { return "", syscall.Setuid(number(arg)) },
	"setgroups":  func(arg string) (string, error) { return "", syscall.Setgroups([]int{number(arg)}) },
	"burn":       burn,
	"touch":      touch,
	"huge":       huge,
	"raise":      raise,
	"exit":       func(arg string) (string, error) { os.Exit(number(arg)); return "", nil },
	"processors": func(string) (string, error) { return strconv.Itoa(runtime.GOMAXPROCS(0)), nil },
	"nothing":    func(string) (string, error) { return "", nil },
	"print":      func(arg string) (string, error) { return arg, nil },
	"countprocs": countProcesses,
	"await":      func(string) (string, error) { var b [1]byte; _, err := os.Stdin.Read(b[:]); return "", eof(err) },
}

func eof(err error) error {
	if err != nil && err.Error() == "EOF" {
		return nil
	}
	return err
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(fmt.Sprintf("victim: argument %q: %v", s, err)) // a fault of the test
	}
	return n
}

func twoInts(arg string) (int, int) {
	a, b, _ := strings.Cut(arg, ",")
	return number(a), number(b)
}

// sigqueue sends a signal many times: "pid,signal,count".
func sigqueue(arg string) (string, error) {
	parts := strings.Split(arg, ",")
	pid, sig, count := number(parts[0]), number(parts[1]), number(parts[2])
	for range count {
		if err := unix.Kill(pid, syscall.Signal(sig)); err != nil {
			return "", err
		}
	}
	return "", nil
}

func pidfdKill(arg string) (string, error) {
	pid, sig := twoInts(arg)
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	return "", unix.PidfdSendSignal(fd, syscall.Signal(sig), nil, 0)
}

// vmRead reads the first bytes of the set-up image's data: "pid".
func vmRead(arg string) (string, error) {
	var buf [8]byte
	local := []unix.Iovec{{Base: &buf[0]}}
	local[0].SetLen(len(buf))
	remote := []unix.RemoteIovec{{Base: 0x400000, Len: len(buf)}}
	_, err := unix.ProcessVMReadv(number(arg), local, remote, 0)
	return "", err
}

func prlimit(arg string) (string, error) {
	return "", unix.Prlimit(number(arg), unix.RLIMIT_CPU, &unix.Rlimit{Cur: 1, Max: 1}, nil)
}

func affinity(arg string) (string, error) {
	var set unix.CPUSet
	set.Set(0)
	return "", unix.SchedSetaffinity(number(arg), &set)
}

func scheduler(arg string) (string, error) {
	return "", unix.SchedSetAttr(number(arg), &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}, 0)
}

func ids(string) (string, error) {
	r, e, s := unix.Getresuid()
	rg, eg, sg := unix.Getresgid()
	groups, err := unix.Getgroups()
	return fmt.Sprintf("uid %d %d %d gid %d %d %d groups %v", r, e, s, rg, eg, sg, groups), err
}

func session(string) (string, error) {
	sid, err := unix.Getsid(0)
	return fmt.Sprintf("pid %d sid %d pgid %d", os.Getpid(), sid, unix.Getpgrp()), err
}

func unixGetwd() (string, error) {
	var buf [unix.PathMax]byte
	n, err := unix.Getcwd(buf[:])
	if err != nil {
		return "", err
	}
	return string(buf[:n-1]), nil
}

// run executes a program and returns its output: "path,arg,arg".
func run(arg string) (string, error) {
	args := strings.Split(arg, ",")
	cmd := exec.Command(args[0], args[1:]...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return string(out), fmt.Errorf("%w %s", err, exit.Stderr)
	}
	return string(out), err
}

// runAs executes a copy of the victim, "path,act", and returns what came of its act.
func runAs(arg string) (string, error) {
	path, act, _ := strings.Cut(arg, ",")
	cmd := exec.Command(path)
	cmd.Args = []string{Path, act}
	out, err := cmd.Output()
	return string(out), err
}

func rlimit(arg string) (string, error) {
	var l unix.Rlimit
	err := unix.Getrlimit(number(arg), &l)
	return fmt.Sprintf("%d %d", l.Cur, l.Max), err
}

// burn uses processor time: "milliseconds".
func burn(arg string) (string, error) {
	want := time.Duration(number(arg)) * time.Millisecond
	for {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			return "", err
		}
		if time.Duration(u.Utime.Nano()+u.Stime.Nano()) >= want {
			return "", nil
		}
	}
}

// touch uses memory: "MiB".
func touch(arg string) (string, error) {
	size := number(arg) << 20
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return "", err
	}
	for i := 0; i < size; i += 4096 {
		b[i] = 1
	}
	return "", unix.Munmap(b)
}

// huge uses pages of 2 MiB: how many of them.
func huge(arg string) (string, error) {
	const page = 2 << 20
	b, err := unix.Mmap(-1, 0, number(arg)*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_HUGETLB|unix.MAP_HUGE_2MB)
	if err != nil {
		return "", err
	}
	for i := 0; i < len(b); i += page {
		b[i] = 1
	}
	return "", unix.Munmap(b)
}

// raise sends a signal to itself with its default action, as a C program would: the Go runtime's
// handlers are taken away first.
func raise(arg string) (string, error) {
	sig := number(arg)
	if err := defaultAction(sig); err != nil {
		return "", err
	}
	err := unix.Kill(os.Getpid(), syscall.Signal(sig))
	if err == nil {
		time.Sleep(time.Minute) // until it is delivered
	}
	return "", err
}

// countProcesses counts what /proc shows.
func countProcesses(string) (string, error) {
	names, err := list("/proc")
	n := 0
	for name := range strings.FieldsSeq(names) {
		if _, err := strconv.Atoi(name); err == nil {
			n++
		}
	}
	return strconv.Itoa(n), err
}
