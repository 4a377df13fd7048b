package seccomp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/net/bpf"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

var archChoices = [][]string{
	{"amd64"}, {"arm64"}, {"386"}, {"arm"}, {"x32"}, {"amd64", "386"}, {"x32", "amd64"},
	{"386", "amd64", "x32", "arm", "arm64"},
}

// randomPolicy makes a valid policy, usually with many rules on few calls.
func randomPolicy(r *rand.Rand, calls []string) *Policy {
	actions := []Action{Allow, Allow, KillProcess, KillThread, Errno(1), Errno(5), Log, Trap, Trace(7), Notify}
	action := func() Action { return actions[r.IntN(len(actions))] }
	values := []uint64{0, 1, 2, 3, 8, 0xffffffff, 0x80000000, 1 << 32, 1<<32 + 1, 2 << 32, 1 << 63, ^uint64(0)}
	value := func() uint64 { return values[r.IntN(len(values))] }

	p := &Policy{Default: action()}
	if r.IntN(3) == 0 {
		p.BadArch, p.Unknown = Errno(13), action()
	}
	few := 1 + r.IntN(len(calls))
	if r.IntN(2) == 0 {
		few = 1 + r.IntN(3)
	}
	for range r.IntN(12) {
		rule := Rule{Action: action()}
		for range 1 + r.IntN(few) {
			rule.Names = append(rule.Names, calls[r.IntN(few)])
		}
		for range r.IntN(4) {
			a := Arg{Index: r.IntN(3), Op: Op(1 + r.IntN(6)), Value: value()}
			switch r.IntN(3) {
			case 0:
				a.Mask = []uint64{Low32, 0xff, 1, 0xffffffff << 32, 1 << 40, value() | 1}[r.IntN(6)]
				a.Value &= a.Mask
			case 1:
				a.Value = uint64(r.IntN(10))
			}
			rule.Args = append(rule.Args, a)
		}
		p.Rules = append(p.Rules, rule)
	}
	return p
}

func tableNames() []string {
	var all []string
	for i := range kernel.AMD64.Len() {
		_, name := kernel.AMD64.At(i)
		all = append(all, name)
	}
	return append(all, "socketcall", "set_tls", "mmap2")
}

// packet is a seccomp_data such that the big-endian loads of the VM find what the kernel's loads in
// host order find.
func packet(d *Data) []byte {
	b := make([]byte, dataSize)
	for offset := uint32(0); offset < dataSize; offset += 4 {
		binary.BigEndian.PutUint32(b[offset:], d.word(offset))
	}
	return b
}

func vm(t testing.TB, f *Filter) *bpf.VM {
	t.Helper()
	var raw []bpf.RawInstruction
	for _, in := range f.Instructions() {
		raw = append(raw, bpf.RawInstruction{Op: in.Code, Jt: in.JT, Jf: in.JF, K: in.K})
	}
	insns, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("x/net/bpf does not know an instruction")
	}
	machine, err := bpf.NewVM(insns)
	if err != nil {
		t.Fatal(err)
	}
	return machine
}

// agrees checks a filter by both interpreters against the policy.
func agrees(t testing.TB, p *Policy, f *Filter, archs []string, in *inputs, rounds int) {
	t.Helper()
	machine := vm(t, f)
	for range rounds {
		d := in.next()
		want := p.Decide(d, archs...)
		ret, err := machine.Run(packet(&d))
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Eval(d); got != want || actionOf(uint32(ret)) != want {
			t.Fatalf("%+v on %v: policy says %s, filter %s, x/net/bpf %s\n%s\n%s",
				d, archs, want, got, actionOf(uint32(ret)), p, f.Explain())
		}
	}
}

func TestFiltersDecideAsTheirPolicies(t *testing.T) { testRandom(t, 2500, 0, true) }

// The fallback of the compiler, for policies with too many conditions, must be right as well.
func TestFiltersWithoutFactsDecideAsTheirPolicies(t *testing.T) { testRandom(t, 500, 1, false) }

func testRandom(t *testing.T, policies, stream uint64, useFacts bool) {
	calls := tableNames()
	tooLarge := 0
	for seed := range policies {
		r := rand.New(rand.NewPCG(seed, stream))
		p := randomPolicy(r, calls)
		archs := archChoices[r.IntN(len(archChoices))]
		abis, err := parseArchs(archs)
		if err != nil {
			t.Fatal(err)
		}
		insns, err := assemble(p, abis, useFacts)
		var large *TooLargeError
		if errors.As(err, &large) {
			tooLarge++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		f, err := NewFilter(insns)
		if err != nil {
			t.Fatalf("%v\n%s", err, p)
		}
		agrees(t, p, f, archs, newInputs(r, p), 100)
	}
	if tooLarge > int(policies)/20 {
		t.Errorf("%d of %d policies were too large to test", tooLarge, policies)
	}
}

func TestBuiltinFiltersDecideAsTheirPolicies(t *testing.T) {
	for name, p := range builtins() {
		for _, archs := range archChoices {
			t.Run(fmt.Sprint(name, archs), func(t *testing.T) {
				f := compileWithPure(t, p, archs...)
				agrees(t, p, f, archs, newInputs(rand.New(rand.NewPCG(1, 2)), p), 2000)
			})
		}
	}
}

// A policy with so many conditions on one call that the facts are given up and jumps are long.
func TestLargeFiltersDecideAsTheirPolicies(t *testing.T) {
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 3))
		p := &Policy{Default: KillProcess}
		for i := range 120 {
			a := Arg{Index: r.IntN(2), Op: Op(1 + r.IntN(6)), Value: r.Uint64() >> r.IntN(64)}
			b := Arg{Index: 2 + r.IntN(2), Op: Equal, Value: uint64(i)}
			p.Rules = append(p.Rules, Rule{Names: []string{"read", "write", "ioctl"}[:1+i%3], Args: []Arg{a, b}, Action: Errno(i)})
		}
		archs := []string{"amd64", "arm64"}
		f := compileWithPure(t, p, archs...)
		if f.Len() < 600 {
			t.Errorf("only %d instructions: the test does not test what it should", f.Len())
		}
		agrees(t, p, f, archs, newInputs(r, p), 1000)
	}
}

// The wrong case of libseccomp (2.5.4 and later): with these rules for one call, it allows 8.
func TestOredInequalities(t *testing.T) {
	p := &Policy{Default: Errno(1), Rules: []Rule{
		{Names: []string{"getppid"}, Args: []Arg{{Index: 0, Op: Less, Value: 2}}, Action: Allow},
		{Names: []string{"getppid"}, Args: []Arg{{Index: 0, Op: GreaterEqual, Value: 1 << 32}}, Action: Allow},
	}}
	f := compileWithPure(t, p, "amd64")
	for value, want := range map[uint64]Action{0: Allow, 1: Allow, 2: Errno(1), 8: Errno(1), 0xffffffff: Errno(1), 1 << 32: Allow, 1<<32 + 8: Allow, ^uint64(0): Allow} {
		d, err := Call("amd64", "getppid", value)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Eval(d); got != want {
			t.Errorf("argument %#x: %s, want %s", value, got, want)
		}
	}
}
