package sandbox

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
	"github.com/ringfence-go/ringfence/testing/victim"
)

// What a hostile sandbox must leave alone: the caller's own work, the sandboxes beside it, and everything of
// the caller's that it was not given.

// How long these may be held up by a payload that shares the processors with them.
const (
	longestGap = 3 * time.Second
	longestRun = 15 * time.Second
)

// bystanders measures how the caller and another sandbox fare until it is stopped, and says if they did not.
func bystanders(t testing.TB) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	var gap, run time.Duration
	var ticks, runs int
	began := time.Now()
	work.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for last := time.Now(); ctx.Err() == nil; ticks++ {
			<-tick.C
			now := time.Now()
			gap, last = max(gap, now.Sub(last)), now
		}
	})
	work.Go(func() {
		for ctx.Err() == nil {
			start := time.Now()
			r, err := Run(t.Context(), Spec{Args: []string{"true"}})
			if err != nil || r.Ended != Exited || r.ExitCode != 0 {
				t.Errorf("the sandbox beside it: %v, %v", r, err)
				return
			}
			run = max(run, time.Since(start))
			runs++
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond): // it is to be one that runs now and then
			}
		}
	})
	return func() {
		t.Helper()
		cancel()
		work.Wait()
		t.Logf("%v: the caller's loop stood still for %v at most (%d rounds), a sandbox beside it took %v at most (%d runs)",
			time.Since(began).Round(time.Millisecond), gap, ticks, run, runs)
		if gap > sandboxtest.Slow(longestGap) || run > sandboxtest.Slow(longestRun) {
			t.Errorf("want %v and %v", sandboxtest.Slow(longestGap), sandboxtest.Slow(longestRun))
		}
		if runs == 0 {
			t.Error("no sandbox ran beside it")
		}
	}
}

// canary is everything of the caller's that a payload could touch.
type canary struct {
	path     string // bound into the sandbox, read-only
	pid      int
	contents []byte // of the file, and of memory
	memory   []byte
	info     os.FileInfo
	child    *exec.Cmd
	signals  chan os.Signal
	visitors chan string
	stop     []func() error
}

// newCanary makes one.
func newCanary(t testing.TB) *canary {
	t.Helper()
	c := &canary{path: filepath.Join(t.TempDir(), "canary"), pid: os.Getpid(), contents: make([]byte, 1<<16)}
	_, _ = rand.Read(c.contents) // never fails
	c.memory = bytes.Clone(c.contents)
	if err := os.WriteFile(c.path, c.contents, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(c.path, 0o666); err != nil { // so that the mount alone protects it
		t.Fatal(err)
	}
	info, err := os.Stat(c.path)
	if err != nil {
		t.Fatal(err)
	}
	c.info = info
	c.child = exec.Command("cat")
	if _, err := c.child.StdinPipe(); err != nil { // whose end is the child's, if this program is killed
		t.Fatal(err)
	}
	if err := c.child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = c.child.Process.Kill(), c.child.Wait() }) // unless check has
	c.signals, c.visitors = make(chan os.Signal, 64), make(chan string, 64)
	signal.Notify(c.signals)
	t.Cleanup(func() { signal.Stop(c.signals) })
	for _, at := range [][2]string{{"tcp", "127.0.0.1:0"}, {"unix", fmt.Sprintf("@ringfence-canary-%d-%s", os.Getpid(), filepath.Base(filepath.Dir(c.path)))}} {
		l, err := net.Listen(at[0], at[1])
		if err != nil {
			t.Fatal(err)
		}
		c.stop = append(c.stop, l.Close)
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				c.visitors <- conn.LocalAddr().String()
				conn.Close()
			}
		}()
	}
	return c
}

// check says what has been touched, and takes the canary away.
func (c *canary) check(t testing.TB) {
	t.Helper()
	data, err := os.ReadFile(c.path)
	if err != nil || !bytes.Equal(data, c.contents) {
		t.Errorf("the caller's file has changed (%v)", err)
	}
	info, err := os.Stat(c.path)
	if err != nil || info.Mode() != c.info.Mode() || !info.ModTime().Equal(c.info.ModTime()) || info.Sys().(*syscall.Stat_t).Nlink != 1 {
		t.Errorf("the caller's file was %v %v and is %v, %v", c.info.Mode(), c.info.ModTime(), info, err)
	}
	if !bytes.Equal(c.memory, c.contents) || os.Getpid() != c.pid {
		t.Error("the caller's memory has changed")
	}
	if err := c.child.Process.Kill(); err != nil {
		t.Errorf("the caller's child: %v", err)
	}
	_ = c.child.Wait() // how it ended is what counts
	if s := c.child.ProcessState.Sys().(syscall.WaitStatus); s.Signal() != syscall.SIGKILL {
		t.Errorf("the caller's child ended by itself: %v", c.child.ProcessState)
	}
	signal.Stop(c.signals)
	close(c.signals)
	for s := range c.signals {
		switch s {
		case unix.SIGCHLD, unix.SIGURG, unix.SIGPIPE: // what the kernel sends for children, and the runtime to itself
		case unix.SIGWINCH, unix.SIGCONT: // what whoever sits at the terminal of the tests sends
		default:
			t.Errorf("the caller got %v", s)
		}
	}
	for _, stop := range c.stop {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
	select {
	case where := <-c.visitors:
		t.Errorf("somebody came to the caller's %s", where)
	default:
	}
}

// taken runs a sandbox whose victim does one act and stays, until it is told to end.
func taken(t testing.TB, change func(*Spec), act string) (victim.Outcome, func()) {
	t.Helper()
	spec := victimSpec(t, act, "await")
	if change != nil {
		change(&spec)
	}
	c := Command(t.Context(), spec)
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := newLines(stdout)
	return lines.next(t), func() {
		t.Helper()
		stdin.Close()
		lines.next(t)
		if r, err := c.Wait(); err != nil || r.Err() != nil {
			t.Errorf("%s: %v, %v", act, r, err)
		}
	}
}
