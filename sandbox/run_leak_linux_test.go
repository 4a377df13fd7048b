package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// Nothing is left behind: not by thousands of runs, and not by a caller that is killed.

// times returns how often a test does its work: few by default, the number in the environment variable
// RINGFENCE_SOAK or RINGFENCE_KILLS to be thorough.
func times(env string, few int) int {
	if n, err := strconv.Atoi(os.Getenv(env)); err == nil {
		return n
	}
	return few
}

// soakRun is one of several kinds of runs, failures among them.
func soakRun(ctx context.Context, i int) {
	var out bytes.Buffer
	spec := script("exit 0")
	switch i % 10 {
	case 0:
		spec = script("echo x; kill -KILL $$")
		spec.Stdout = &out
	case 1:
		spec.Args = []string{"/no/such/command"}
	case 2:
		spec.Dir = "/no/such/directory"
	case 3:
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(rand.IntN(3000))*time.Microsecond)
		defer cancel()
		spec = script("sleep 1000")
	case 4:
		spec = script("sleep 1000 & setsid sleep 1000 & exit 1")
		spec.Stdout, spec.Stderr = &out, &out
	case 5:
		spec = script("yes")
		spec.Stdout, spec.Limits.OutputMax = &out, 1000
	case 6:
		spec.Mounts = []Mount{{Type: Tmpfs, Target: "/usr/no/such"}}
	case 7:
		spec = script("sleep 1000")
		spec.Limits.WallTime, spec.Limits.CPUTime = 2*time.Millisecond, time.Hour
	case 9:
		spec = script("echo x >/tmp/x; sleep 0.01")
		spec.Collect = []Collect{{Path: "/tmp/x", File: &out}, {Path: "/no", Tar: &out}, {Path: "/tmp", FS: func(fsys fs.FS) error {
			_, err := fsys.Open("x") // and leaves it open
			return err
		}}}
		if i%20 == 9 {
			spec.Args[0] = "/no/such/command"
		}
	case 8:
		spec.Stdin = strings.NewReader(strings.Repeat("x", 200_000))
	}
	_, _ = Run(ctx, spec) // how each of them ends is the matter of other tests
}

// held is what a process holds.
type held struct{ fds, children, mounts, files, goroutines int }

func holds() held {
	runtime.GC()
	var h held
	names, _ := os.ReadDir("/proc/self/fd")
	h.fds = len(names)
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, list := range lists {
		b, _ := os.ReadFile(list)
		h.children += len(strings.Fields(string(b)))
	}
	b, _ := os.ReadFile("/proc/self/mountinfo")
	h.mounts = bytes.Count(b, []byte("\n"))
	names, _ = os.ReadDir(os.TempDir())
	h.files = len(names)
	h.goroutines = runtime.NumGoroutine()
	return h
}

func TestManyRunsLeaveNothing(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	n := times("RINGFENCE_SOAK", 300)
	soak := func(n int) {
		work := make(chan int)
		done := make(chan struct{})
		for range 4 {
			go func() {
				for i := range work {
					soakRun(t.Context(), i)
				}
				done <- struct{}{}
			}()
		}
		for i := range n {
			work <- i
		}
		close(work)
		for range 4 {
			<-done
		}
	}
	soak(40) // what is made once and kept
	before, rss := holds(), residentKB()
	soak(n)
	after := holds()
	for deadline := time.Now().Add(2 * time.Second); after != before && time.Now().Before(deadline); after = holds() {
		runtime.Gosched()
	}
	if after.fds > before.fds || after.children > before.children || after.mounts != before.mounts || after.files > before.files || after.goroutines > before.goroutines {
		t.Errorf("after %d runs %+v, before %+v", n, after, before)
	}
	if grown := residentKB() - rss; grown > 64<<10 {
		t.Errorf("%d KiB more resident than before", grown)
	}
}

func residentKB() int {
	b, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	f := strings.Fields(rest)
	if len(f) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(f[0])
	return n
}

// callLoop starts sandboxes, two at a time, until it is killed. The marker is among their arguments.
func callLoop() error {
	marker := os.Getenv(markerEnv)
	fmt.Println("looping")
	loop := func(i int) {
		for ; ; i++ {
			spec := Spec{Args: []string{"sh", "-c", "sleep 1000 & setsid sleep 1000 & trap '' TERM HUP IO; wait", marker}}
			if i%2 == 0 {
				for m := range 20 {
					spec.Mounts = append(spec.Mounts, Mount{Type: Tmpfs, Target: fmt.Sprintf("/m%d", m)})
				}
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i%4)*time.Millisecond)
			_, _ = Run(ctx, spec)
			cancel()
		}
	}
	go loop(0)
	loop(1)
	return nil
}

const markerEnv = "RINGFENCE_TEST_MARKER"

// strays returns the processes with the marker among their arguments, and those of the set-up whose
// session leader or parent is not of this program: "ringfence" is their only argument.
func strays(marker string) []string {
	var found []string
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		cmdline, err := os.ReadFile(dir + "/cmdline")
		if err != nil || !bytes.Contains(cmdline, []byte(marker)) && string(cmdline) != "ringfence\x00" {
			continue
		}
		stat, _ := os.ReadFile(dir + "/stat")
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		if len(fields) < 2 || fields[0] == "Z" || fields[0] == "X" {
			continue // dead, and about to be reaped
		}
		if string(cmdline) == "ringfence\x00" && fields[1] != "1" {
			continue // of a caller that lives
		}
		found = append(found, filepath.Base(dir)+" "+strings.ReplaceAll(string(cmdline), "\x00", " ")+string(stat))
	}
	return found
}

func TestKilledCallerLeavesNothing(t *testing.T) { killCallers(t, "loop") }

// killCallers kills programs that start sandboxes, each at another moment, and looks for what is left.
func killCallers(t *testing.T, name string) {
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	before := holds()
	for i := range times("RINGFENCE_KILLS", 25) {
		marker := fmt.Sprintf("marker-%d-%d", os.Getpid(), i)
		cmd := caller(t, name)
		cmd.Env = append(cmd.Env, markerEnv+"="+marker)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rand.IntN(8000)) * time.Microsecond) // the moment is what the test varies
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
		var left []string
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
			if left = strays(marker); len(left) == 0 || time.Now().After(deadline) {
				break
			}
		}
		if len(left) > 0 {
			t.Fatalf("kill %d left %q", i, left)
		}
	}
	if after := holds(); after.mounts != before.mounts || after.files > before.files {
		t.Errorf("%+v, before %+v", after, before)
	}
}

func init() { callers["loop"] = callLoop }
