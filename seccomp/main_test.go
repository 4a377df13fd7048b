package seccomp

import (
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// golden compares text with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs: look at the change with go test -update and git diff\ngot:\n%s", path, got)
	}
}

// compileWithPure compiles with the compiler of this package, whatever the build tags say.
func compileWithPure(t testing.TB, p *Policy, archs ...string) *Filter {
	t.Helper()
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	abis, err := parseArchs(archs)
	if err != nil {
		t.Fatal(err)
	}
	f, err := compilePure(p, abis)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A theirCompiler is a compiler other than this package's own, and the policies that it is measured with.
type theirCompiler struct {
	name     string
	compile  func(testing.TB, *Policy, ...string) *Filter
	policies []string
}

// builtins are the policies of this package, by name.
func builtins() map[string]*Policy {
	return map[string]*Policy{
		"default":          Default(),
		"strict":           Strict(StrictOptions{}),
		"strict-processes": Strict(StrictOptions{Processes: true, ReadOnlyFiles: true, Violation: Errno(1)}),
		"strict-window":    Strict(StrictOptions{Exec: ExecWindow{0x10000, 0x20000}}),
	}
}

// An inputs makes calls that are likely to show a wrong filter: the numbers and values of a policy,
// their neighbors, and what only differs in one half.
type inputs struct {
	r       *rand.Rand
	numbers []int32
	values  []uint64
}

func newInputs(r *rand.Rand, p *Policy) *inputs {
	in := &inputs{r: r, values: []uint64{0, 1, 0xffffffff, 1 << 32, 1<<32 + 1, 1 << 63, ^uint64(0)}}
	for _, rule := range p.Rules {
		for _, name := range rule.Names {
			for _, a := range kernel.Archs() {
				if nr, ok := kernel.Number(a, name); ok {
					in.numbers = append(in.numbers, int32(nr-1), int32(nr), int32(nr), int32(nr), int32(nr+1))
				}
			}
		}
		for _, arg := range rule.Args {
			v := arg.Value
			in.values = append(in.values, v, v, v-1, v+1, v+1<<32, v-1<<32, v^1<<31, v|^arg.mask(), v^arg.mask(), uint64(uint32(v)), v<<32)
		}
	}
	return in
}

func (in *inputs) next() Data {
	d := Data{Arch: kernel.Archs()[in.r.IntN(5)].AuditArch(), InstructionPointer: in.r.Uint64()}
	switch n := in.r.IntN(20); {
	case n < 14 && len(in.numbers) > 0:
		d.Nr = in.numbers[in.r.IntN(len(in.numbers))]
	case n < 17:
		d.Nr = int32(in.r.IntN(560))
	case n == 17:
		d.Nr = int32(in.r.IntN(560)) | kernel.X32Bit
	case n == 18:
		d.Nr = []int32{-1, -2, 0x3fffffff, kernel.X32Bit, 0x7fffffff, -1 << 31, 0xf0001, 0xf0006, 0xf0007}[in.r.IntN(9)]
	default:
		d.Nr = int32(in.r.Uint32())
	}
	if in.r.IntN(30) == 0 {
		d.Arch = in.r.Uint32()
	}
	for i := range d.Args {
		d.Args[i] = in.values[in.r.IntN(len(in.values))]
		if in.r.IntN(20) == 0 {
			d.Args[i] = in.r.Uint64()
		}
	}
	return d
}
