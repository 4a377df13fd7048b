package cgroup

import "testing"

func TestEstimate(t *testing.T) {
	small, large := Limits{MemoryMax: 1000, PidsMax: 10}, Limits{MemoryMax: 2000, PidsMax: 20}
	counted := func(memory, memoryEvents, pids, pidsEvents int64) Stats {
		s := unknown()
		s.Memory.Current, s.Memory.MaxEvents, s.Pids.Current, s.Pids.MaxEvents = memory, memoryEvents, pids, pidsEvents
		return s
	}
	kernels := counted(0, 1, 0, 1)
	kernels.Memory.Peak, kernels.Pids.Peak = 500, 3
	reached, quiet := counted(0, 1, 0, 1), counted(0, 0, 0, 0)
	for _, test := range []struct {
		name         string
		estimate     Estimate
		end          Stats
		sampled      Peaks
		memory, pids int64
		estimated    bool
	}{
		{"the kernel's own", NewEstimate(small), kernels, Peaks{700, 7}, 500, 3, false},
		{"samples", NewEstimate(small), unknown(), Peaks{700, 7}, 700, 7, true},
		{"what is there now is more", NewEstimate(small), counted(800, 0, Unknown, 0), Peaks{700, Unknown}, 800, Unknown, true},
		{"the limit was reached", NewEstimate(small), reached, Peaks{700, 7}, 1000, 10, true},
		{"nothing is known", NewEstimate(small), unknown(), Peaks{Unknown, Unknown}, Unknown, Unknown, false},
		{"more is allowed, and not reached", NewEstimate(small).Update(large, quiet, quiet), quiet, Peaks{1500, 12}, 1500, 12, true},
		{"the old limit was reached, not the new one", NewEstimate(small).Update(large, reached, reached), reached, Peaks{700, 7}, 1000, 10, true},
		{"the new one was reached too", NewEstimate(small).Update(large, reached, reached), counted(0, 2, 0, 2), Peaks{700, 7}, 2000, 20, true},
		{"less is allowed after the limit was reached", NewEstimate(large).Update(small, reached, reached), reached, Peaks{700, 7}, 2000, 20, true},
		{"reached while the limits changed", NewEstimate(small).Update(large, quiet, reached), reached, Peaks{700, 7}, 700, 7, true},
		{"no limit any more", NewEstimate(small).Update(Limits{}, reached, reached), counted(0, 5, 0, 5), Peaks{700, 7}, 1000, 10, true},
	} {
		got, estimated := test.estimate.Complete(test.end, test.sampled)
		if got.Memory.Peak != test.memory || got.Pids.Peak != test.pids || estimated != test.estimated {
			t.Errorf("%s: %d, %d, %v", test.name, got.Memory.Peak, got.Pids.Peak, estimated)
		}
	}
}
