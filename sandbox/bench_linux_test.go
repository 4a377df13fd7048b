package sandbox

import (
	"context"
	"os/exec"
	"runtime"
	"slices"
	"testing"
	"time"
)

// The command of the benchmarks is a program of the host, so that os/exec can run the same one. For a
// comparison with other sandboxes in one run, see testing/bench.
const benchCommand = "/usr/bin/true"

func benchRun(b *testing.B) {
	r, err := Run(context.Background(), Spec{Args: []string{benchCommand}})
	if err != nil || r.Err() != nil {
		b.Fatal(r, err)
	}
}

func BenchmarkRun(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		benchRun(b)
	}
}

// What a cgroup adds to a run: runs with the limits that most will have take turns with runs without, and the
// median of these is to be compared with that of the others.
func BenchmarkRunInCgroup(b *testing.B) {
	limit := inCgroup(b, Limits{MemoryMax: 64 << 20, PidsMax: 16, CPUMax: 1})
	var times [2][]time.Duration
	for b.Loop() {
		for i, change := range []func(*Spec){func(*Spec) {}, limit} {
			spec := Spec{Args: []string{benchCommand}}
			change(&spec)
			began := time.Now()
			r, err := Run(context.Background(), spec)
			if err != nil || r.Err() != nil {
				b.Fatal(r, err)
			}
			times[i] = append(times[i], time.Since(began))
		}
	}
	median := func(i int) float64 { return float64(slices.Sorted(slices.Values(times[i]))[len(times[i])/2]) }
	b.ReportMetric(median(0), "ns/run")
	b.ReportMetric(median(1), "ns/run-in-cgroup")
	b.ReportMetric(median(1)/median(0), "ratio")
}

func BenchmarkRunParallel(b *testing.B) {
	b.SetParallelism(max(8/runtime.GOMAXPROCS(0), 1))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			benchRun(b)
		}
	})
}

func BenchmarkRunWithLargeHeap(b *testing.B) {
	heap := make([]byte, 1<<30)
	for i := 0; i < len(heap); i += 4096 {
		heap[i] = 1
	}
	for b.Loop() {
		benchRun(b)
	}
	runtime.KeepAlive(heap)
}

func BenchmarkRunWithManyGoroutines(b *testing.B) {
	stop := make(chan struct{})
	for range 10000 {
		go func() { <-stop }()
	}
	for b.Loop() {
		benchRun(b)
	}
	close(stop)
}

func BenchmarkOsExec(b *testing.B) {
	for b.Loop() {
		if err := exec.Command(benchCommand).Run(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compile(Spec{Args: []string{benchCommand}}, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadHost(b *testing.B) {
	for b.Loop() {
		if _, err := readHost(); err != nil {
			b.Fatal(err)
		}
	}
}
