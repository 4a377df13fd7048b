package sandbox

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// How supervision ends: with many calls at once, with a Supervisor that is slow, with a process that is
// killed meanwhile. Nothing is left in any case, as TestMain checks.

// patience is how long something may take that takes no time.
const patience = 20 * time.Second

// waiting is a Supervisor that waits for the end of the sandbox; it tells of each call first.
func waiting(begun chan<- struct{}) Supervisor {
	return func(ctx context.Context, _ *Notification) Answer {
		begun <- struct{}{}
		<-ctx.Done()
		return Continue()
	}
}

// waitFor fails the test if a run does not end.
func waitFor(t *testing.T, c *Cmd) (*Result, error) {
	t.Helper()
	type end struct {
		r   *Result
		err error
	}
	ended := make(chan end, 1)
	go func() { r, err := c.Wait(); ended <- end{r, err} }()
	select {
	case e := <-ended:
		return e.r, e.err
	case <-time.After(patience):
		t.Fatal("Wait does not return")
	}
	return nil, nil
}

func TestManyCallsAtOnceAreAllAnswered(t *testing.T) {
	t.Parallel()
	const processes, threads, calls = 12, 30, 20
	var now, most, all atomic.Int64
	count := func(context.Context, *Notification) Answer {
		defer now.Add(-1)
		all.Add(1)
		for n := now.Add(1); ; {
			if old := most.Load(); n <= old || most.CompareAndSwap(old, n) {
				break
			}
		}
		time.Sleep(time.Millisecond)
		return Return(7)
	}
	act := "children:" + strconv.Itoa(processes) + ",together:" + strconv.Itoa(threads) + "," + strconv.Itoa(calls)
	o := inside(t, supervised(count, "getppid"), act).of(act)
	if want := "map[ok map[7:" + strconv.Itoa(threads*calls) + "]:" + strconv.Itoa(processes) + "]"; o.Detail != want {
		t.Errorf("%+v, want %s", o, want)
	}
	if all.Load() != processes*threads*calls || most.Load() > maxAnswers || most.Load() < 8 {
		t.Errorf("%d calls, %d at a time", all.Load(), most.Load())
	}
}

// More calls wait than are with the Supervisor, which waits for the end itself.
func TestWaitReturnsWhenSupervisorsWaitForTheEnd(t *testing.T) {
	t.Parallel()
	for name, threads := range map[string]int{"some": 3, "all that may": maxAnswers, "more": 4 * maxAnswers} {
		for how, end := range map[string]func(cancel context.CancelFunc, c *Cmd){
			"canceled": func(cancel context.CancelFunc, _ *Cmd) { cancel() },
			"killed":   func(_ context.CancelFunc, c *Cmd) { _ = c.Kill() },
			"signaled": func(_ context.CancelFunc, c *Cmd) { _ = c.Signal(syscall.SIGKILL) },
		} {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			begun := make(chan struct{}, maxAnswers)
			spec := victimSpec(t, "together:"+strconv.Itoa(threads)+",1")
			supervised(waiting(begun), "getppid")(&spec)
			c := Command(ctx, spec)
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			for range min(threads, maxAnswers) {
				<-begun
			}
			end(cancel, c)
			r, err := waitFor(t, c)
			if how == "canceled" && (!errors.Is(err, context.Canceled) || r.Ended != Canceled) || how == "killed" && r.Ended != Canceled || how == "signaled" && r.Ended != Signaled {
				t.Errorf("%s, %s: %v, %v", name, how, r, err)
			}
		}
	}
}

// The command ends by itself, and what it leaves behind waits for an answer.
func TestSupervisorsContextEndsWithTheCommand(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{}, 1)
	spec := script("mkdir /tmp/x & read line; exit 3")
	supervised(waiting(begun), "mkdir", "mkdirat")(&spec)
	c := Command(t.Context(), spec)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	<-begun
	in.Close()
	if r, err := waitFor(t, c); err != nil || r.Ended != Exited || r.ExitCode != 3 {
		t.Errorf("%v, %v, want exit status 3", r, err)
	}
}

// The context of a Supervisor is the caller's, so that what it does for a call ends at once.
func TestSupervisorsContextIsTheCallers(t *testing.T) {
	t.Parallel()
	type key struct{}
	var seen atomic.Value
	spec := victimSpec(t, "result:getppid")
	supervised(func(ctx context.Context, _ *Notification) Answer {
		value, _ := ctx.Value(key{}).(string)
		seen.Store(value)
		return Continue()
	}, "getppid")(&spec)
	if r, err := Run(context.WithValue(t.Context(), key{}, "value"), spec); err != nil || r.Err() != nil || seen.Load() != "value" {
		t.Errorf("%v, %v, %v", r, err, seen.Load())
	}
}

// The thread that made the call is killed while the Supervisor holds it: nothing that is read by its ID
// from then on counts.
func TestCallOfAKilledThreadIsNotValid(t *testing.T) {
	t.Parallel()
	given, path := (*os.File)(nil), os.DevNull
	var r, w *os.File
	var faults []string
	spec := victimSpec(t, "killchild:result:getppid")
	supervised(func(ctx context.Context, n *Notification) Answer {
		if !n.Valid() {
			faults = append(faults, "not valid from the beginning")
		}
		f, err := os.Open(path)
		if err != nil {
			return Refuse(syscall.EIO)
		}
		given = f
		_, _ = w.Write([]byte{1}) // the parent of the process kills it now
		for n.Valid() && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		if n.Valid() {
			faults = append(faults, "valid at the end")
		}
		if _, err := n.ReadMemory(make([]byte, 8), n.Call.InstructionPointer); !errors.Is(err, os.ErrProcessDone) {
			faults = append(faults, "memory could be read")
		}
		if _, err := n.ReadString(n.Call.InstructionPointer, 100); !errors.Is(err, os.ErrProcessDone) {
			faults = append(faults, "a string could be read")
		}
		return ReturnFile(f)
	}, "getppid")(&spec)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var out bytes.Buffer
	spec.Stdin, spec.Stdout = r, &out
	result, err := Run(t.Context(), spec)
	r.Close()
	if err != nil || result.Err() != nil || !bytes.Contains(out.Bytes(), []byte("signal: killed")) {
		t.Fatalf("%v, %v: %s", result, err, &out)
	}
	if given == nil || !errors.Is(given.Close(), os.ErrClosed) {
		faults = append(faults, "the file is open")
	}
	for _, fault := range faults {
		t.Error(fault)
	}
}

// A signal does not take a call back that a Supervisor has received (Linux 5.19), and a flood of signals
// at the caller loses no answer and no descriptor.
func TestSignalsLoseNoAnswer(t *testing.T) {
	t.Parallel()
	const calls = 3000
	stop := make(chan struct{})
	var storm sync.WaitGroup
	storm.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				// A signal that the runtime takes in any thread, and of which nothing comes.
				_ = syscall.Kill(os.Getpid(), syscall.SIGURG)
				time.Sleep(20 * time.Microsecond)
			}
		}
	})
	path, secret := hostSecret(t)
	act := "openmany:" + strconv.Itoa(calls) + ",/from/the/caller"
	o := inside(t, supervised(func(_ context.Context, n *Notification) Answer {
		if name, err := n.ReadString(n.Call.Args[1], syscall.PathMax); err != nil || name != "/from/the/caller" {
			return Continue()
		}
		f, err := os.Open(path)
		if err != nil {
			return Refuse(syscall.EIO)
		}
		return ReturnFile(f)
	}, "openat"), act).of(act)
	close(stop)
	storm.Wait()
	if want := "map[" + secret + ":" + strconv.Itoa(calls) + "]"; o.Detail != want {
		t.Errorf("%v, want %s", o, want)
	}
}
