package seccomp

import "testing"

// BenchmarkCompile prints for each policy the time to compile it, its size, and how many instructions
// a call costs on average over the numbers 0 to 449. With the tag seccomp it does the same for libseccomp.
func BenchmarkCompile(b *testing.B) {
	for _, bench := range []struct {
		name   string
		policy *Policy
		archs  []string
	}{
		{"docker/amd64", dockerProfile(b, linux61).Policy, []string{"amd64"}},
		{"docker/amd64+386+x32", dockerProfile(b, linux61).Policy, []string{"amd64", "386", "x32"}},
		{"default/amd64", Default(), []string{"amd64"}},
		{"strict/amd64", Strict(StrictOptions{}), []string{"amd64"}},
	} {
		b.Run("pure/"+bench.name, func(b *testing.B) {
			var f *Filter
			for b.Loop() {
				f = compileWithPure(b, bench.policy, bench.archs...)
			}
			report(b, f)
		})
		if backendName == "pure" {
			continue
		}
		b.Run(backendName+"/"+bench.name, func(b *testing.B) {
			var f *Filter
			for b.Loop() {
				f = mustCompile(b, bench.policy, bench.archs...)
			}
			report(b, f)
		})
	}
}

func report(b *testing.B, f *Filter) {
	b.ReportMetric(float64(f.Len()), "instructions")
	b.ReportMetric(meanSteps(f), "steps/call")
}

func BenchmarkReadOCI(b *testing.B) {
	text, err := dockerProfile(b, linux61).WriteOCI()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := ReadOCI(text, linux61); err != nil {
			b.Fatal(err)
		}
	}
}
