package sandbox

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Bounds on limits, from the kernel's own where it has one.
const (
	maxRlimits  = 64
	maxIOLimits = 256
	maxHugetlb  = 16
	maxPids     = 1 << 22 // PID_MAX_LIMIT of linux/threads.h
	// minCPUMax is the smallest share that cpu.max can say: a quota of 1 ms (min_cfs_quota_period of
	// kernel/sched/core.c) in a period of 1 s, the longest (max_cfs_quota_period).
	minCPUMax = 0.001
	maxCPUMax = 1e6 // far beyond NR_CPUS; a quota in microseconds still fits the kernel's type
	maxCPU    = 8191
	maxCPUSet = maxPath // bytes
)

func validateLimits(f *faults, l *Limits) {
	notNegative(f, "Limits.WallTime", l.WallTime)
	notNegative(f, "Limits.CPUTime", l.CPUTime)
	notNegative(f, "Limits.MemoryMax", l.MemoryMax)
	notNegative(f, "Limits.MemoryHigh", l.MemoryHigh)
	notNegative(f, "Limits.MemorySwapMax", l.MemorySwapMax)
	notNegative(f, "Limits.PidsMax", l.PidsMax)
	if l.PidsMax > maxPids {
		f.add("Limits.PidsMax", "%d is more than a kernel has, %d", l.PidsMax, maxPids)
	}
	switch c := l.CPUMax; {
	case math.IsNaN(c) || math.IsInf(c, 0):
		f.add("Limits.CPUMax", "%v is no number of processors", c)
	case c < 0:
		f.add("Limits.CPUMax", "%v is negative", c)
	case c != 0 && (c < minCPUMax || c > maxCPUMax):
		f.add("Limits.CPUMax", "%v is not from %v to %v", c, minCPUMax, maxCPUMax)
	}
	if l.CPUWeight != 0 && (l.CPUWeight < 1 || l.CPUWeight > 10000) {
		f.add("Limits.CPUWeight", "%d is not from 1 to 10000", l.CPUWeight)
	}
	validateCPUSet(f, "Limits.CPUSet", l.CPUSet)
	validateCPUSet(f, "Limits.CPUSetMems", l.CPUSetMems)
	validateIOMax(f, l.IOMax)
	validateHugetlb(f, l.HugetlbMax)
	notNegative(f, "Limits.OutputMax", l.OutputMax)
	validateRlimits(f, l.Rlimits)
}

func notNegative[N int64 | time.Duration](f *faults, field string, n N) {
	if n < 0 {
		f.add(field, "%v is negative", n)
	}
}

// validateCPUSet accepts the list format of cpuset(7), numbers and ranges of them: "0-3,8".
func validateCPUSet(f *faults, field, set string) {
	if set == "" {
		return
	}
	if len(set) > maxCPUSet {
		f.add(field, "%d bytes, at most %d are possible", len(set), maxCPUSet)
		return
	}
	for part := range strings.SplitSeq(set, ",") {
		first, last, isRange := strings.Cut(part, "-")
		a, ok := cpuNumber(first)
		b := a
		if ok && isRange {
			b, ok = cpuNumber(last)
		}
		if !ok || a > b {
			f.add(field, `%s in %s is neither a number from 0 to %d nor a range of them, as in "0-3,8"`, brief(part), brief(set), maxCPU)
			return
		}
	}
}

func cpuNumber(s string) (int, bool) {
	if s == "" || s[0] < '0' || s[0] > '9' { // no sign
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && n <= maxCPU
}

func validateIOMax(f *faults, limits []IOLimit) {
	for i := range limits[:f.count("Limits.IOMax", len(limits), maxIOLimits)] {
		l, field := &limits[i], index("Limits.IOMax", i)
		if l.Path == "" {
			f.add(field+".Path", "empty")
		} else {
			validatePath(f, field+".Path", l.Path)
		}
		notNegative(f, field+".ReadBPS", l.ReadBPS)
		notNegative(f, field+".WriteBPS", l.WriteBPS)
		notNegative(f, field+".ReadIOPS", l.ReadIOPS)
		notNegative(f, field+".WriteIOPS", l.WriteIOPS)
	}
}

func validateHugetlb(f *faults, limits []HugetlbMax) {
	for i, l := range limits[:f.count("Limits.HugetlbMax", len(limits), maxHugetlb)] {
		field := index("Limits.HugetlbMax", i)
		if l.PageSize < 1024 || l.PageSize&(l.PageSize-1) != 0 {
			f.add(field+".PageSize", "%d is not a power of two from 1024", l.PageSize)
		}
		notNegative(f, field+".Max", l.Max)
	}
}

func validateRlimits(f *faults, limits []Rlimit) {
	seen := make(map[int]bool, len(rlimitResources))
	for i, l := range limits[:f.count("Limits.Rlimits", len(limits), maxRlimits)] {
		field := index("Limits.Rlimits", i)
		resource, ok := rlimitResource(l.Type)
		switch {
		case !ok:
			f.add(field+".Type", `unknown resource %s, the names are like "RLIMIT_NOFILE"`, brief(l.Type))
		case seen[resource]:
			f.add(field+".Type", "%s is there twice", l.Type)
		}
		if ok {
			seen[resource] = true
		}
		if l.Soft > l.Hard {
			f.add(field+".Soft", "%d is more than Hard, %d", l.Soft, l.Hard)
		}
	}
}
