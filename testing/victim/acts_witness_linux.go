package victim

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Acts on the second thread of PID 1.

func init() {
	register(map[string]act{
		"witness":  func(string) (string, error) { tid, err := witness(); return strconv.Itoa(tid), err },
		"on":       onWitness,
		"tgkill":   func(arg string) (string, error) { t, s := twoInts(arg); return "", unix.Tgkill(1, t, unix.Signal(s)) },
		"tgqueue":  tgQueue,
		"pidlimit": pidLimit,
		"cputime":  cpuTime,
	})
}

// witness waits for the second thread of PID 1 and returns its ID.
func witness() (int, error) {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		names, err := list("/proc/1/task")
		if err != nil {
			return 0, err
		}
		for name := range strings.FieldsSeq(names) {
			if tid, err := strconv.Atoi(name); err == nil && tid != 1 {
				return tid, nil
			}
		}
	}
	return 0, fmt.Errorf("PID 1 has one thread")
}

// onWitness does another act, with the ID of the thread in the place of "$".
func onWitness(arg string) (string, error) {
	tid, err := witness()
	if err != nil {
		return "", err
	}
	name, rest, _ := strings.Cut(arg, ":")
	do, ok := acts[name]
	if !ok {
		return "", fmt.Errorf("no act %q", name)
	}
	return do(strings.ReplaceAll(rest, "$", strconv.Itoa(tid)))
}

// pidLimit sets a resource limit to 1: "process or thread,resource".
func pidLimit(arg string) (string, error) {
	pid, resource := twoInts(arg)
	return "", unix.Prlimit(pid, resource, &unix.Rlimit{Cur: 1, Max: 1}, nil)
}

// cpuTime returns the clock ticks that a process or thread has used, of the file stat in that directory.
func cpuTime(dir string) (string, error) {
	stat, err := read(dir + "/stat")
	if err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(stat, ") ") // proc_pid_stat(5): the name, and field 3
	f := strings.Fields(rest)
	return f[11] + " " + f[12], nil
}
