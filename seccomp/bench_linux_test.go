package seccomp

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkFilter prints for each policy and each back end the time to compile it, its size, how many
// instructions a call costs on average over the numbers 0 to 449, and the time that the kernel takes to
// load it. Those of libseccomp are there with the tag seccomp.
func BenchmarkFilter(b *testing.B) {
	fmt.Println("libseccomp:", libseccompInUse) // a line of the format of benchmarks, as goos is
	compilers := append([]theirCompiler{{"pure", compileWithPure, []string{"docker", "default", "strict"}}}, theirCompilers...)
	for _, bench := range []struct {
		name   string
		policy *Policy
	}{
		{"docker", dockerProfile(b, linux61).Policy},
		{"default", Default()},
		{"strict", Strict(StrictOptions{})},
	} {
		for _, c := range compilers {
			if slices.Contains(c.policies, bench.name) {
				b.Run(bench.name+"/"+c.name, func(b *testing.B) {
					for b.Loop() {
						c.compile(b, bench.policy, "amd64")
					}
					report(b, c.compile(b, bench.policy, "amd64"), c.compile(b, bench.policy, runtime.GOARCH))
				})
			}
		}
	}
	// The calls of Docker's profile by one comparison after the other, as a simple compiler has it.
	b.Run("docker/linear", func(b *testing.B) {
		for b.Loop() {
			linear(b, "amd64")
		}
		report(b, linear(b, "amd64"), linear(b, runtime.GOARCH))
	})
}

// report adds what f is like, and how long the kernel takes to load it as compiled for this machine.
func report(b *testing.B, f, here *Filter) {
	b.ReportMetric(float64(f.Len()), "instructions")
	b.ReportMetric(meanSteps(f), "steps/call")
	b.ReportMetric(float64(loadTime(b, here).Nanoseconds()), "ns/load")
}

// loadTime returns the median of what seccomp(2) takes. Each load is on a thread of its own, which ends
// after it.
func loadTime(b *testing.B, f *Filter) time.Duration {
	const loads = 500
	type result struct {
		time.Duration
		error
	}
	raw := f.Raw()
	var times []time.Duration
	for range loads {
		done := make(chan result)
		go func() {
			runtime.LockOSThread() // for good
			if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
				done <- result{error: err}
				return
			}
			began := time.Now()
			err := loadFilter(raw)
			done <- result{time.Since(began), err}
		}()
		r := <-done
		if r.error != nil {
			b.Fatal(r.error)
		}
		times = append(times, r.Duration)
	}
	slices.Sort(times)
	return times[loads/2]
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

// linear allows every call, and compares its number with those that Docker's profile names before that.
func linear(b *testing.B, arch string) *Filter {
	insns := []Instruction{{Code: opLoad}}
	for _, r := range dockerProfile(b, linux61).Policy.Rules {
		for _, name := range r.Names {
			if d, err := Call(arch, name); err == nil {
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
