package seccomp

import (
	"runtime"
	"testing"
	"time"
)

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

// BenchmarkLoad measures how long the kernel takes to load a filter. It counts the time of seccomp(2)
// alone; each load is on a thread of its own, which ends after it.
func BenchmarkLoad(b *testing.B) {
	for name, f := range map[string]*Filter{
		"docker":  compileWithPure(b, dockerProfile(b, linux61).Policy, runtime.GOARCH),
		"default": compileWithPure(b, Default(), runtime.GOARCH),
		"linear":  linear(b),
	} {
		b.Run(name, func(b *testing.B) {
			raw := f.Raw()
			var total time.Duration
			for range b.N {
				done := make(chan error)
				go func() {
					runtime.LockOSThread()
					start := time.Now()
					err := setFilter(raw)
					total += time.Since(start)
					done <- err
				}()
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(total.Nanoseconds())/float64(b.N), "ns/load")
			b.ReportMetric(float64(f.Len()), "instructions")
		})
	}
}

// linear allows the same calls as Docker's profile by one comparison after the other, as a simple
// compiler does.
func linear(b *testing.B) *Filter {
	insns := []Instruction{{Code: opLoad}}
	for _, r := range dockerProfile(b, linux61).Policy.Rules {
		for _, name := range r.Names {
			if d, err := Call(runtime.GOARCH, name); err == nil {
				insns = append(insns, Instruction{Code: jumpEqual, JF: 1, K: uint32(d.Nr)}, Instruction{Code: opReturn, K: retAllow})
			}
		}
	}
	f, err := NewFilter(append(insns, Instruction{Code: opReturn, K: retAllow}))
	if err != nil {
		b.Fatal(err)
	}
	return f
}
