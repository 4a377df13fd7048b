package cgroup

import (
	"context"
	"errors"
	"math"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// watch is a file of a cgroup that tells when it changes: cgroup.events, memory.events, pids.events.
//
// The kernel wakes whoever polls such a file for POLLPRI (section "Core Interface Files"). An epoll
// instance that holds nothing else can in turn be polled by Go's runtime, so that a wait is a waiting
// goroutine and not a blocked thread, and can be ended. Changes less than 10 ms apart are told together
// (CGROUP_FILE_NOTIFY_MIN_INTV in kernel/cgroup/cgroup.c).
type watch struct {
	name  string
	file  int
	epoll *os.File
}

func (d *dir) watch(name string) (*watch, error) {
	file, err := d.openFile(name, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		unix.Close(file)
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	event := unix.EpollEvent{Events: unix.EPOLLPRI}
	err = unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, file, &event)
	if err == nil {
		err = unix.SetNonblock(epoll, true) // or the runtime would not poll it
	}
	if err != nil {
		unix.Close(file)
		unix.Close(epoll)
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	return &watch{name: name, file: file, epoll: os.NewFile(uintptr(epoll), "epoll of "+name)}, nil
}

func (w *watch) close() {
	w.epoll.Close()
	unix.Close(w.file)
}

// wake ends a wait.
func (w *watch) wake() { _ = w.epoll.SetReadDeadline(time.Unix(1, 0)) } // it is pollable

// until waits for contents that enough accepts.
func (w *watch) until(ctx context.Context, enough func([]byte) bool) error {
	stop := context.AfterFunc(ctx, w.wake)
	defer stop()
	conn, err := w.epoll.SyscallConn()
	if err != nil {
		return err
	}
	for {
		data, err := readValue(w.file, nil) // which makes the file unready, until it changes
		if err != nil {
			return err
		}
		if enough(data) {
			return nil
		}
		var waitErr error
		err = conn.Read(func(fd uintptr) bool {
			var events [1]unix.EpollEvent
			var n int
			n, waitErr = ignoringEINTR(func() (int, error) { return unix.EpollWait(int(fd), events[:], 0) })
			return n > 0 || waitErr != nil
		})
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return err
		case waitErr != nil:
			return os.NewSyscallError("epoll_wait", waitErr)
		}
	}
}

// AwaitOOM returns nil as soon as the kernel has killed a process of the cgroup for want of memory, and
// ctx's error if that ends first.
func (l *Leaf) AwaitOOM(ctx context.Context) error {
	return l.await(ctx, "memory.events", func(data []byte) bool { return flatKey(data, "oom_kill") > 0 })
}

// AwaitPidsMax returns nil as soon as a fork was refused by PidsMax, and ctx's error if that ends first.
func (l *Leaf) AwaitPidsMax(ctx context.Context) error {
	return l.await(ctx, "pids.events", func(data []byte) bool { return flatKey(data, "max") > 0 })
}

// AwaitEmpty returns nil as soon as no process is in the cgroup, and ctx's error if that ends first.
func (l *Leaf) AwaitEmpty(ctx context.Context) error {
	return l.await(ctx, "cgroup.events", func(data []byte) bool { return flatKey(data, "populated") == 0 })
}

func (l *Leaf) await(ctx context.Context, name string, enough func([]byte) bool) error {
	w, err := l.watch(name)
	if err == nil {
		defer w.close()
		waiting, cancel := context.WithCancel(ctx)
		err = l.whileThere(cancel, func() error { return w.until(waiting, enough) })
	}
	if errors.Is(err, context.Canceled) && ctx.Err() == nil {
		err = ErrRemoved
	}
	return l.fault("watch "+name, err)
}

// whileThere runs wait, and calls stop if the cgroup is removed meanwhile: the kernel does not tell of it.
func (l *Leaf) whileThere(stop func(), wait func() error) error {
	ended, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-l.gone:
		case <-ended:
		}
		stop()
	}()
	err := wait()
	close(ended)
	<-watched
	return err
}

// watch opens a watch that outlives the directory's descriptor.
func (l *Leaf) watch(name string) (*watch, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dir == nil {
		return nil, ErrRemoved
	}
	return l.dir.watch(name)
}

// cpuTick is the least time, and cpuTickMost the longest, between two looks at the processor time. The kernel tells nobody of it.
const (
	cpuTick     = 5 * time.Millisecond
	cpuTickMost = 50 * time.Millisecond
)

// AwaitCPUTime returns nil once the processes of the cgroup have used limit of processor time together,
// the ended ones included, and ctx's error if that ends first. It looks when the limit can be used up at the
// earliest, and every 50 ms at least: a process may take more processors than the caller has, if they are there.
func (l *Leaf) AwaitCPUTime(ctx context.Context, limit time.Duration) error {
	return l.fault("watch cpu.stat", l.awaitCPUTime(ctx, limit))
}

func (l *Leaf) awaitCPUTime(ctx context.Context, limit time.Duration) error {
	fd, err := l.openFile("cpu.stat")
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.gone:
			return ErrRemoved
		case <-timer.C:
		}
		data, err := readValue(fd, nil)
		if err != nil {
			return err
		}
		used := flatKey(data, "usage_usec")
		if used == Unknown {
			return errors.New("cpu.stat has no usage_usec")
		}
		left := limit - microseconds(used)
		if left <= 0 {
			return nil
		}
		// No earlier can it be used up, with every processor that may be used busy.
		timer.Reset(min(max(left/time.Duration(l.processors()), cpuTick), cpuTickMost))
	}
}

// processors returns how many the cgroup may use.
func (l *Leaf) processors() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := runtime.NumCPU()
	if quota := l.limits.CPUMax; quota > 0 && quota < float64(n) {
		n = int(math.Ceil(quota))
	}
	return n
}

// openFile opens a file to be read for as long as the caller likes.
func (l *Leaf) openFile(name string) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dir == nil {
		return -1, ErrRemoved
	}
	return l.dir.openFile(name, unix.O_RDONLY)
}
