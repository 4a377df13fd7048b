//go:build linux && (amd64 || arm64)

package image

import (
	"errors"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
	"github.com/ringfence-go/ringfence/internal/plan"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// generator makes a program out of bytes. Every byte string is a program; most are wrong somewhere,
// about as often as the report of a failure is worth a test.
type generator struct {
	data     []byte
	memory   [2]*kernel.Memory // shared by all processes
	scratch  *kernel.Memory    // what the kernel writes of processes is never shown
	forks    int
	children []*child
}

type child struct {
	fork *plan.Op
	ops  []*plan.Op
}

func generate(data []byte, forks bool) *plan.Program {
	g := &generator{data: data, scratch: kernel.Zeroed(64)}
	if !forks {
		g.forks = maxForks
	}
	for i := range g.memory {
		g.memory[i] = &kernel.Memory{Bytes: []byte("0123456789abcdef")}
	}
	ops := []*plan.Op{
		op(kernel.CloseRange(firstFD, kernel.LastDescriptor)),
		op(kernel.Umask(0o22)).ReturnsAny(),
	}
	if emulator() != "" {
		ops = ops[1:] // the emulator has descriptors of its own
	}
	ops = append(ops, g.process(20)...)
	for i := 0; i < len(g.children); i++ {
		g.children[i].fork.Child = len(ops)
		ops = append(ops, g.children[i].ops...)
	}
	return program(ops...)
}

const maxForks = 4

func (g *generator) next() int {
	if len(g.data) == 0 {
		return 0
	}
	b := g.data[0]
	g.data = g.data[1:]
	return int(b)
}

func (g *generator) pick(values ...int64) int64 { return values[g.next()%len(values)] }

func (g *generator) mem() *kernel.Memory { return g.memory[g.next()%len(g.memory)] }

// process returns the ops of one process: at most n, what they left in memory, and the end.
func (g *generator) process(n int) []*plan.Op {
	var ops []*plan.Op
	for range n {
		if len(g.data) == 0 {
			break
		}
		ops = append(ops, g.op())
	}
	ops = append(ops, show(g.memory[0]), show(g.memory[1]), say("end\n"), exit(g.next()))
	if g.next()%8 == 1 {
		ops[len(ops)-3].Want-- // the output is not what was expected
	}
	return ops
}

func (g *generator) op() *plan.Op {
	call, want := g.call()
	o := op(call)
	o.Want = want
	if g.next()%8 == 7 {
		o.Want = int64(g.next()) - 16
	}
	switch g.next() % 8 {
	case 0, 1, 2:
	case 3:
		o.Any, o.Want = true, 0
	case 4:
		o.Keep, o.KeepAt = g.mem(), g.next()%9
	case 5:
		o.Kind = plan.Until
	case 6:
		o.Tolerate = []unix.Errno{unix.EBADF, unix.EINVAL}
	case 7:
		o.Tolerate = []unix.Errno{unix.Errno(1 + g.next()%63), unix.ESPIPE, unix.ECHILD}
	}
	if call.Name == "clone3" {
		o.Kind, o.Any, o.Keep, o.Want = plan.Fork, true, nil, 0
		c := &child{fork: o} // in its place before its own children
		g.children = append(g.children, c)
		c.ops = g.process(6)
	}
	if call.Name == "wait4" {
		o.Kind, o.Any, o.Keep, o.Want = plan.Call, true, nil, 0
	}
	return o
}

// call returns a call, and what it probably returns.
func (g *generator) call() (kernel.Call, int64) {
	fd := func() int { return int(g.pick(outFD, outFD, inFD, inFD, nullFD, reportFD, 5, 6, 99, -1, lifelineFD)) }
	m := g.mem()
	part := func() *kernel.Memory { return &kernel.Memory{Bytes: []byte("some text")[:g.next()%10]} }
	switch g.next() % 12 {
	case 0, 1:
		s := part()
		return kernel.Write(fd(), s, "s"), int64(len(s.Bytes))
	case 2:
		return kernel.Write(fd(), m, "m"), 16
	case 3:
		return number("read", int64(fd())), 0
	case 4:
		return kernel.Read(fd(), m), g.pick(16, 3, 0)
	case 5:
		return kernel.Close(fd()), 0
	case 6:
		offset := g.pick(0, 1, 5, 100, -1)
		return number("lseek", int64(fd()), offset, g.pick(0, 1, 2)), offset
	case 7:
		to := g.pick(0, 1, 2, 3, 5, 6)
		return number("dup3", int64(fd()), to, 0), to
	case 8:
		if emulator() != "" {
			return number("sched_yield"), 0
		}
		low := g.pick(0, 5, 7)
		return number("fcntl", int64(fd()), unix.F_DUPFD, low), max(low, firstFD)
	case 9:
		return kernel.Umask(uint32(g.pick(0, 0o22, 0o77))), g.pick(0o22, 0, 0o77)
	case 10:
		if g.forks < maxForks {
			g.forks++
			return kernel.Clone3(unix.CLONE_VM|unix.CLONE_VFORK|unix.CLONE_CLEAR_SIGHAND, g.scratch, 4), 0
		}
	case 11:
		if g.forks > 0 && g.forks < maxForks {
			c := number("wait4", -1, 0, unix.WALL, 0)
			c.Args[1] = kernel.Arg{Mem: m, Offset: 4}
			return c, 0
		}
	}
	return number("sched_yield"), 0
}

// agree runs a program in the model and in the kernel, and compares. It reports false where the model
// does not know what the program does.
func agree(t testing.TB, p *plan.Program) bool {
	t.Helper()
	image, err := Build(p)
	if err != nil {
		t.Fatal(err)
	}
	r, err := loadReference(p.Arch, image)
	if err != nil {
		t.Fatal(err)
	}
	want, err := r.outcome()
	if errors.Is(err, errOutOfModel) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := run(t, p); !got.equal(want) {
		t.Errorf("the interpreter: %+v\nthe reference:   %+v\n%s", got, want, p)
	}
	return true
}

// canFork reports whether this machine runs clone3(2), which seccomp profiles of some containers and the
// user-mode emulator answer with ENOSYS.
func canFork(t testing.TB) bool {
	t.Helper()
	fork := op(kernel.Clone3(unix.CLONE_VM|unix.CLONE_VFORK, kernel.Zeroed(64), 4)).ReturnsAny()
	fork.Kind, fork.Child = plan.Fork, 2
	return run(t, program(fork, exit(0), exit(0))).exit == 0
}

func TestInterpreterAgreesWithTheReference(t *testing.T) {
	forks := canFork(t)
	if !forks && emulator() == "" {
		sandboxtest.Skip(t, "clone3", "clone3(2) does not work here")
	}
	random := rand.New(rand.NewPCG(1, 2))
	ran, programs := 0, 400
	if testing.Short() {
		programs = 50
	}
	for range programs {
		data := make([]byte, 4+random.IntN(150))
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		if agree(t, generate(data, forks)) {
			ran++
		}
		if t.Failed() {
			t.Fatalf("the program of %q", data)
		}
	}
	if ran < programs/3 {
		t.Errorf("of %d programs, the model knew %d", programs, ran)
	}
}

func FuzzInterpreter(f *testing.F) {
	forks := canFork(f)
	for _, seed := range []string{"", "\x00\x00\x00", "\x0a\x0a\x00\x00\x0b\x00\x00", "the quick brown fox jumps over the lazy dog", "\x05\x05\x05\x05\x05\x05"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) <= 512 {
			agree(t, generate(data, forks))
		}
	})
}
