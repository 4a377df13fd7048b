//go:build linux

package plan

import (
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// harmlessLoss are the ops of sample that no rule asks for: without one the program does less, and
// nothing that confines the command is weaker.
var harmlessLoss = []string{
	"umask", "command umask", "hostname", "lo up", "link", "make ", "write file", "create mqueue",
	"create proc", "create tmpfs", "create devpts", "look 1", "look 2", "exec 1", "go to dir", "close what is done with",
	"restrict mask", "own peer", "late setresuid", "sum", "allow usr", "command setgroups", "command setresgid", "command setresuid",
}

func isHarmlessLoss(label string) bool {
	for _, l := range harmlessLoss {
		if label == l || strings.HasSuffix(l, " ") && strings.HasPrefix(label, l) {
			return true
		}
	}
	return false
}

// Removing any one op that confines, and any op that opens what is used later, is found.
func TestEveryMissingOpIsFound(t *testing.T) {
	for _, make := range []func() *Program{sample, sampleByCaller, sampleOtherUser, sampleCapable, sampleTerminal, sampleKeeper, sampleJoiner, sampleWaiting, sampleBare} {
		for i, op := range make().Ops {
			p := make()
			replace(p, i, 1)
			err := Check(p)
			if err == nil && !isHarmlessLoss(op.Label) {
				t.Errorf("step %d, %s: nobody misses it", i, op.Label)
			}
		}
	}
}

// Every prefix and every rotation of a program is handled.
func TestCheckOfParts(t *testing.T) {
	for i := range sample().Ops {
		p := sample()
		p.Ops = p.Ops[:i]
		if Check(p) == nil {
			t.Errorf("the first %d ops are a program", i)
		}
		p = sample()
		p.Ops = append(p.Ops[i:], p.Ops[:i]...)
		if i > 0 && Check(p) == nil {
			t.Errorf("the ops from %d on, and then those before, are a program", i)
		}
	}
}

func TestCheckOfNothing(t *testing.T) {
	for _, p := range []*Program{{}, {Ops: []*Op{nil}, Inherited: 2, Lifeline: 1}, {Ops: []*Op{{}}, Inherited: 2, Lifeline: 1}} {
		if Check(p) == nil {
			t.Errorf("%v is a program", p.Ops)
		}
	}
	// Every call without arguments, with strange ones, and with too many.
	for _, name := range []string{"close", "fchdir", "mount_setattr", "move_mount", "prctl", "fsconfig", "openat2", "openat", "open_tree",
		"fsopen", "fsmount", "socket", "mkdirat", "mknodat", "symlinkat", "chdir", "pivot_root", "umount2", "sethostname", "mount",
		"close_range", "setresuid", "setresgid", "fcntl", "ioctl", "capset", "seccomp", "prlimit64", "rt_sigaction", "rt_sigprocmask",
		"setgroups", "write", "read", "sendmsg", "wait4", "setsid", "umask", "clone3", "faccessat2", "execve", "exit_group", ""} {
		for n := range 8 {
			for _, arg := range []kernel.Arg{{}, {Value: -1}, {Value: 1 << 62}, {Mem: &kernel.Memory{}}, {Mem: kernel.Zeroed(1)},
				{Mem: &kernel.Memory{Text: "x"}}, {Mem: kernel.Zeroed(64), Offset: 60}, {Mem: kernel.Zeroed(8), Offset: 1 << 30}} {
				for kind := range Kind(4) {
					p := sample()
					args := make([]kernel.Arg, n)
					for i := range args {
						args[i] = arg
					}
					op := &Op{Kind: kind, Process: Init, Label: "x", Call: kernel.Call{Name: name, Args: args}}
					replace(p, find(p, "seal"), 0, op)
					if err := Check(p); err == nil && name != "umask" {
						t.Errorf("%s of %d is accepted as kind %d", name, n, kind)
					}
				}
			}
		}
	}
}

// FuzzCheck changes a program as data says. Check must not panic, and what it accepts must still do
// everything that confines.
func FuzzCheck(f *testing.F) {
	f.Add([]byte{0, 5, 0, 0})
	f.Add([]byte{1, 50, 51, 0})
	f.Add([]byte{2, 50, 0, 0, 3, 20, 0, 1, 4, 44, 1, 9})
	f.Add([]byte{5, 90, 0, 0, 6, 91, 2, 200, 7, 92, 3, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, make := range []func() *Program{sample, sampleByCaller, sampleOtherUser, sampleCapable, sampleTerminal, sampleKeeper, sampleJoiner, sampleWaiting, sampleBare} {
			p := make()
			for rest := data; len(rest) >= 4 && len(p.Ops) > 0; rest = rest[4:] {
				mutate(p, rest[0], int(rest[1])%len(p.Ops), int(rest[2]), int(int8(rest[3])))
			}
			if Check(p) == nil {
				checkConfined(t, make(), p)
			}
		}
	})
}

func mutate(p *Program, how byte, at, which, value int) {
	op := p.Ops[at]
	if op == nil {
		return
	}
	other := which % len(p.Ops)
	arg := func() *kernel.Arg {
		if len(op.Call.Args) == 0 {
			return &kernel.Arg{}
		}
		return &op.Call.Args[which%len(op.Call.Args)]
	}
	switch how % 14 {
	case 0:
		replace(p, at, 1)
	case 1:
		p.Ops[at], p.Ops[other] = p.Ops[other], p.Ops[at]
	case 2:
		replace(p, other, 0, op)
	case 3:
		op.Want += int64(value)
	case 4:
		arg().Value += int64(value)
	case 5:
		arg().Mem = nil
	case 6:
		if m := arg().Mem; m != nil && len(m.Bytes) > 0 {
			m.Bytes[abs(value)%len(m.Bytes)] ^= byte(1 << (which % 8))
		}
	case 7:
		op.Tolerate, op.Reason = []unix.Errno{unix.Errno(uint8(value))}, "why not"
	case 8:
		op.Any = !op.Any
	case 9:
		op.Child += value
	case 10:
		op.Kind = Kind(which % 4)
	case 11:
		arg().Offset += value
	case 12:
		op.Keep, op.KeepAt = NewRecord(Started, 1), value
	case 13:
		if m := arg().Mem; m != nil {
			m.Text, m.Refs = "x", nil
		}
	}
}

func abs(v int) int { return max(v, -v) }

// checkConfined looks for every op of want that confines in got, in the same process, as it was.
func checkConfined(t *testing.T, want, got *Program) {
	t.Helper()
	for _, op := range want.Ops {
		switch op.Call.Name {
		case "prctl", "capset", "seccomp", "pivot_root", "umount2", "setsid", "close_range", "execve", "exit_group", "mount":
		default:
			continue
		}
		if op.Label == "exec 1" {
			continue
		}
		if !has(got, op) {
			t.Fatalf("Check accepts a program without %q of the %s:\n%s", op.Label, op.Process, got)
		}
	}
}

func has(p *Program, want *Op) bool {
	for _, op := range p.Ops {
		if op.Process == want.Process && op.Call.Name == want.Call.Name && op.Want == want.Want && op.Any == want.Any && op.Keep == nil &&
			len(op.Tolerate) == len(want.Tolerate) && sameArgs(op.Call.Name, op.Call.Args, want.Call.Args) {
			return true
		}
	}
	return false
}

func sameArgs(name string, a, b []kernel.Arg) bool {
	for i := range min(len(a), len(b)) {
		if name == "close_range" && i == 1 {
			continue // any number beyond what is open does
		}
		if name == "execve" {
			continue // what is executed is the Spec's
		}
		// The contents of a filter, and of what is executed, are the caller's.
		if a[i].Value != b[i].Value || a[i].Mem != nil && a[i].Mem.Refs == nil && !reflect.DeepEqual(a[i].Mem, b[i].Mem) {
			return false
		}
	}
	return len(a) == len(b)
}
