//go:build linux

package sandbox

import (
	"bytes"
	"io"
	"math"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// cpuWatch adds up the processor time of everything in a sandbox, as its own /proc shows it.
//
// The sum holds every live process with the children that it waited for, and PID 1 with the orphans that
// it reaped. What escapes it are children of a process that ignores SIGCHLD: the kernel adds their times
// to nobody (wait(2), NOTES).
type cpuWatch struct {
	proc  *os.File // the directory
	limit time.Duration
}

// clockTick is the unit of times in /proc/PID/stat: USER_HZ is 100 on every architecture of this
// library (asm-generic/param.h).
const clockTick = time.Second / 100

// exceeded returns true when the limit is used up, and false when done is closed before.
func (w *cpuWatch) exceeded(done <-chan struct{}) bool {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-done:
			return false
		case <-timer.C:
		}
		left := w.limit - w.used()
		if left <= 0 {
			return true
		}
		// No earlier can it be used up, with every processor busy.
		timer.Reset(max(left/time.Duration(runtime.NumCPU()), clockTick/2))
	}
}

// used returns the sum.
func (w *cpuWatch) used() time.Duration {
	if _, err := w.proc.Seek(0, io.SeekStart); err != nil {
		return 0
	}
	names, err := w.proc.Readdirnames(-1)
	if err != nil {
		return 0 // the sandbox has ended
	}
	var ticks int64
	for _, name := range names {
		if name[0] >= '0' && name[0] <= '9' {
			ticks += w.ticks(name)
		}
	}
	return time.Duration(ticks) * clockTick
}

// ticks returns the times of one process and of the children that it waited for; 0 if it is gone.
func (w *cpuWatch) ticks(pid string) int64 {
	fd, err := unix.Openat(int(w.proc.Fd()), pid+"/stat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	var buf [1024]byte
	n, err := unix.Read(fd, buf[:])
	if err != nil {
		return 0
	}
	return parseTicks(buf[:n])
}

// parseTicks adds up utime, stime, cutime and cstime of a stat file (fields 14 to 17 of
// proc_pid_stat(5)). The name in field 2 may hold anything, so that fields count from the last ")".
func parseTicks(stat []byte) int64 {
	const first, count = 14 - 3, 4
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < first+count {
		return 0
	}
	var sum int64
	for _, f := range fields[first : first+count] {
		v, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil || v < 0 || v > math.MaxInt64-sum {
			return 0
		}
		sum += v
	}
	return sum
}
