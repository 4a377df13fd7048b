package sandbox

import (
	"context"
	"os/exec"
	"runtime"
	"testing"
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
