package seccomp

import (
	"github.com/ringfence-go/ringfence/internal/kernel"
	"slices"
	"testing"
)

func TestEveryCallIsClassified(t *testing.T) {
	p := Default()
	var all []string
	for _, r := range p.Rules {
		all = append(all, r.Names...)
	}
	seen := map[string]int{}
	for _, n := range names(notOfferedClasses()...) {
		all = append(all, n)
	}
	for _, n := range all {
		seen[n]++
		if !known(n) {
			t.Error("unknown", n)
		}
	}
	for _, a := range kernel.Archs() {
		for i := range a.Len() {
			_, n := a.At(i)
			if seen[n] == 0 {
				t.Errorf("%s: %s is not classified", a, n)
			}
		}
	}
	_ = slices.Max[[]int]
	for _, as := range [][]string{{"amd64"}, {"arm64"}, {"386"}, {"arm"}, {"amd64", "386"}} {
		f, err := p.Compile(as...)
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
func BenchmarkDefault(b *testing.B) {
	p := Default()
	for b.Loop() {
		p.Compile("amd64")
	}
}
