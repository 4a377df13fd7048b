package seccomp

import (
	"encoding/json"
	docker "github.com/moby/profiles/seccomp"
	"testing"
)

func dockerProfile(t testing.TB) *Profile {
	data, err := json.Marshal(docker.DefaultProfile())
	if err != nil {
		t.Fatal(err)
	}
	p, err := ReadOCI(data, OCIHost{Arch: "amd64", Kernel: "6.1"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}
func TestDocker(t *testing.T) {
	p := dockerProfile(t)
	for _, as := range [][]string{{"amd64"}, p.Archs, {"arm64", "arm"}} {
		f, err := p.Policy.Compile(as...)
		if err != nil {
			t.Fatal(err)
		}
		s, n := 0, 0
		for nr := range int32(450) {
			_, k := f.EvalSteps(Data{Nr: nr, Arch: f.archs[0].AuditArch()})
			s += k
			n++
		}
		t.Log(as, f.Len(), float64(s)/float64(n))
	}
}
func BenchmarkDocker1(b *testing.B) {
	p := dockerProfile(b)
	b.ReportAllocs()
	for b.Loop() {
		p.Policy.Compile("amd64")
	}
}
func BenchmarkDocker3(b *testing.B) {
	p := dockerProfile(b)
	for b.Loop() {
		p.Policy.Compile(p.Archs...)
	}
}
