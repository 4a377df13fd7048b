package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// A program runs thousands of sandboxes of every kind, from many goroutines, while its processes are killed.
// Then it holds no more than one that has run a few.

const (
	soakers   = 16
	soakFew   = 40 // runs of the program that is compared with: what is made once and kept is made by these
	soakShort = 200
)

const (
	soakEnv     = "RINGFENCE_SOAK"      // how many runs
	soakTimeEnv = "RINGFENCE_SOAK_TIME" // when no more of them are begun, as time.ParseDuration has it
)

// soaked is what a program tells of its runs, and of itself after them.
type soaked struct {
	FDs, MemFDs, Children, Mounts, Files, Goroutines int

	RSS      int // KiB
	Heap     int // KiB, what is reachable
	Threads  int
	Runs     int64
	Kills    int64 // by the killer
	Outcomes map[string]int
	Wrong    []string
	Took     time.Duration
}

// statusKB returns a number of /proc/self/status.
func statusKB(key string) int {
	b, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(b), "\n"+key+":")
	f := strings.Fields(rest)
	if len(f) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(f[0])
	return n
}

func TestManyRunsLeaveNothing(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	compareSoaks(t, times(soakEnv, soakShort), "")
}

// The same in cgroups: none is left.
func TestCgroupOfManyRunsOfEveryKindIsGone(t *testing.T) {
	subtree := subtreeOf(t)
	compareSoaks(t, times(soakEnv, soakShort/2), cgroupVariable+"="+subtree)
	left, err := filepath.Glob(filepath.Join(subtree, "ringfence-*"))
	if err != nil {
		t.Fatal(err)
	}
	own := strconv.Itoa(os.Getpid()) // where this program is, and what it keeps for its next run
	if left = slices.DeleteFunc(left, func(dir string) bool { return slices.Contains(strings.Split(filepath.Base(dir), "-"), own) }); len(left) > 0 {
		t.Errorf("%q are left", left)
	}
}

// compareSoaks compares two programs, of which one has run a few sandboxes and the other many.
func compareSoaks(t *testing.T, n int, env string) {
	marker := fmt.Sprintf("marker-soak-%d", os.Getpid())
	before := strays(marker) // of another test's caller
	less := 1
	if sandboxtest.Slow(time.Second) > time.Second {
		less = 4 // an emulated machine takes half a second for a run
	}
	few := soakIn(t, marker, max(soakFew/less, 20), env)
	many := soakIn(t, marker, n/less, env)
	if many.FDs > few.FDs || many.Goroutines > few.Goroutines || many.Mounts != few.Mounts {
		t.Errorf("after %d runs %v, after %d %v", many.Runs, many, few.Runs, few)
	}
	for _, s := range []*soaked{few, many} {
		if s.MemFDs+s.Children > 0 || s.Files > 1 { // the directory of the locks of idmap.Auto stays
			t.Errorf("%v is left", s)
		}
	}
	// A program that leaks no more than 100 bytes a run has grown by 10 MB after 100,000.
	if grown := many.Heap - few.Heap; grown > 4<<10 {
		t.Errorf("%d KiB more are reachable", grown)
	}
	if grown := many.RSS - few.RSS; grown > 48<<10 {
		t.Errorf("%d KiB more are resident", grown)
	}
	var left []string
	if !eventually(5*time.Second, func() bool {
		left = slices.DeleteFunc(strays(marker), func(p string) bool {
			return slices.ContainsFunc(before, func(b string) bool { return strings.Fields(b)[0] == strings.Fields(p)[0] })
		})
		return len(left) == 0
	}) {
		t.Errorf("processes are left: %q", left)
	}
	for _, kind := range []string{"exited", "signaled", "canceled", "timed out", "output exceeded", "forbidden system call", "SpecError", "UnsupportedError", "OpError", "context"} {
		if many.Outcomes[kind] == 0 && many.Runs >= soakShort {
			t.Errorf("no run ended as %s: %v", kind, many.Outcomes)
		}
	}
}

// soakIn runs that many sandboxes in a program of their own.
func soakIn(t *testing.T, marker string, n int, env string) *soaked {
	t.Helper()
	cmd := caller(t, "soak")
	cmd.Env = append(cmd.Env, markerEnv+"="+marker, soakEnv+"="+strconv.Itoa(n), "TMPDIR="+t.TempDir(), env)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s%s", err, out, &errs)
	}
	var s soaked
	if err := json.Unmarshal(out, &s); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, w := range s.Wrong {
		t.Error(w)
	}
	t.Logf("%d of %d runs in %v, %d killed from outside: %v; %v", s.Runs, n, s.Took.Round(time.Millisecond), s.Kills, s.Outcomes, &s)
	return &s
}

func (s *soaked) String() string {
	return fmt.Sprintf("%d descriptors, %d memfds, %d children, %d mounts, %d files, %d goroutines, %d threads, %d KiB resident, %d KiB reachable",
		s.FDs, s.MemFDs, s.Children, s.Mounts, s.Files, s.Goroutines, s.Threads, s.RSS, s.Heap)
}

func init() { callers["soak"] = callSoak }

// soak is what the goroutines of one program share.
type soak struct {
	marker string
	placed bool
	runs   atomic.Int64
	kills  atomic.Int64

	mu       sync.Mutex
	outcomes map[string]int
	wrong    []string
	shared   map[string]*sharedRunner
}

// callSoak is the program that runs sandboxes.
func callSoak() error {
	began := time.Now()
	s := &soak{marker: os.Getenv(markerEnv), placed: os.Getenv(cgroupVariable) != "", outcomes: map[string]int{}, shared: map[string]*sharedRunner{}}
	most := 24 * time.Hour
	if d, err := time.ParseDuration(os.Getenv(soakTimeEnv)); err == nil {
		most = d
	}
	var next atomic.Int64
	n := int64(times(soakEnv, soakShort))
	var all sync.WaitGroup
	for range soakers {
		all.Go(func() {
			for time.Since(began) < most {
				i := next.Add(1) - 1
				if i >= n {
					return
				}
				s.one(int(i))
				s.runs.Add(1)
			}
		})
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { defer close(stopped); s.killer(stop) }()
	all.Wait()
	close(stop)
	<-stopped
	for _, r := range s.shared {
		s.check(r.Close())
	}
	s.check(ReleaseCgroups(context.Background()))
	debug.FreeOSMemory()
	// What a run leaves to be done ends by itself: the last goroutine of one that was canceled, say.
	var h held
	eventually(2*time.Second, func() bool { h = holds(); return h.children+h.memfds == 0 && h.goroutines <= 1 })
	got := soaked{FDs: h.fds, MemFDs: h.memfds, Children: h.children, Mounts: h.mounts, Files: h.files, Goroutines: h.goroutines}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	got.RSS, got.Heap, got.Threads = statusKB("VmRSS"), int(mem.HeapAlloc>>10), statusKB("Threads")
	got.Runs, got.Kills, got.Outcomes, got.Wrong, got.Took = s.runs.Load(), s.kills.Load(), s.outcomes, s.wrong, time.Since(began)
	return json.NewEncoder(os.Stdout).Encode(got)
}

// check notes an error that must not be.
func (s *soak) check(err error) {
	if err != nil {
		s.fault("%v", err)
	}
}

func (s *soak) fault(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.wrong) < 20 {
		s.wrong = append(s.wrong, fmt.Sprintf(format, args...))
	}
}

// count notes how a run ended. What it ends as is the matter of other tests, but it is one or the other.
func (s *soak) count(r *Result, err error) {
	var kind string
	var spec *SpecError
	var unsupported *UnsupportedError
	var op *OpError
	switch {
	case r != nil:
		kind = r.Ended.String()
	case errors.As(err, &spec):
		kind = "SpecError"
	case errors.As(err, &unsupported):
		kind = "UnsupportedError"
	case errors.As(err, &op):
		kind = "OpError"
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled):
		kind = "context"
	case err == nil:
		s.fault("a run with neither a Result nor an error")
	default:
		s.fault("%T: %v", err, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outcomes[kind]++
}

// killer kills a child of this program, or a child of such a child, every now and then: the stub, PID 1, a joiner,
// a command, wherever it is.
func (s *soak) killer(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(rand.IntN(40)) * time.Millisecond):
		}
		victims := ownChildren()
		if len(victims) > 0 && rand.IntN(2) == 0 {
			victims = append(childrenOf(victims[rand.IntN(len(victims))]), victims...)
		}
		if len(victims) > 0 && killDescendant(victims[rand.IntN((len(victims)+1)/2)], syscall.SIGKILL) {
			s.kills.Add(1)
		}
	}
}

// killDescendant kills a process, if that number is still one of a descendant: it may have become anybody's.
func killDescendant(pid int, sig syscall.Signal) bool {
	p, err := os.FindProcess(pid) // holds a pidfd
	if err != nil {
		return false
	}
	defer func() { _ = p.Release() }()
	parent, err := parentOf(pid)
	if err == nil && parent != os.Getpid() {
		parent, err = parentOf(parent)
	}
	if err != nil || parent != os.Getpid() {
		return false
	}
	return p.Signal(sig) == nil
}
