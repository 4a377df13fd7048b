package sandbox

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ringfence-go/ringfence/seccomp"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
	"github.com/ringfence-go/ringfence/testing/victim"
)

// What a Supervisor answers is what the payload gets.

// supervised lets a Supervisor answer some calls, and leaves the others to the default policy.
func supervised(answer Supervisor, names ...string) func(*Spec) {
	return func(spec *Spec) {
		spec.Seccomp = seccomp.Default()
		spec.Seccomp.Rules = append([]seccomp.Rule{{Names: names, Action: seccomp.Notify}}, spec.Seccomp.Rules...)
		spec.Supervisor = answer
	}
}

// always is a Supervisor with one answer.
func always(a Answer) Supervisor { return func(context.Context, *Notification) Answer { return a } }

func TestAnswerIsWhatTheCallReturns(t *testing.T) {
	t.Parallel()
	const act = "result:getppid"
	for name, test := range map[string]struct {
		answer Answer
		err    string // of the payload
		detail string
	}{
		"continue":        {Continue(), "", "1"},
		"refuse":          {Refuse(syscall.ENOTTY), "ENOTTY", ""},
		"refuse, highest": {Refuse(4095), "", "-4095"}, // Go takes the last one for a result
		"refuse, 0":       {Refuse(0), "EPERM", ""},
		"refuse, 4096":    {Refuse(4096), "EPERM", ""},
		"refuse, huge":    {Refuse(syscall.Errno(math.MaxUint32)), "EPERM", ""},
		"refuse, 2^64-1":  {Refuse(^syscall.Errno(0)), "EPERM", ""},
		"return":          {Return(1 << 40), "", "1099511627776"},
		"return 0":        {Return(0), "", "0"},
		"return negative": {Return(-4096), "", "-4096"}, // not one of the error numbers
		"zero":            {Answer{}, "EPERM", ""},
		"no file":         {ReturnFile(nil), "EBADF", ""},
		"no file to keep": {ReturnInheritedFile(nil), "EBADF", ""},
		"closed file":     {ReturnFile(closedFile(t)), "EPERM", ""},
		"unknown answer":  {Answer{kind: 99}, "EPERM", ""},
	} {
		o := inside(t, supervised(always(test.answer), "getppid"), act).of(act)
		if o.Err != test.err || o.Detail != test.detail {
			t.Errorf("%s: %+v, want %q, %q", name, o, test.err, test.detail)
		}
	}
	// The control: nobody is asked.
	if o := inside(t, nil, act).of(act); o.Detail != "1" {
		t.Errorf("without a supervisor: %+v", o)
	}
}

func closedFile(t *testing.T) *os.File {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	return f
}

func TestEndRunNamesTheCall(t *testing.T) {
	t.Parallel()
	for _, act := range []string{"result:getppid", "children:3,result:getppid"} {
		r, o := forbidden(t, act, supervised(always(EndRun()), "getppid"))
		if r.Ended != Forbidden || r.Syscall != "getppid" || r.Signal != syscall.SIGSYS || r.ExitCode != -1 || o != nil {
			t.Errorf("%s: %v, %v, want getppid forbidden", act, r, o)
		}
	}
}

func TestNotificationIsWhatTheFilterSaw(t *testing.T) {
	t.Parallel()
	var got atomic.Pointer[Notification]
	pid := make(chan int, 1)
	watch := func(_ context.Context, n *Notification) Answer {
		got.Store(n)
		// As this program sees it, and not as the payload does.
		if _, err := os.Stat("/proc/" + strconv.Itoa(n.PID) + "/status"); err == nil && n.Valid() {
			pid <- n.PID
		}
		return Return(0)
	}
	inside(t, supervised(watch, "getppid"), "result:getppid,1,2,3,4,5,6").want("result:getppid,1,2,3,4,5,6", "ok")
	n := got.Load()
	if n.Name != "getppid" || n.Call.Args != [6]uint64{1, 2, 3, 4, 5, 6} || n.Call.InstructionPointer == 0 {
		t.Errorf("%+v", n)
	}
	if len(pid) == 0 || <-pid == 2 {
		t.Errorf("PID %d is not the process as this program sees it", n.PID)
	}
	if n.Valid() {
		t.Error("a call that was answered is valid")
	}
	if _, err := n.ReadMemory(make([]byte, 1), 0x400000); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("memory after the answer: %v", err)
	}
}

func TestReturnFileGivesADescriptorAndClosesTheFile(t *testing.T) {
	t.Parallel()
	path, secret := hostSecret(t)
	const act = "openat:/from/the/caller"
	for _, test := range []struct {
		answer func(*os.File) Answer
		flags  string
	}{{ReturnFile, "1"}, {ReturnInheritedFile, "0"}} { // FD_CLOEXEC
		var given *os.File
		o := inside(t, supervised(func(_ context.Context, n *Notification) Answer {
			name, err := n.ReadString(n.Call.Args[1], syscall.PathMax)
			if err != nil || name != "/from/the/caller" {
				return Continue() // what the runtime opens; nothing is at stake in this test
			}
			f, err := os.Open(path)
			if err != nil {
				return Refuse(syscall.EIO)
			}
			given = f
			return test.answer(f)
		}, "openat"), act).of(act)
		if o.Detail != test.flags+" "+secret {
			t.Errorf("%+v, want %s %s", o, test.flags, secret)
		}
		if given == nil || !errors.Is(given.Close(), os.ErrClosed) {
			t.Error("the file is open")
		}
	}
	inside(t, nil, act).want(act, "ENOENT")
}

func TestReturnFileToAProcessWithoutRoomIsEMFILE(t *testing.T) {
	t.Parallel()
	const act = "full:/dev/null"
	var given []*os.File
	answer := func(_ context.Context, n *Notification) Answer {
		if name, err := n.ReadString(n.Call.Args[1], syscall.PathMax); err != nil || name != "/dev/null" {
			return Continue()
		}
		f, err := os.Open(os.DevNull)
		if err != nil {
			return Refuse(syscall.EIO)
		}
		given = append(given, f)
		return ReturnFile(f)
	}
	inside(t, supervised(answer, "openat"), act).want(act, "EMFILE")
	for _, f := range given {
		if !errors.Is(f.Close(), os.ErrClosed) {
			t.Error("the file is open")
		}
	}
	if len(given) == 0 {
		t.Error("nobody asked")
	}
}

func TestKillBesideNotifyIsForbidden(t *testing.T) {
	t.Parallel()
	both := func(spec *Spec) {
		supervised(always(Return(7)), "getppid")(spec)
		spec.Seccomp.Rules = append([]seccomp.Rule{{Names: []string{"mkdirat"}, Action: seccomp.KillProcess}}, spec.Seccomp.Rules...)
	}
	r, o := forbidden(t, "mkdir:/tmp/x", both)
	if r.Ended != Forbidden || r.Syscall != "mkdirat" || r.Signal != syscall.SIGSYS || o != nil {
		t.Errorf("%v, %v, want mkdirat forbidden", r, o)
	}
	if o := inside(t, both, "result:getppid").of("result:getppid"); o.Detail != "7" {
		t.Errorf("beside it: %+v", o)
	}
}

func TestForeignABIsKillUnderASupervisor(t *testing.T) {
	t.Parallel()
	if !victim.ForeignABIs {
		sandboxtest.Skip(t, "foreign-abis", "this architecture has no other ABI")
	}
	for act, want := range map[string]string{"x32:getpid": "getpid (x32)", "i386:getpid": "getpid (386)", "x32:getppid": "getppid (x32)"} {
		r, o := forbidden(t, act, supervised(always(Return(7)), "getppid"))
		if r.Ended != Forbidden || r.Syscall != want || o != nil {
			t.Errorf("%s: %v, %v, want %s forbidden", act, r, o, want)
		}
	}
	// Where the policy asks for them too, the Notification says which ABI it is.
	var name atomic.Value
	ask := func(spec *Spec) {
		spec.Seccomp = &seccomp.Policy{Default: seccomp.Allow, BadArch: seccomp.Notify}
		spec.Supervisor = func(_ context.Context, n *Notification) Answer { name.Store(n.Name); return Return(0) }
	}
	if _, o := forbidden(t, "i386:getpid", ask); o == nil || !o.OK() || name.Load() != "getpid (386)" {
		t.Errorf("asked for: %v, %v", o, name.Load())
	}
}

// Two descriptors come with the start.
func TestSupervisorBesideCPUTime(t *testing.T) {
	t.Parallel()
	change := supervised(always(Return(7)), "getppid")
	limited := func(spec *Spec) {
		change(spec)
		spec.Limits.CPUTime = 200 * time.Millisecond
	}
	if o := inside(t, limited, "result:getppid").of("result:getppid"); o.Detail != "7" {
		t.Errorf("%+v", o)
	}
	if r, _ := forbidden(t, "burn:60000", limited); r.Ended != OutOfCPUTime {
		t.Errorf("%v, want out of CPU time", r)
	}
}

func TestStreamsGoOnBesideASupervisor(t *testing.T) {
	t.Parallel()
	spec := script("cat; mkdir /tmp/x")
	supervised(always(Refuse(syscall.EROFS)), "mkdir", "mkdirat")(&spec)
	spec.Stdin = io.LimitReader(strings.NewReader(strings.Repeat("x", 1<<20)), 1<<20)
	out, err := Output(t.Context(), spec)
	if len(out) != 1<<20 || err == nil || !strings.Contains(string(stderrOf(err)), "Read-only file system") {
		t.Errorf("%d bytes, %v: %s", len(out), err, stderrOf(err))
	}
}

// Each command of a sandbox that lives, or of a pool, has the Supervisor of New.
func TestSupervisorAnswersCommandsOfASandboxThatLives(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	var asked atomic.Int64
	spec := Spec{
		Seccomp: &seccomp.Policy{Default: seccomp.Allow, Rules: []seccomp.Rule{{Names: []string{"mkdir", "mkdirat"}, Action: seccomp.Notify}}},
		Supervisor: func(context.Context, *Notification) Answer {
			if asked.Add(1)%2 == 1 {
				return Refuse(syscall.EDOM)
			}
			return Continue()
		},
	}
	for name, open := range map[string]func() (runner, error){
		"living": func() (runner, error) { return New(t.Context(), spec) },
		"pool":   func() (runner, error) { return NewPool(t.Context(), spec, PoolOptions{Size: 1}) },
	} {
		s, err := open()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		asked.Store(0)
		for i := range 4 {
			r, err := s.Run(t.Context(), Spec{Args: []string{"mkdir", "/tmp/x" + strconv.Itoa(i)}})
			if err != nil || r.Ended != Exited || (r.ExitCode == 0) != (i%2 == 1) {
				t.Errorf("%s, %d: %v, %v", name, i, r, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if asked.Load() != 4 {
			t.Errorf("%s: asked %d times", name, asked.Load())
		}
	}
}
