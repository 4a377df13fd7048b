//go:build seccomp && cgo && linux

package seccomp

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// theirCompilers are those of libseccomp. All rules at once are right for Docker's profile alone.
var theirCompilers = []theirCompiler{
	{"libseccomp", mustCompile, []string{"docker", "default", "strict"}},
	{"libseccomp-as-runc", compileAsRunc, []string{"docker"}},
}

var libseccompInUse = libseccompVersion()

// mustCompile compiles with libseccomp.
func mustCompile(t testing.TB, p *Policy, archs ...string) *Filter {
	t.Helper()
	f, err := p.Compile(archs...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// compileAsRunc gives all rules to libseccomp at once.
func compileAsRunc(t testing.TB, p *Policy, archs ...string) *Filter {
	t.Helper()
	abis, err := parseArchs(archs)
	if err != nil {
		t.Fatal(err)
	}
	insns, err := runLibseccomp(single(p.Rules), p.Default, abis)
	if err != nil {
		t.Fatal(err)
	}
	return &Filter{insns: insns, archs: abis}
}

// sameDecisions holds a filter of libseccomp against one of this package's compiler.
func sameDecisions(t *testing.T, p *Policy, archs []string, rounds int) {
	t.Helper()
	theirs, ours := mustCompile(t, p, archs...), compileWithPure(t, p, archs...)
	in := newInputs(rand.New(rand.NewPCG(3, 4)), p)
	for range rounds {
		d := in.next()
		if d.Arch != kernel.AMD64.AuditArch() && d.Arch != kernel.ARM64.AuditArch() || d.Nr&kernel.X32Bit != 0 {
			lowHalves(&d)
		}
		if a, b := theirs.Eval(d), ours.Eval(d); a != b {
			t.Fatalf("%+v on %v: libseccomp %s, this package %s\n%s", d, archs, a, b, p)
		}
	}
	for _, a := range kernel.Archs() {
		for nr := range int32(600) {
			for _, x32 := range []int32{0, kernel.X32Bit} {
				d := Data{Nr: nr | x32, Arch: a.AuditArch()}
				if a, b := theirs.Eval(d), ours.Eval(d); a != b {
					t.Fatalf("%+v on %v: libseccomp %s, this package %s", d, archs, a, b)
				}
			}
		}
	}
}

func TestLibseccompAgreesOnDockerProfile(t *testing.T) {
	pr := dockerProfile(t, linux61)
	for _, archs := range [][]string{{"amd64"}, pr.Archs, {"arm64", "arm"}, {"arm64"}, {"386"}} {
		sameDecisions(t, pr.Policy, archs, 50000)
	}
}

// All rules in one filter, as runc gives them to libseccomp: Docker's profile has no shape that
// libseccomp compiles wrongly, so the decisions are equal to those of this package on every call that
// libseccomp knows.
func TestDockerProfileAsRuncCompilesIt(t *testing.T) {
	pr := dockerProfile(t, linux61)
	for _, archs := range [][]string{{"amd64"}, pr.Archs, {"arm64", "arm"}} {
		abis, err := parseArchs(archs)
		if err != nil {
			t.Fatal(err)
		}
		theirs, ours := compileAsRunc(t, pr.Policy, archs...), compileWithPure(t, pr.Policy, archs...)
		compared := 0
		// Those of the rules, and their neighbors.
		values := newInputs(rand.New(rand.NewPCG(5, 6)), pr.Policy).values
		slices.Sort(values)
		values = slices.Compact(values)
		for _, a := range abis {
			for i := range a.Len() {
				nr, name := a.At(i)
				if !libseccompKnows(a, nr, name) {
					continue
				}
				for _, v := range values {
					d := Data{Nr: int32(nr), Arch: a.AuditArch(), Args: [6]uint64{v, v, v, v, v, v}}
					if halfArgs(a) {
						lowHalves(&d)
					}
					if x, y := theirs.Eval(d), ours.Eval(d); x != y {
						t.Errorf("%s(%#x) of %s on %v: libseccomp %s, this package %s", name, v, a, archs, x, y)
					}
					compared++
				}
			}
		}
		t.Logf("%v: libseccomp %d instructions, this package %d, %d calls compared", archs, theirs.Len(), ours.Len(), compared)
		if len(values) < 50 || compared < 300*len(values) {
			t.Errorf("only %d values and %d calls", len(values), compared)
		}
	}
}

// single splits rules to one name each, the form of a layer.
func single(rules []Rule) layer {
	var l layer
	for _, r := range rules {
		for _, name := range r.Names {
			one := r
			one.Names = []string{name}
			l = append(l, one)
		}
	}
	return l
}

func TestLibseccompAgreesOnBuiltins(t *testing.T) {
	for _, p := range []*Policy{Default(), Strict(StrictOptions{}), Strict(StrictOptions{Processes: true}), Strict(StrictOptions{Exec: LaunchWindow})} {
		for _, archs := range [][]string{{"amd64"}, {"arm64"}, {"amd64", "x32"}} {
			sameDecisions(t, p, archs, 20000)
		}
	}
}

// Random policies: libseccomp refuses or agrees, and agrees often enough to mean something.
func TestLibseccompAgreesOrRefuses(t *testing.T) {
	compiled := 0
	for seed := range uint64(800) {
		r := rand.New(rand.NewPCG(seed, 9))
		p := randomPolicy(r, []string{"read", "write", "openat", "getppid"})
		if _, err := p.Compile("amd64", "arm64"); err != nil {
			if got := fields(err); slices.ContainsFunc(got, func(f string) bool { return f[:5] != "Rules" }) {
				t.Errorf("%v\n%s", err, p)
			}
			continue
		}
		compiled++
		sameDecisions(t, p, []string{"amd64", "arm64"}, 300)
	}
	if compiled < 100 {
		t.Errorf("only %d policies compiled", compiled)
	}
}

// The case that libseccomp compiles wrongly when it gets both rules at once: 8 is not allowed.
func TestLibseccompIsNotTrustedWithAlternatives(t *testing.T) {
	p := &Policy{Default: Errno(1), Rules: []Rule{
		{Names: []string{"getppid"}, Args: []Arg{{Index: 0, Op: Less, Value: 2}}, Action: Allow},
		{Names: []string{"getppid"}, Args: []Arg{{Index: 0, Op: GreaterEqual, Value: 1 << 32}}, Action: Allow},
	}}
	d, err := Call("amd64", "getppid", 8)
	if err != nil {
		t.Fatal(err)
	}
	if got := mustCompile(t, p, "amd64").Eval(d); got != Errno(1) {
		t.Errorf("argument 8: %s", got)
	}
	// What the back end guards against, and why: the two rules in one layer. If this starts to
	// fail, libseccomp has been mended.
	next := Trace(1)
	raw, err := runLibseccomp(layer{p.Rules[0], p.Rules[1]}, next, []kernel.Arch{kernel.AMD64})
	if err != nil {
		t.Fatal(err)
	}
	both, err := NewFilter(raw)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("libseccomp %s with both rules in one filter: argument 8 is %s", libseccompVersion(), both.Eval(d))
	if err := verify(&Policy{Default: next, Rules: p.Rules}, &Filter{insns: raw, archs: []kernel.Arch{kernel.AMD64}}); err == nil && both.Eval(d) == Allow {
		t.Error("the check of what libseccomp made did not see that it is wrong")
	}
}

func TestLibseccompRefusesShapes(t *testing.T) {
	for field, args := range map[string][]Arg{
		"Rules[0].Args[1].Index": {{Index: 0, Op: Greater, Value: 2}, {Index: 0, Op: Less, Value: 9}},
		"Rules[0].Args[0].Mask":  {{Index: 0, Op: NotEqual, Value: 2, Mask: 3}},
	} {
		p := &Policy{Default: KillProcess, Rules: []Rule{{Names: []string{"read"}, Args: args, Action: Allow}}}
		if _, err := p.Compile("amd64"); !slices.Equal(fields(err), []string{field}) {
			t.Errorf("%v, want a fault at %s", err, field)
		}
	}
}
