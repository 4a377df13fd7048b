package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/plan"
	"github.com/ringfence-go/ringfence/seccomp"
	"github.com/ringfence-go/ringfence/testing/victim"
)

// slowPath makes the time long in which the process of a command is confined and not yet executed.
func slowPath() string {
	var dirs strings.Builder
	for i := range 200 {
		fmt.Fprintf(&dirs, "/nowhere/%d:", i)
	}
	return "PATH=" + dirs.String() + "/usr/bin"
}

// stalkers starts a payload in a new sandbox that looks for commands on their way, and returns what it found
// while start was called again and again.
func stalked(t *testing.T, start func(s *Sandbox) error) string {
	t.Helper()
	spec := victimSpec(t, "stalk:1500,true")
	args := spec.Args
	spec.Args = nil
	spec.Seccomp = &seccomp.Policy{Default: seccomp.Allow} // also of ptrace and its like
	s := living(t, spec)
	var out bytes.Buffer
	c := s.Command(t.Context(), Spec{Args: args, Stdout: &out})
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if r, err := c.Wait(); err != nil || r.Err() != nil {
			t.Errorf("the stalker: %v, %v", r, err)
		}
	}()
	var starters sync.WaitGroup
	for range 4 {
		starters.Go(func() {
			for running := true; running; {
				select {
				case <-done:
					running = false
				default:
					if err := start(s); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	starters.Wait()
	all, err := victim.Parse(out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range all {
		return o.Detail
	}
	return ""
}

// What runs in a sandbox sees a command that joins before it is executed, with an ID of its own and for a
// while without capabilities: CVE-2016-9962.
func TestWhoJoinsIsOutOfReach(t *testing.T) {
	found := stalked(t, func(s *Sandbox) error {
		_, err := s.Run(context.Background(), Spec{Args: []string{"true"}, Env: []string{slowPath()}})
		return err
	})
	if !strings.HasSuffix(found, "got at []") || strings.HasPrefix(found, "0 seen") {
		t.Errorf("a payload: %s", found)
	}
}

// The control: without the protection the same payload looks into the same process.
func TestWhoJoinsWouldBeInReach(t *testing.T) {
	join := func(s *Sandbox) error {
		spec := Spec{Args: []string{"true"}, Env: []string{slowPath()}}
		if err := s.complete(&spec); err != nil {
			return err
		}
		host, err := thisHost.get()
		if err != nil {
			return err
		}
		r, err := s.keeper.plan.resolved.join(&spec, host)
		if err != nil {
			return err
		}
		p := compileJoin(r)
		for i := len(p.Ops) - 1; i >= 0; i-- {
			if strings.HasPrefix(p.Ops[i].Label, "keep the joiner out of") {
				p = withoutOp(p, i)
			}
		}
		return runProgram(s, r, p)
	}
	const tries = 5
	found := ""
	for range tries {
		if found = stalked(t, join); !strings.HasSuffix(found, "got at []") {
			return
		}
	}
	t.Errorf("a payload, where nothing keeps it away: %s", found)
}

// runProgram runs a program that joins.
func runProgram(s *Sandbox, r *resolved, p *plan.Program) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	process, err := (&Plan{resolved: r, program: p}).launch(context.Background(), []*os.File{null, null, null}, nil, s.joins)
	if err != nil {
		return err
	}
	defer process.Close()
	_, err = process.Wait()
	return err
}

// A command has what its Spec gives it, and nothing of the joiner's: without close_range before the execution
// it has the report and the lifeline.
func TestACommandThatJoinsHasNoDescriptorOfTheJoiner(t *testing.T) {
	s := living(t, Spec{})
	if got := in(t, s, "ls /proc/self/fd | tr '\\n' ' '; readlink /proc/self/exe /proc/self/cwd; grep -c . /proc/self/environ"); !strings.HasPrefix(got, "0 1 2 3 /") {
		t.Errorf("descriptors, and more: %q, want 0 1 2 and that of ls, 3", got)
	}
	got := in(t, s, "grep -E '^(NoNewPrivs|Seccomp|Cap...):' /proc/self/status")
	for _, want := range []string{"NoNewPrivs:\t1", "Seccomp:\t2", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "CapInh:\t0000000000000000"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// Whatever ends in a sandbox is reaped, by the joiner or by PID 1.
func TestNothingIsLeftOfCommands(t *testing.T) {
	s := living(t, Spec{})
	for range 20 {
		in(t, s, "(sleep 0.01 &) ; (true &)")
	}
	until := time.Now().Add(10 * time.Second)
	for {
		// The shell, and what counts.
		got := in(t, s, "ls -d /proc/[0-9]* | wc -l")
		if got == "3" || got == "4" {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("%s processes are left: %s", got, in(t, s, "cat /proc/[0-9]*/stat 2>/dev/null; true"))
		}
	}
}

// The joiner is killed by somebody outside: the command may not be left alone.
func TestACommandEndsWithItsJoiner(t *testing.T) {
	s := living(t, Spec{})
	c := s.Command(t.Context(), Spec{Args: []string{"sleep", "60"}})
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	pid := c.Pid()
	if pid == 0 {
		t.Fatal("no process ID")
	}
	joiner, err := parentOf(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(joiner, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r, err := c.Wait()
	if err != nil || r.Ended != Signaled || r.Signal != unix.SIGKILL {
		t.Errorf("%v, %v", r, err)
	}
	until := time.Now().Add(10 * time.Second)
	for strings.Contains(in(t, s, "cat /proc/[0-9]*/comm 2>/dev/null; true"), "sleep") {
		if time.Now().After(until) {
			t.Fatal("the command goes on")
		}
	}
}

func parentOf(pid int) (int, error) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, err
	}
	rest := string(b[bytes.LastIndexByte(b, ')')+1:])
	var state string
	var parent int
	_, err = fmt.Sscan(rest, &state, &parent)
	return parent, err
}

// Close beside starts: each either fails with ErrEnded or gives a Cmd that ends.
func TestCloseBesideStarts(t *testing.T) {
	for range 10 {
		s := living(t, Spec{})
		results := make(chan string, 20)
		for i := range 20 {
			go func() {
				time.Sleep(time.Duration(i) * 200 * time.Microsecond) // where Close meets it is left to chance
				r, err := s.Run(context.Background(), Spec{Args: []string{"sleep", "60"}})
				switch {
				case err == nil && r.Ended == Canceled, err != nil && strings.Contains(err.Error(), ErrEnded.Error()):
					results <- ""
				default:
					results <- fmt.Sprint(r, err)
				}
			}()
		}
		time.Sleep(2 * time.Millisecond)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		for range 20 {
			if bad := <-results; bad != "" {
				t.Error(bad)
			}
		}
	}
}

// What keeps a sandbox is in the plan, and nothing of it goes to the command.
func TestNamespacesAreInOrder(t *testing.T) {
	s := living(t, Spec{})
	kinds := s.keeper.plan.resolved.namespaceKinds()
	if kinds[0].flag != unix.CLONE_NEWUSER || len(kinds) != len(s.joins) {
		t.Errorf("%v, %d files", kinds, len(s.joins))
	}
	for i, f := range s.joins {
		link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
		if err != nil || !strings.HasPrefix(link, kinds[i].name+":") {
			t.Errorf("namespace %s: %q, %v", kinds[i].name, link, err)
		}
	}
}
