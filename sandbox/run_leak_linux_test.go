package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// Nothing is left behind by a caller that is killed.

// times returns how often a test does its work: few by default, the number in the environment variable to be
// thorough.
func times(env string, few int) int {
	if n, err := strconv.Atoi(os.Getenv(env)); err == nil {
		return n
	}
	return few
}

// held is what a process holds.
type held struct{ fds, memfds, children, mounts, files, goroutines int }

func holds() held {
	runtime.GC()
	var h held
	names, _ := os.ReadDir("/proc/self/fd")
	h.fds = len(names)
	for _, n := range names {
		if target, _ := os.Readlink("/proc/self/fd/" + n.Name()); strings.HasPrefix(target, "/memfd:") {
			h.memfds++
		}
	}
	h.children = len(ownChildren())
	b, _ := os.ReadFile("/proc/self/mountinfo")
	h.mounts = bytes.Count(b, []byte("\n"))
	names, _ = os.ReadDir(os.TempDir())
	h.files = len(names)
	h.goroutines = runtime.NumGoroutine()
	return h
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
func killCallers(t *testing.T, name string) { killCallersAs(t, name, nil) }

// eventually waits until something is so that tells nobody, and says whether it was within a time.
func eventually(most time.Duration, so func() bool) bool {
	for deadline := time.Now().Add(sandboxtest.Slow(most)); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// killCallersAs is killCallers of programs that are changed before they start.
func killCallersAs(t *testing.T, name string, change func(*exec.Cmd)) {
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	before := holds()
	for i := range times("RINGFENCE_KILLS", 25) {
		marker := fmt.Sprintf("marker-%d-%d", os.Getpid(), i)
		cmd := caller(t, name)
		cmd.Env = append(cmd.Env, markerEnv+"="+marker)
		if change != nil {
			change(cmd)
		}
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
		if !eventually(5*time.Second, func() bool { left = strays(marker); return len(left) == 0 }) {
			t.Fatalf("kill %d left %q", i, left)
		}
	}
	if after := holds(); after.mounts != before.mounts || after.files > before.files {
		t.Errorf("%+v, before %+v", after, before)
	}
}

func init() { callers["loop"] = callLoop }
