//go:build linux && (amd64 || arm64)

package image

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
	"github.com/ringfence-go/ringfence/internal/plan"
)

// everything is a program with each way in which memory is used.
func everything() *plan.Program {
	kept := plan.NewRecord(plan.Started, 2)
	keep := op(kernel.Faccessat2("/bin/sh"))
	keep.Keep, keep.KeepAt = kept, plan.RecordNotes
	fork := op(kernel.Clone3(unix.CLONE_VM|unix.CLONE_VFORK, kept, plan.RecordPID))
	fork.Kind, fork.Any, fork.Child = plan.Fork, true, 7
	until := op(kernel.Wait4(plan.NewRecord(plan.Ended, 0), plan.RecordStatus, plan.RecordUsage)).Returns(2)
	until.Kind = plan.Until
	argv, env := kernel.Strings([]string{"sh", "-c", "exit"}), kernel.Strings([]string{"A=B", "EMPTY="})
	return program(keep, op(kernel.HandleSignal(unix.SIGIO, kernel.Arch(stubArch))), op(kernel.Seccomp(make([]byte, 80))), fork,
		op(kernel.SendFDs(reportFD, kept, "started", 5, 6)), until, exit(0), op(kernel.Execve("/bin/sh", argv, env)))
}

func build(t testing.TB, p *plan.Program) []byte {
	t.Helper()
	image, err := Build(p)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func TestImageIsAStaticExecutable(t *testing.T) {
	image := build(t, everything())
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	machine := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[stubArch]
	if f.Type != elf.ET_EXEC || f.Machine != machine || f.Class != elf.ELFCLASS64 || f.Data != elf.ELFDATA2LSB || len(f.Sections) != 0 {
		t.Errorf("header %+v", f.FileHeader)
	}
	var loads, stacks int
	for _, p := range f.Progs {
		switch p.Type {
		case elf.PT_LOAD:
			loads++
			if p.Flags&elf.PF_W != 0 && p.Flags&elf.PF_X != 0 {
				t.Error("a segment can be written and executed")
			}
			if p.Vaddr%p.Align != p.Off%p.Align || p.Filesz != p.Memsz || p.Off+p.Filesz > uint64(len(image)) {
				t.Errorf("segment %+v in a file of %d bytes", p.ProgHeader, len(image))
			}
			if inside := f.Entry >= p.Vaddr && f.Entry < p.Vaddr+p.Memsz; inside != (p.Flags == elf.PF_R|elf.PF_X) {
				t.Errorf("the entry %#x is in the segment %+v: %v", f.Entry, p.ProgHeader, inside)
			}
		case elf.PT_GNU_STACK:
			stacks++
			if p.Flags&elf.PF_X != 0 {
				t.Error("the stack can be executed")
			}
		case elf.PT_NULL: // nothing is low
		default:
			t.Errorf("segment %+v", p.ProgHeader)
		}
	}
	if loads != 2 || stacks != 1 {
		t.Errorf("%d segments to load and %d stacks, want 2 and 1", loads, stacks)
	}
	if again := build(t, everything()); !bytes.Equal(image, again) {
		t.Error("the same program makes two images")
	}
	if n := len(image) - dataOffset; n > 4096 {
		t.Errorf("a small program takes %d bytes of data", n)
	}
}

// Every pointer is to a place in the data segment, behind the ops, or to the handler.
func TestPointersStayInTheSegment(t *testing.T) {
	p := everything()
	image := build(t, p)
	_, handler, err := code(p.Arch)
	if err != nil {
		t.Fatal(err)
	}
	handlerAddr := uint64(textAddr + codeOffset + handler)
	data := image[dataOffset:]
	memory := uint64(dataAddr + headerSize + opSize*len(p.Ops))
	check := func(what string, v uint64, m *kernel.Memory, at int) {
		t.Helper()
		want := []byte(m.Text + "\x00")
		if m.Text == "" {
			want = m.Bytes
		}
		start := v - uint64(at)
		if start < memory || start+uint64(len(want)) > dataAddr+uint64(len(data)) {
			t.Errorf("%s points to %#x, outside of the segment", what, v)
			return
		}
		got := bytes.Clone(data[start-dataAddr : start-dataAddr+uint64(len(want))])
		for _, r := range m.Refs { // pointers are checked below
			clear(got[r.Offset : r.Offset+8])
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s points to %q, want %q", what, got, want)
		}
	}
	var refs func(what string, v uint64, m *kernel.Memory)
	refs = func(what string, v uint64, m *kernel.Memory) {
		check(what, v, m, 0)
		for _, r := range m.Refs {
			to := binary.LittleEndian.Uint64(data[v-dataAddr+uint64(r.Offset):])
			if r.To == nil {
				if to != handlerAddr {
					t.Errorf("%s holds %#x, want the handler, %#x", what, to, handlerAddr)
				}
				continue
			}
			refs(what, to-uint64(r.ToOffset), r.To)
		}
	}
	for i, op := range p.Ops {
		encoded := data[headerSize+opSize*i:]
		for j, a := range op.Call.Args {
			v := binary.LittleEndian.Uint64(encoded[opArgs+8*j:])
			if a.Mem == nil {
				if v != uint64(a.Value) {
					t.Errorf("%s: argument %d is %#x", op.Label, j, v)
				}
				continue
			}
			refs(op.Label, v-uint64(a.Offset), a.Mem)
		}
		want := binary.LittleEndian.Uint64(encoded[opWant:])
		if op.Keep != nil {
			check(op.Label, want, op.Keep, op.KeepAt)
		}
		if op.Kind == plan.Fork && want != uint64(dataAddr+headerSize+opSize*op.Child) {
			t.Errorf("%s: the child is at %#x", op.Label, want)
		}
	}
}

func TestOddProgramsAreErrors(t *testing.T) {
	deep := &kernel.Memory{Bytes: make([]byte, 8)}
	for range 100 {
		deep = &kernel.Memory{Bytes: make([]byte, 8), Refs: []kernel.Ref{{To: deep}}}
	}
	arg := func(a kernel.Arg) *plan.Op {
		return &plan.Op{Label: "odd", Call: kernel.Call{Name: "getpid", Args: []kernel.Arg{a}}}
	}
	keep := exit(0)
	keep.Keep, keep.KeepAt = kernel.Zeroed(8), 1
	fork := exit(0)
	fork.Kind, fork.Child = plan.Fork, 1
	back := exit(0)
	back.Kind = plan.Fork
	for what, p := range map[string]*plan.Program{
		"another architecture":         {Arch: "mips", Ops: []*plan.Op{exit(0)}},
		"no step":                      {Arch: kernel.Arch(stubArch), Ops: []*plan.Op{nil}},
		"an unknown call":              program(op(number("no_such_call"))),
		"seven arguments":              program(op(number("getpid", 1, 2, 3, 4, 5, 6, 7))),
		"an errno that has no bit":     program(exit(0).Tolerates("why not", 64)),
		"no errno":                     program(exit(0).Tolerates("why not", 0)),
		"too many steps":               {Arch: kernel.Arch(stubArch), Ops: make([]*plan.Op, MaxOps+1)},
		"a child behind the end":       program(fork),
		"a child that is its parent":   program(back, exit(0)),
		"a pointer before its memory":  program(arg(kernel.Arg{Mem: kernel.Zeroed(8), Offset: -1})),
		"a pointer behind its memory":  program(arg(kernel.Arg{Mem: kernel.Zeroed(8), Offset: 9})),
		"a result behind its memory":   program(keep),
		"a reference that has no room": program(arg(kernel.Arg{Mem: &kernel.Memory{Bytes: make([]byte, 7), Refs: []kernel.Ref{{}}}})),
		"a reference before":           program(arg(kernel.Arg{Mem: &kernel.Memory{Bytes: make([]byte, 8), Refs: []kernel.Ref{{Offset: -8}}}})),
		"a reference to behind":        program(arg(kernel.Arg{Mem: &kernel.Memory{Bytes: make([]byte, 8), Refs: []kernel.Ref{{To: kernel.Zeroed(1), ToOffset: 2}}}})),
		"a long chain":                 program(arg(kernel.Arg{Mem: deep})),
	} {
		if image, err := Build(p); err == nil {
			t.Errorf("%s: an image of %d bytes", what, len(image))
		}
	}
}

// Memory that points to itself is placed once.
func TestCirclesEnd(t *testing.T) {
	m := kernel.Zeroed(8)
	m.Refs = []kernel.Ref{{To: m}}
	p := program(&plan.Op{Call: kernel.Call{Name: "getpid", Args: []kernel.Arg{{Mem: m}}}}, exit(0))
	if n := len(build(t, p)) - dataOffset; n > headerSize+2*opSize+16 {
		t.Errorf("%d bytes of data", n)
	}
}

func TestLongestProgramRuns(t *testing.T) {
	ops := make([]*plan.Op, MaxOps)
	for i := range ops {
		ops[i] = op(number("sched_yield"))
	}
	ops[MaxOps-1] = op(number("close", 99)) // fails
	if got := run(t, program(ops...)); got.exit != 1 || len(got.reports) != 1 {
		t.Errorf("%s", got)
	} else if r, err := plan.ParseRecord([]byte(got.reports[0])); err != nil || r.Index != MaxOps-1 || r.Result != -int64(unix.EBADF) {
		t.Errorf("record %+v, %v", r, err)
	}
}

func TestLargeMemoryIsWrittenWhole(t *testing.T) {
	const size = 8 << 20
	null := &kernel.Memory{Bytes: bytes.Repeat([]byte("x"), size)}
	write := op(kernel.Write(nullFD, null, "much")).Returns(size)
	if got := run(t, program(write, say("done"), exit(0))); got.exit != 0 || got.out != "done" {
		t.Errorf("%s", got)
	}
}

// The image holds what the program says, and nothing else of this process.
func TestImageHoldsNothingOfTheCaller(t *testing.T) {
	const secret = "a value of the caller's environment"
	t.Setenv("RINGFENCE_IMAGE_TEST", secret)
	image := build(t, everything())
	for _, e := range append(os.Environ(), os.Args...) {
		_, value, _ := strings.Cut(e, "=")
		for _, s := range []string{e, value} {
			const short = 8 // which may be anywhere by chance
			if len(s) >= short && bytes.Contains(image, []byte(s)) {
				t.Errorf("the image holds %q", s)
			}
		}
	}
	for _, want := range []string{"A=B\x00", "EMPTY=\x00", "/bin/sh\x00"} { // the test can fail
		if !bytes.Contains(image, []byte(want)) {
			t.Errorf("the image does not hold %q", want)
		}
	}
}

// All six arguments reach the kernel: the file, and where in it to begin, are the last two of mmap(2).
func TestSixArgumentsArePassed(t *testing.T) {
	const where, page, copyFD = 0x20000000, 0x10000, 9
	mmap := func(offset int64) kernel.Call {
		return number("mmap", where, page, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_FIXED, copyFD, offset)
	}
	p := program(
		op(number("dup3", inFD, copyFD, 0)).Returns(copyFD),
		op(kernel.Close(inFD)),         // or a missing argument would be the right one
		op(mmap(1)).Fails(unix.EINVAL), // no multiple of a page
		op(mmap(0)).Returns(where),
		op(number("write", outFD, where, int64(len(input)))).Returns(int64(len(input))),
		exit(0),
	)
	if got := run(t, p); got.exit != 0 || got.out != input {
		t.Errorf("%s", got)
	}
}

// What is low has a segment of its own, below the text, and arguments point there.
func TestLowMemoryHasItsPlace(t *testing.T) {
	const path = "/bin/x"
	ops := []*plan.Op{
		op(kernel.ExecveFrom(path, kernel.Strings([]string{"x"}), kernel.Strings(nil))),
		op(kernel.ExecveFrom("/y", kernel.Strings([]string{"x"}), kernel.Strings(nil))),
	}
	image := build(t, program(ops...))
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	low := f.Progs[0]
	contents := make([]byte, low.Filesz)
	if _, err := low.ReadAt(contents, 0); err != nil {
		t.Fatal(err)
	}
	if low.Type != elf.PT_LOAD || low.Vaddr != lowAddr || low.Flags != elf.PF_R || low.Vaddr%low.Align != low.Off%low.Align || string(contents) != path+"\x00/y\x00" {
		t.Errorf("segment %+v holds %q", low.ProgHeader, contents)
	}
	for i, want := range []uint64{lowAddr, lowAddr + uint64(len(path)) + 1} {
		if got := binary.LittleEndian.Uint64(image[opOffset(i)+opArgs:]); got != want {
			t.Errorf("argument %d points to %#x, want %#x", i, got, want)
		}
	}
	big := &plan.Op{Label: "x", Call: kernel.ExecveFrom(strings.Repeat("x", textAddr), kernel.Strings(nil), kernel.Strings(nil))}
	if _, err := Build(program(big)); err == nil {
		t.Error("more than there is room for is placed")
	}
}
