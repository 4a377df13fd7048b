package cgroup

// Peaks are the most that was seen: bytes, and processes and threads. Unknown is none.
type Peaks struct{ Memory, Pids int64 }

// Estimate is what is known of the peaks of a cgroup where the kernel keeps none: what samples saw, and that
// limits were reached. It may be too low, and is never too high.
type Estimate struct {
	limits Limits
	least  Peaks // what limits that were in force before tell
	// How often limits were reached before those now in force were.
	memoryEvents, pidsEvents int64
}

// NewEstimate returns that of a cgroup that has limits, and nothing ran in.
func NewEstimate(limits Limits) Estimate {
	return Estimate{limits: limits, least: Peaks{Unknown, Unknown}}
}

// Update returns the estimate under other limits. What was counted last before they were in force is in
// before, what was counted first in after: whose limit it was that was reached in between is not known.
func (e Estimate) Update(limits Limits, before, after Stats) Estimate {
	e.least = Peaks{e.memory(before), e.pids(before)}
	e.memoryEvents, e.pidsEvents = max(after.Memory.MaxEvents, 0), max(after.Pids.MaxEvents, 0)
	e.limits = limits
	return e
}

func (e Estimate) memory(s Stats) int64 {
	return least(e.least.Memory, s.Memory.Current, e.limits.MemoryMax, s.Memory.MaxEvents-e.memoryEvents)
}

func (e Estimate) pids(s Stats) int64 {
	return least(e.least.Pids, s.Pids.Current, e.limits.PidsMax, s.Pids.MaxEvents-e.pidsEvents)
}

func least(known, current, limit, reached int64) int64 {
	if limit > 0 && reached > 0 {
		return max(known, current, limit)
	}
	return max(known, current)
}

// Complete returns s with peaks where the kernel keeps none, and whether one of them is there that is not
// the kernel's.
func (e Estimate) Complete(s Stats, sampled Peaks) (Stats, bool) {
	estimated := false
	for _, p := range []struct {
		peak     *int64
		estimate int64
	}{
		{&s.Memory.Peak, max(sampled.Memory, e.memory(s))},
		{&s.Pids.Peak, max(sampled.Pids, e.pids(s))},
	} {
		if *p.peak == Unknown && p.estimate != Unknown {
			*p.peak, estimated = p.estimate, true
		}
	}
	return s, estimated
}
