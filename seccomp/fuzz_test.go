package seccomp

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// namesFields checks that every fault of a bad input says where it is, unless it is one of size.
func namesFields(t *testing.T, err error) {
	t.Helper()
	var large *TooLargeError
	if errors.As(err, &large) {
		return
	}
	for _, field := range fields(err) {
		if field == "" || strings.HasPrefix(field, "not a PolicyError") {
			t.Fatalf("no field: %v", err)
		}
	}
}

func FuzzOCI(f *testing.F) {
	text, err := (&Profile{Policy: &Policy{Default: Errno(1), Rules: []Rule{
		{Names: []string{"read"}, Action: Allow},
		{Names: []string{"clone"}, Args: []Arg{{Index: 0, Op: Equal, Mask: cloneNamespaces}}, Action: Log},
	}}, Archs: []string{"amd64", "386"}}).WriteOCI()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"defaultAction":"SCMP_ACT_KILL","archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X32"]}],
		"syscalls":[{"name":"read","action":"SCMP_ACT_TRACE","errnoRet":3,"includes":{"minKernel":"4.8","caps":["CAP_X"],"arches":["x86"]}}]}`))
	f.Add([]byte(`{"defaultAction":`))
	f.Fuzz(func(t *testing.T, text []byte) {
		pr, err := ReadOCI(text, linux61)
		if err != nil {
			namesFields(t, err)
			return
		}
		filter, err := pr.Policy.Compile(pr.Archs...)
		if err != nil {
			namesFields(t, err)
			return
		}
		agrees(t, pr.Policy, filter, pr.Archs, newInputs(rand.New(rand.NewPCG(1, 2)), pr.Policy), 200)
		text, err = pr.WriteOCI()
		if err != nil {
			return // two conditions that meet never, say
		}
		if _, err := ReadOCI(text, linux61); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	})
}

func FuzzPolicy(f *testing.F) {
	for _, name := range []string{"default.policy", "strict.policy"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("default log\nerrno(1) optional if arg0 & 0xff <= 3 and arg5 != 0\n\tread x # y\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var p, again Policy
		if err := p.UnmarshalText(text); err != nil {
			namesFields(t, err)
			return
		}
		if err := again.UnmarshalText([]byte(p.String())); err != nil || again.String() != p.String() {
			t.Fatalf("%v\n%s\n%s", err, p.String(), again.String())
		}
		archs := []string{"amd64", "arm"}
		filter, err := p.Compile(archs...)
		if err != nil {
			namesFields(t, err)
			return
		}
		_ = filter.Explain()
		agrees(t, &p, filter, archs, newInputs(rand.New(rand.NewPCG(1, 2)), &p), 200)
	})
}

func FuzzRaw(f *testing.F) {
	for _, p := range builtins() {
		f.Add(compileWithPure(f, p, "amd64").Raw())
	}
	f.Add([]byte{0x20, 0, 0, 0, 4, 0, 0, 0, 0x87, 0, 0, 0, 0, 0, 0, 0, 0x16, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		filter, err := ReadRaw(raw)
		var fault *FilterError
		if err != nil && !errors.As(err, &fault) {
			t.Fatalf("%T: %v", err, err)
		}
		if err != nil {
			return
		}
		if again := filter.Raw(); string(again) != string(raw) {
			t.Fatalf("%x became %x", raw, again)
		}
		_ = filter.Explain()
		in := newInputs(rand.New(rand.NewPCG(1, 2)), &Policy{})
		for range 50 {
			if _, steps := filter.EvalSteps(in.next()); steps > filter.Len() {
				t.Fatalf("%d steps in %d instructions", steps, filter.Len())
			}
		}
	})
}
