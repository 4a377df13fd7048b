package seccomp

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// The facts that doc.go states for every filter.
func TestForeignABIsAndUnknownCalls(t *testing.T) {
	p := &Policy{Default: Allow}
	f := compileWithPure(t, p, "amd64")
	const amd64, i386, arm64 = 0xc000003e, 0x40000003, 0xc00000b7
	for _, tt := range []struct {
		what string
		d    Data
		want Action
	}{
		{"read", Data{Nr: 0, Arch: amd64}, Allow},
		{"newest of the table", Data{Nr: 471, Arch: amd64}, Allow},
		{"after the newest", Data{Nr: 472, Arch: amd64}, Errno(38)},
		{"in a hole", Data{Nr: 400, Arch: amd64}, Errno(38)},
		{"read by x32", Data{Nr: 0x40000000, Arch: amd64}, KillProcess},
		{"x32 number of its own", Data{Nr: 0x40000000 | 520, Arch: amd64}, KillProcess},
		{"highest negative but one", Data{Nr: -2, Arch: amd64}, KillProcess},
		{"skipped by a tracer", Data{Nr: -1, Arch: amd64}, Errno(38)},
		{"by int 0x80", Data{Nr: 3, Arch: i386}, KillProcess},
		{"another machine", Data{Nr: 63, Arch: arm64}, KillProcess},
		{"no machine", Data{}, KillProcess},
	} {
		if got := f.Eval(tt.d); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.what, got, tt.want)
		}
	}
	if got := (&Filter{}).Eval(Data{}); got != KillProcess {
		t.Errorf("the zero Filter: %s", got)
	}
}

func TestFirstMatchWins(t *testing.T) {
	p := &Policy{Default: KillProcess, Rules: []Rule{
		{Names: []string{"read"}, Args: []Arg{{Index: 0, Op: Equal, Value: 3}}, Action: Errno(9)},
		{Names: []string{"read", "write"}, Action: Allow},
		{Names: []string{"read"}, Args: []Arg{{Index: 0, Op: Equal, Value: 4}}, Action: Errno(9)},
		{Names: []string{"read"}, Action: Errno(9)},
	}}
	f := compileWithPure(t, p, "arm64")
	for fd, want := range map[uint64]Action{3: Errno(9), 4: Allow, 3 + 1<<32: Allow} {
		d, err := Call("arm64", "read", fd)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Eval(d); got != want {
			t.Errorf("read of %#x: %s, want %s", fd, got, want)
		}
	}
}

func TestCompileIsDeterministicAndLeavesThePolicyAlone(t *testing.T) {
	for name, p := range builtins() {
		before := p.String()
		first := compileWithPure(t, p, "amd64", "386", "arm64")
		for range 5 {
			if again := compileWithPure(t, p, "amd64", "386", "arm64"); !bytes.Equal(first.Raw(), again.Raw()) {
				t.Fatalf("%s: two compilations differ", name)
			}
		}
		if p.String() != before {
			t.Errorf("%s: changed by Compile", name)
		}
		if got := first.Archs(); !slices.Equal(got, []string{"amd64", "386", "arm64"}) {
			t.Errorf("Archs() = %v", got)
		}
	}
}

func TestCompileRefusesArchitectures(t *testing.T) {
	for _, archs := range [][]string{nil, {"vax"}, {"amd64", "amd64"}, {""}, {"riscv64", "mips"}} {
		f, err := Default().Compile(archs...)
		var pe *PolicyError
		if f != nil || !errors.As(err, &pe) || !strings.HasPrefix(pe.Field, "archs") {
			t.Errorf("Compile(%q) = %v, %v", archs, f, err)
		}
	}
}

// A policy that does not fit is an error, soon and without deep recursion, however large it is.
func TestTooLargePolicies(t *testing.T) {
	wide := &Policy{Default: Allow}
	for _, name := range tableNames()[:300] {
		for i := range uint64(20) {
			wide.Rules = append(wide.Rules, Rule{Names: []string{name}, Action: Errno(int(i)),
				Args: []Arg{{Index: 0, Op: Equal, Value: i*1000 + uint64(len(wide.Rules))}}})
		}
	}
	deep := &Policy{Default: Allow}
	args := make([]Arg, 500_000)
	for i := range args {
		args[i] = Arg{Index: i % 6, Op: NotEqual, Value: uint64(i)}
	}
	deep.Rules = []Rule{{Names: []string{"read"}, Action: KillProcess, Args: args}}
	for name, p := range map[string]*Policy{"wide": wide, "deep": deep} {
		_, err := compilePure(p, []kernel.Arch{kernel.AMD64})
		var large *TooLargeError
		if !errors.As(err, &large) {
			t.Errorf("%s: %v", name, err)
		} else if !strings.Contains(err.Error(), "4096") {
			t.Errorf("%s: no limit in %q", name, err)
		}
	}
}

func TestExplainNamesCalls(t *testing.T) {
	p := &Policy{Default: Errno(1), Rules: []Rule{
		{Names: []string{"read", "write", "exit_group"}, Action: Allow},
		{Names: []string{"ioctl"}, Args: []Arg{{Index: 1, Op: Equal, Value: 0x5401, Mask: Low32}}, Action: Allow},
		{Names: []string{"kill"}, Args: []Arg{{Index: 0, Op: Greater, Value: 1 << 40}, {Index: 1, Op: LessEqual, Value: 0xf0, Mask: 0xff}}, Action: Log},
	}}
	golden(t, "explain.txt", compileWithPure(t, p, "amd64", "arm64").Explain())
}

func TestGoldens(t *testing.T) {
	for name, p := range builtins() {
		golden(t, name+".policy", p.String())
	}
	golden(t, "default.amd64.txt", compileWithPure(t, Default(), "amd64").Explain())
	golden(t, "default.arm64.txt", compileWithPure(t, Default(), "arm64").Explain())
}
