package sandbox

import (
	"bytes"
	"context"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/ringfence-go/ringfence/seccomp"
	"github.com/ringfence-go/ringfence/testing/victim"
)

// BenchmarkCall is what one system call of a payload costs: without a filter, with the default one, with
// one that asks a Supervisor, and with one that Learn uses.
func BenchmarkCall(b *testing.B) {
	learner, err := seccomp.NewLearner(seccomp.Default(), runtime.GOARCH, startingCalls...)
	if err != nil {
		b.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		change func(*Spec)
	}{
		{"unfiltered", noFilter},
		{"default", func(*Spec) {}},
		{"continue", supervised(always(Continue()), "getppid")},
		{"return", supervised(always(Return(1)), "getppid")},
		{"learn", supervised(func(_ context.Context, n *Notification) Answer { return decided(learner.Record(n.Call)) }, "getppid")},
	} {
		b.Run(test.name, func(b *testing.B) {
			spec := victimSpec(b, "loop:"+strconv.Itoa(b.N))
			test.change(&spec)
			var out bytes.Buffer
			spec.Stdout = &out
			r, err := Run(b.Context(), spec)
			if err != nil || r.Err() != nil {
				b.Fatal(r, err)
			}
			all, err := victim.Parse(out.Bytes())
			if err != nil {
				b.Fatal(err)
			}
			took, err := time.ParseDuration(all[spec.Args[1]].Detail)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(took.Nanoseconds())/float64(b.N), "ns/call")
		})
	}
}
