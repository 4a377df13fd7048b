//go:build linux

package plan

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

func TestOpenReturnsTheLowestFreeDescriptor(t *testing.T) {
	b := NewBuilder(3)
	open := func() int { return b.Open("open", kernel.Socket()) }
	if a, c, d := open(), open(), open(); a != 3 || c != 4 || d != 5 {
		t.Fatalf("opened %d, %d, %d, want 3, 4, 5", a, c, d)
	}
	b.Close(4, 1)
	if a, c, d := open(), open(), open(); a != 1 || c != 4 || d != 6 {
		t.Errorf("after closing 4 and 1, opened %d, %d, %d, want 1, 4, 6", a, c, d)
	}
	b.CloseFrom("close", 4)
	if a := open(); a != 4 {
		t.Errorf("after closing 4 and up, opened %d", a)
	}
	b.CloseBelow("close", 3)
	if a, c, d, e := open(), open(), open(), open(); a != 0 || c != 1 || d != 2 || e != 5 {
		t.Errorf("after closing all below 3, opened %d, %d, %d, %d, want 0, 1, 2, 5", a, c, d, e)
	}
	for _, op := range b.Program() {
		if op.Call.Name == "socket" && op.Want < 0 {
			t.Errorf("%s is to return %d", op.Label, op.Want)
		}
	}
}

// A child has the descriptors of its parent at the fork, and neither sees what the other does later.
func TestForkCopiesDescriptors(t *testing.T) {
	b := NewBuilder(3)
	b.Open("open", kernel.Socket())
	var inChild int
	b.Fork("fork", 0, NewRecord(Cloned, 0), Init, func(b *Builder) {
		inChild = b.Open("open in the child", kernel.Socket())
		b.Close(0)
	})
	if fd := b.Open("open", kernel.Socket()); fd != 4 || inChild != 4 {
		t.Errorf("opened %d in the parent and %d in the child, want 4 and 4", fd, inChild)
	}
}

func TestProgramPutsChildrenBehindTheirParents(t *testing.T) {
	b := NewBuilder(3)
	step := func(b *Builder, label string) { b.Call(label, kernel.Umask(0)) }
	step(b, "s0")
	b.Fork("fork 1", 0, NewRecord(Cloned, 0), Init, func(b *Builder) {
		step(b, "i0")
		b.Fork("fork 2", 0, NewRecord(Started, 0), Command, func(b *Builder) { step(b, "c0"); step(b, "c1") })
		step(b, "i1")
	})
	step(b, "s1")
	var labels []string
	ops := b.Program()
	for _, op := range ops {
		labels = append(labels, string(op.Process)+" "+op.Label)
	}
	want := []string{"stub s0", "stub fork 1", "stub s1", "init i0", "init fork 2", "init i1", "command c0", "command c1"}
	if !slices.Equal(labels, want) {
		t.Errorf("ops %q, want %q", labels, want)
	}
	if ops[1].Child != 3 || ops[4].Child != 6 {
		t.Errorf("children at %d and %d, want 3 and 6", ops[1].Child, ops[4].Child)
	}
}

// More ops than are allocated at once keep their places.
func TestOpsStayWhereTheyAre(t *testing.T) {
	b := NewBuilder(3)
	first := b.Call("first", kernel.Umask(0))
	for range 1000 {
		b.Call("more", kernel.Umask(0))
	}
	first.ReturnsAny()
	if ops := b.Program(); len(ops) != 1001 || !ops[0].Any || ops[0] != first {
		t.Error("the first op is another one now")
	}
}

func TestPrintsAsStraceDoes(t *testing.T) {
	argv, env := kernel.Strings([]string{"x", "a b\n"}), kernel.Strings([]string{"SECRET=hunter2", "odd"})
	for _, test := range []struct {
		op   *Op
		want string
	}{
		{&Op{Call: kernel.Umask(0o22)}, "umask(022) = 0"},
		{(&Op{Call: kernel.Umask(0)}).ReturnsAny(), "umask(0) >= 0"},
		{(&Op{Call: kernel.Setsid()}).Returns(2), "setsid() = 2"},
		{(&Op{Call: kernel.Read(4, kernel.Zeroed(1))}).Fails(unix.EAGAIN), "read(4, buf, 1) = -1 EAGAIN"},
		{(&Op{Call: kernel.Mkdirat(5, "a", 0o755)}).Tolerates("it may exist", unix.EEXIST), `mkdirat(5, "a", 0755) = 0 or EEXIST (it may exist)`},
		{(&Op{Call: kernel.Faccessat2("/bin/x")}).Keeps(NewRecord(Started, 1), 16), `faccessat2(AT_FDCWD, "/bin/x", X_OK, AT_EACCESS) = ? (kept)`},
		{&Op{Call: kernel.Openat2(5, "a", unix.O_PATH, unix.RESOLVE_IN_ROOT), Want: 6}, `openat2(5, "a", {flags=O_PATH, resolve=RESOLVE_IN_ROOT}, 24) = 6`},
		{&Op{Call: kernel.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1)}, "prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) = 0"},
		{&Op{Call: kernel.Exit(0)}, "exit_group(0) = ?"},
		{&Op{Call: kernel.Execve("/bin/x", argv, env)}, `execve("/bin/x", ["x", "a b\n"], ["SECRET=…", "odd=…"]) = ?`},
		{&Op{Kind: Until, Call: kernel.Wait4(NewRecord(Ended, 0), 4, 8), Want: 2}, "wait4(-1, &status, __WALL, &rusage) = 2, repeated until then"},
	} {
		if got := test.op.String(); got != test.want {
			t.Errorf("printed  %s\nexpected %s", got, test.want)
		}
	}
}

func TestPrintsALinePerOp(t *testing.T) {
	p := sample()
	lines := strings.Split(strings.TrimSuffix(p.String(), "\n"), "\n")
	if len(lines) != len(p.Ops)+4 {
		t.Errorf("%d lines for %d ops of 4 processes", len(lines), len(p.Ops))
	}
	if p.String() != sample().String() {
		t.Error("the same program is printed in two ways")
	}
	if strings.Contains(p.String(), "A=B") {
		t.Error("a value of the environment is printed")
	}
}

// A path with a line break in it cannot make a step that is not there.
func TestLabelsStayInTheirLine(t *testing.T) {
	p := &Program{Ops: []*Op{{Process: Stub, Label: "bind /a\n   9  drop everything\x1b[2K on /é", Call: kernel.Setsid()}}}
	if s := p.String(); strings.Count(s, "\n") != 2 || strings.Contains(s, "\x1b") || !strings.Contains(s, "é") {
		t.Errorf("printed %q", s)
	}
}
