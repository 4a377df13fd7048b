package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/launch"
	"github.com/ringfence-go/ringfence/internal/plan"
	"github.com/ringfence-go/ringfence/seccomp"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// trial is a start with a fault, and what came of it.
type trial struct {
	program *plan.Program
	step    int
	fault   fault

	start, wait error
	result      *Result // nil: it did not start
	ran         bool    // the command has left its mark
	replaced    bool    // in another sandbox of a pool
}

func (k *trial) String() string {
	op := k.program.Ops[k.step]
	return fmt.Sprintf("step %d of the %s, %s, %s: ", k.step, op.Process, op.Label, k.fault.name)
}

// when tells how far a sandbox is at a step.
type when int

const (
	before when = iota // there is no command: none may run
	beside             // the command may run already, with all of its protection: it ends with the start that fails
	after              // the caller was told of the start, or may have been
)

func (k *trial) when() when {
	op, p := k.program.Ops[k.step], k.program
	fork := commandFork(p)
	told := slices.IndexFunc(p.Ops, func(op *plan.Op) bool { return op.Label == "tell the caller of the start" })
	switch {
	case op.Process == plan.Command:
		return before
	case op.Process == plan.Witness:
		if k.after("wait until the command runs") {
			return after
		}
		return beside
	case op.Process == plan.Stub && k.after("start PID 1 in namespaces of its own"):
		return beside // PID 1 goes its way until it learns of it
	case op.Process == p.Ops[min(fork, told)].Process && k.step > told:
		return after
	case op.Process == p.Ops[min(fork, told)].Process && k.step > fork:
		return beside
	}
	return before
}

// after reports whether the step comes behind another of its process.
func (k *trial) after(label string) bool {
	i := slices.IndexFunc(k.program.Ops, func(op *plan.Op) bool { return op.Label == label })
	return i >= 0 && k.step > i
}

// check holds a trial against the rules:
//
//   - An error that a step tolerates, and whatever is kept, lets the program go on: the start succeeds, or what
//     is now missing fails another step.
//   - A step that asks again does so until the context ends; the errors are the context's.
//   - Everything else fails the start with the error of this very step, and no command runs that has less than all of
//     its protection: none at all, but beside PID 1's or a joiner's last steps.
//   - Who is killed before there is a command fails the start, without a step: nobody is left to name it. A
//     command that is killed on its way to being executed is one that was started and killed at once.
//   - What fails when the start was told ends the run: there is a Result, and it never is a good one unless the end of
//     the command was told before.
func (k *trial) check() error {
	op := k.program.Ops[k.step]
	if (k.result == nil) == (k.start == nil) {
		return fmt.Errorf("a Result %v with the error %w of the start", k.result, k.start)
	}
	if k.replaced {
		return nil
	}
	if k.fault.name == killed.name {
		return k.checkKilled()
	}
	if k.fault.again(op) {
		if k.when() == after && k.start == nil {
			return k.checkLate()
		}
		if !errors.Is(k.start, context.DeadlineExceeded) || k.ran && k.when() == before {
			return fmt.Errorf("%w, the command ran: %v; want the end of the context", k.start, k.ran)
		}
		return nil
	}
	if k.fault.passes(op) {
		return k.checkPassed()
	}
	if k.when() == after && k.start == nil {
		return k.checkLate()
	}
	if k.ran && k.when() == before {
		return errors.New("the command was started")
	}
	return k.checkStep()
}

// checkStep looks for the typed error of the step.
func (k *trial) checkStep() error {
	op := k.program.Ops[k.step]
	var unsupported *UnsupportedError
	if errors.As(k.start, &unsupported) {
		if known := k.refusal(); known != unsupported.Feature || !errors.Is(k.start, errors.ErrUnsupported) || !errors.Is(k.start, k.fault.errno) {
			return fmt.Errorf("%w, want one of %q that says %s", k.start, known, k.fault.name)
		}
		return nil
	}
	var failed *OpError
	if !errors.As(k.start, &failed) || failed.Index != k.step {
		return fmt.Errorf("%w, want an *OpError of the step", k.start)
	}
	if known := k.refusal(); known != "" {
		return fmt.Errorf("%w, want an *UnsupportedError of %q", k.start, known)
	}
	executes := op.Process == plan.Command && op.Call.Name == "execve"
	if !executes && failed.Op != op.Label || failed.Call == "" || failed.Err == nil {
		return fmt.Errorf("%w at %q, call %q, want the step's label and call", k.start, failed.Op, failed.Call)
	}
	causes := []error{k.fault.errno}
	if executes {
		causes = append(causes, ErrNotFound, ErrNotExecutable, ErrNoInterpreter)
	}
	if k.fault.errno != 0 && !slices.ContainsFunc(causes, func(cause error) bool { return errors.Is(k.start, cause) }) {
		return fmt.Errorf("%w, want %s", k.start, k.fault.name)
	}
	return nil
}

// refusal returns the feature that a host is known to refuse with such an error at the step; "" is none.
func (k *trial) refusal() Feature {
	op, errno := k.program.Ops[k.step], k.fault.errno
	refused := errno == unix.EPERM || errno == unix.EACCES
	switch {
	case errno == 0, errno == unix.EAGAIN, errno == unix.ENOMEM:
		return ""
	case op.Process == plan.Command && op.Call.Name == "execve":
		return ""
	case op.Label == stepLoadFilter && errno == unix.EBUSY:
		return SeccompNotify
	case op.Kind == plan.Fork && op.Process == plan.Stub:
		return UserNamespace
	case errno == unix.ENOSYS:
		return MountNamespace
	case (refused || errno == unix.EROFS || errno == unix.ENOENT) && strings.Contains(op.Label, "max_inotify_"):
		return InotifyLimit
	case refused && slices.Contains([]string{stepDenySetgroups, stepMapUsers}, op.Label):
		return UserNamespace
	case refused && makesProc(op.Label):
		return NewProc
	case refused && op.Process == plan.Init && op.Call.Name == "sethostname":
		return UTSNamespace
	case errno == unix.EPERM && op.Process == plan.Init && slices.Contains(gatedCalls[:], op.Call.Name),
		errno == unix.EACCES && op.Process == plan.Init && slices.Contains(gatedCalls[:], op.Call.Name) && op.Call.Name != "open_tree":
		return MountNamespace
	}
	return ""
}

func (k *trial) checkPassed() error {
	if k.start == nil {
		if !k.ran || k.wait != nil {
			return fmt.Errorf("%v, %w, the command ran: %v", k.result, k.wait, k.ran)
		}
		return nil
	}
	var failed *OpError
	if !errors.As(k.start, &failed) || failed.Index < 0 || failed.Index == k.step || k.ran {
		return fmt.Errorf("%w, the command ran: %v; want the start, or the error of another step", k.start, k.ran)
	}
	return nil
}

// checkLate looks at a run whose sandbox has failed since the start.
func (k *trial) checkLate() error {
	if errors.Is(k.wait, context.DeadlineExceeded) {
		return nil
	}
	if k.wait == nil && k.result.Ended == Exited && k.ran {
		return nil // what was told of the command's end stands
	}
	var failed *OpError
	if k.wait == nil && k.result.Ended != Exited || errors.As(k.wait, &failed) {
		return nil
	}
	return fmt.Errorf("%v, %w", k.result, k.wait)
}

// checkKilled looks at a start of which a process was killed.
func (k *trial) checkKilled() error {
	op := k.program.Ops[k.step]
	if k.ran && k.when() == before {
		return errors.New("the command was started")
	}
	if k.start == nil && (op.Process == plan.Command || k.when() != before && op.Process != plan.Stub) {
		return k.checkLate()
	}
	var failed *OpError
	if !errors.As(k.start, &failed) {
		return fmt.Errorf("%w, want an *OpError", k.start)
	}
	var died *launch.DiedError
	if lone := op.Process == plan.Stub || op.Process == plan.Init && k.when() == before; lone && (!errors.As(k.start, &died) || failed.Index != -1) {
		return fmt.Errorf("%w, want one that says that the set-up was killed", k.start)
	}
	return nil
}

// markFile is where the command of a trial leaves its mark: a file, so that nothing copies it.
func markFile(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "mark"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// marked reports whether there is a mark, and removes it.
func marked(f *os.File) bool {
	info, err := f.Stat()
	_ = f.Truncate(0)
	_, _ = f.Seek(0, 0)
	return err != nil || info.Size() > 0
}

// askTime is for how long a step is let ask again.
const askTime = 20 * time.Millisecond

// try starts a program with a fault, in the way of Cmd.Start and Cmd.Wait.
func try(c *Cmd, r *resolved, p *plan.Program, i int, f fault, mark *os.File, joins []*os.File) *trial {
	k := &trial{program: p, step: i, fault: f}
	c.plan = &Plan{resolved: r, program: f.with(p, i)}
	var files []*os.File
	if files, k.start = c.streams.open(&c.spec, func() {}); k.start == nil {
		c.process, k.start = c.plan.launch(c.ctx, files, nil, joins)
	}
	c.streams.closeOurs()
	if k.start != nil {
		c.streams.abandon()
		c.dead()
	} else {
		c.begin(c.process)
		c.watch()
		k.result, k.wait = c.Wait()
	}
	k.ran = marked(mark)
	return k
}

func contextOf(f fault, op *plan.Op) (context.Context, context.CancelFunc) {
	if f.again(op) {
		return context.WithTimeout(context.Background(), askTime)
	}
	return context.WithTimeout(context.Background(), sandboxtest.Slow(time.Minute)) // whatever hangs is a fault
}

// eachFault tries what may become of every step that is asked for, and then of none.
func eachFault(t *testing.T, p *plan.Program, faults func(*plan.Program, int) []fault, wanted func(i int) bool, do func(i int, f fault) *trial) {
	t.Helper()
	cases := 0
	held := remaining()
	each := func(i int, f fault) bool {
		k := do(i, f)
		cases++
		left := nothingLeft(held)
		if err := errors.Join(k.check(), left); err != nil {
			t.Errorf("%v%v", k, err)
		}
		return left == nil // or else every other one would tell of it too
	}
	none := fault{name: "nothing", action: unix.SECCOMP_RET_ALLOW, result: p.Ops[0].Want}
	for i := range p.Ops {
		if !wanted(i) {
			continue
		}
		for _, f := range faults(p, i) {
			if !each(i, f) {
				return
			}
		}
		if i%16 == 0 && !each(0, none) { // what failed has no consequence
			return
		}
	}
	each(0, none)
	t.Logf("%d faults at %d steps", cases, len(p.Ops))
}

// faultSpec is of a command that leaves its mark, and that is the last of the candidates.
func faultSpec(mark *os.File) Spec {
	return Spec{
		Args: []string{"echo", "mark"}, Env: []string{"PATH=/nowhere:/usr/bin"}, Stdout: mark, Dir: "/tmp",
		Mounts: []Mount{{Type: Tmpfs, Target: "/data"}},
	}
}

func TestEveryStepOfARunFails(t *testing.T) {
	mounts := holds().mounts
	mark := markFile(t)
	spec := faultSpec(mark)
	underFaults(t, func() {
		pl, do := runTrials(t, spec, mark)
		if pl != nil {
			eachFault(t, pl.program, faultsOf, func(int) bool { return true }, do)
		}
	})
	if now := holds().mounts; now != mounts {
		t.Errorf("%d mounts, before %d", now, mounts)
	}
}

// With a supervisor PID 1 has no witness, and the caller gets the listener.
func TestEveryStepOfASupervisedRunFails(t *testing.T) {
	withoutCores(t)
	mark := markFile(t)
	spec := faultSpec(mark)
	spec.Seccomp = &seccomp.Policy{Default: seccomp.Allow, Rules: []seccomp.Rule{{Names: []string{"getppid"}, Action: seccomp.Notify}}}
	spec.Supervisor = func(context.Context, *Notification) Answer { return Continue() }
	spec.Limits.CPUTime = time.Hour
	underFaults(t, func() {
		if pl, do := runTrials(t, spec, mark); pl != nil {
			eachFault(t, pl.program, faultsOf, lastSteps(pl.program), do)
			eachFault(t, pl.program, killedAt, lastSteps(pl.program), do)
		}
	})
}

// runTrials returns the plan of a run, and what tries a fault of it.
func runTrials(t *testing.T, spec Spec, mark *os.File) (*Plan, func(i int, f fault) *trial) {
	if err := validate(&spec); err != nil {
		t.Error(err)
		return nil, nil
	}
	pl, err := compileAt(&spec, nil, placement{}, resolveRunning)
	if err != nil {
		t.Error(err)
		return nil, nil
	}
	return pl, func(i int, f fault) *trial {
		ctx, cancel := contextOf(f, pl.program.Ops[i])
		defer cancel()
		return try(Command(ctx, spec), pl.resolved, pl.program, i, f, mark, nil)
	}
}
