package seccomp

import (
	"runtime"
	"testing"
	"time"
)

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
