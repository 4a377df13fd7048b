//go:build linux

package sandbox

import (
	"fmt"
	"slices"

	"github.com/ringfence-go/ringfence/internal/cgroup"
)

// cgroupLimit is a limit that a cgroup holds.
type cgroupLimit struct {
	feature    Feature
	controller cgroup.Controller
	file       string // that says it
	asked      func(*Limits) bool
	// instead returns the resource limit that takes over where there is no cgroup and the Spec allows that;
	// nil is none.
	instead func(l *Limits, overhead int64) *Rlimit
}

// overhead is how many tasks of the sandbox are not the command's: PID 1, and its witness of refused calls if
// there is one. While it starts there is the stub too.
func (r *resolved) overhead() int64 {
	if r.filter.heard == byWitness && !r.lives || r.bare != nil { // then there is a guard
		return 2
	}
	return 1
}

// cgroupLimits are all of them, in the order of Result.Enforced.
var cgroupLimits = []cgroupLimit{
	{MemoryLimit, cgroup.Memory, "memory.max", func(l *Limits) bool { return l.MemoryMax > 0 }, func(l *Limits, _ int64) *Rlimit {
		// Of each process, and of its own memory alone. RLIMIT_AS would count what Go and Java only
		// reserve.
		return &Rlimit{Type: "RLIMIT_DATA", Soft: uint64(l.MemoryMax), Hard: uint64(l.MemoryMax)}
	}},
	{MemoryLimit, cgroup.Memory, "memory.high", func(l *Limits) bool { return l.MemoryHigh > 0 }, nil},
	{MemoryLimit, cgroup.Memory, "memory.swap.max", func(l *Limits) bool { return l.MemorySwapMax > 0 }, nil},
	{PidsLimit, cgroup.Pids, "pids.max", func(l *Limits) bool { return l.PidsMax > 0 }, func(l *Limits, overhead int64) *Rlimit {
		// In a user namespace of its own the sandbox is counted alone: Linux 5.14.
		n := uint64(l.PidsMax + overhead)
		return &Rlimit{Type: "RLIMIT_NPROC", Soft: n, Hard: n}
	}},
	{CPULimit, cgroup.CPU, "cpu.max", func(l *Limits) bool { return l.CPUMax > 0 }, nil},
	{CPUWeight, cgroup.CPU, "cpu.weight", func(l *Limits) bool { return l.CPUWeight > 0 }, nil},
	{CPUSet, cgroup.CPUSet, "cpuset.cpus", func(l *Limits) bool { return l.CPUSet != "" }, nil},
	{CPUSet, cgroup.CPUSet, "cpuset.mems", func(l *Limits) bool { return l.CPUSetMems != "" }, nil},
	{IOLimits, cgroup.IO, "io.max", func(l *Limits) bool { return len(l.IOMax) > 0 }, nil},
	{HugetlbLimit, cgroup.Hugetlb, "hugetlb.max", func(l *Limits) bool { return len(l.HugetlbMax) > 0 }, nil},
}

// resolveLimits decides who holds each limit: the cgroup, or where that is missing and may be, a resource
// limit or nobody.
func (r *resolved) resolveLimits(spec *Spec, p placement) error {
	l := spec.Limits
	if (spec.Cgroup.Always || spec.Cgroup.Path != "") && !p.placed() {
		if !slices.Contains(spec.AllowMissing, Cgroup) {
			return p.unplaced(Cgroup, "")
		}
		r.missing = append(r.missing, Cgroup)
	}
	if p.placed() {
		r.enforce(Cgroup, p.String())
	}
	r.rlimits = slices.Clone(l.Rlimits)
	for _, limit := range cgroupLimits {
		switch {
		case !limit.asked(&l):
		case p.has(limit.controller):
			r.enforce(limit.feature, "cgroup "+limit.file)
		case !slices.Contains(spec.AllowMissing, limit.feature):
			return p.unplaced(limit.feature, limit.controller)
		default:
			if !slices.Contains(r.missing, limit.feature) {
				r.missing = append(r.missing, limit.feature)
			}
			r.replace(limit, &l, p)
		}
	}
	if l.CPUTime > 0 && !p.placed() {
		r.watchCPU = true
	}
	var err error
	if r.placement = p; p.placed() {
		r.limits, err = limitsOf(&l, p, r.overhead())
	}
	return err
}

// replace sets the resource limit that stands for a cgroup's, unless the Spec has one itself. Where the
// caller's own is lower, that one holds, and holds what was asked for too.
func (r *resolved) replace(limit cgroupLimit, l *Limits, p placement) {
	if limit.instead == nil {
		return
	}
	rlimit := limit.instead(l, r.overhead())
	if r.bare != nil && rlimit.Type == "RLIMIT_NPROC" {
		return // it would count all processes that the user has on the host
	}
	if slices.ContainsFunc(r.rlimits, func(own Rlimit) bool { return own.Type == rlimit.Type }) {
		return
	}
	by := rlimit.Type
	if own, ok := p.ceiling[rlimit.Type]; ok && own < rlimit.Hard {
		rlimit.Soft, rlimit.Hard = own, own
		by = fmt.Sprintf("%s, which is %d for the caller itself", by, own)
	}
	r.rlimits = append(r.rlimits, *rlimit)
	r.enforce(limit.feature, by)
}

// limitsOf returns the limits that the cgroup of p can hold.
func limitsOf(l *Limits, p placement, overhead int64) (cgroup.Limits, error) {
	var c cgroup.Limits
	if p.has(cgroup.Memory) {
		c.MemoryMax, c.MemoryHigh, c.MemorySwapMax = l.MemoryMax, l.MemoryHigh, l.MemorySwapMax
	}
	if p.has(cgroup.Pids) && l.PidsMax > 0 {
		c.PidsMax = l.PidsMax + overhead
	}
	if p.has(cgroup.CPU) {
		c.CPUMax, c.CPUWeight = l.CPUMax, l.CPUWeight
	}
	if p.has(cgroup.CPUSet) {
		c.CPUs, c.Mems = l.CPUSet, l.CPUSetMems
	}
	if p.has(cgroup.Hugetlb) {
		for _, h := range l.HugetlbMax {
			c.Hugetlb = append(c.Hugetlb, cgroup.HugetlbLimit{PageSize: h.PageSize, Max: h.Max})
		}
	}
	if !p.has(cgroup.IO) || p.assumed {
		return c, nil
	}
	for i, io := range l.IOMax {
		device, err := cgroup.DeviceOf(io.Path)
		if err != nil {
			return c, &SpecError{Field: fmt.Sprintf("Limits.IOMax[%d].Path", i), Reason: err.Error()}
		}
		c.IO = append(c.IO, cgroup.IOLimit{Device: device, ReadBPS: io.ReadBPS, WriteBPS: io.WriteBPS, ReadIOPS: io.ReadIOPS, WriteIOPS: io.WriteIOPS})
	}
	return c, nil
}
