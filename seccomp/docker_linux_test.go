package seccomp

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	docker "github.com/moby/profiles/seccomp"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

func dockerProfile(t testing.TB, host OCIHost) *Profile {
	t.Helper()
	data, err := json.Marshal(docker.DefaultProfile())
	if err != nil {
		t.Fatal(err)
	}
	return readOCI(t, string(data), host)
}

// The figures that the project promises for Docker's profile. libseccomp 2.5.4 with its tree: 414
// instructions, 15.9 steps.
func TestDockerProfileSize(t *testing.T) {
	pr := dockerProfile(t, linux61)
	f := compileWithPure(t, pr.Policy, "amd64")
	if mean := meanSteps(f); f.Len() > 200 || mean > 12 {
		t.Errorf("%d instructions, %.1f steps: want at most 200 and 12", f.Len(), mean)
	}
	all := compileWithPure(t, pr.Policy, pr.Archs...)
	if !slices.Equal(all.Archs(), []string{"amd64", "386", "x32"}) {
		t.Errorf("for %v", all.Archs())
	}
	golden(t, "docker.amd64.txt", f.Explain())
}

// The best of many, since other programs run as well. The race detector makes it several times slower.
func TestDockerProfileIsCompiledInNoTime(t *testing.T) {
	p, limit := dockerProfile(t, linux61).Policy, sandboxtest.Slow(300*time.Microsecond)
	if raceDetector {
		limit *= 20
	}
	best := time.Hour
	for range 200 {
		began := time.Now()
		compileWithPure(t, p, "amd64")
		best = min(best, time.Since(began))
	}
	if best >= limit {
		t.Errorf("%v, want less than %v", best, limit)
	}
}

// meanSteps is how many instructions a call of amd64 costs on average over the numbers 0 to 449.
func meanSteps(f *Filter) float64 {
	sum := 0
	for nr := range int32(450) {
		_, steps := f.EvalSteps(Data{Nr: nr, Arch: 0xc000003e})
		sum += steps
	}
	return float64(sum) / 450
}

func TestDockerProfileDecisions(t *testing.T) {
	for _, host := range []OCIHost{linux61, {Arch: "arm64", Kernel: "6.1"}, {Arch: "amd64", Kernel: "6.1",
		Capabilities: []string{"CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_SYSLOG"}}} {
		pr := dockerProfile(t, host)
		f := compileWithPure(t, pr.Policy, pr.Archs...)
		in := newInputs(rand.New(rand.NewPCG(1, 2)), pr.Policy)
		agrees(t, pr.Policy, f, pr.Archs, in, 10000)

		text, err := pr.WriteOCI()
		if err != nil {
			t.Fatal(err)
		}
		again := readOCI(t, string(text), host)
		if g := compileWithPure(t, again.Policy, again.Archs...); !slices.Equal(f.Instructions(), g.Instructions()) {
			t.Error("written and read again, the profile compiles to something else")
		}
	}
	pr := dockerProfile(t, linux61)
	for _, tt := range []struct {
		want Action
		name string
		args []uint64
	}{
		{Allow, "read", nil}, {Errno(1), "mount", nil}, {Errno(38), "clone3", nil}, {Errno(1), "keyctl", nil},
		{Allow, "clone", []uint64{0x11}}, {Errno(1), "clone", []uint64{0x10000011}},
		{Allow, "socket", []uint64{2}}, {Errno(1), "socket", []uint64{38}}, {Allow, "socket", []uint64{39}}, {Errno(1), "socket", []uint64{40}},
		{Allow, "personality", []uint64{0xffffffff}}, {Errno(1), "personality", []uint64{0x40000}},
	} {
		if got := decide(t, pr, tt.name, tt.args...); got != tt.want {
			t.Errorf("%s%x: %s, want %s", tt.name, tt.args, got, tt.want)
		}
	}
}
