package cgroup

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Controller is a part of the kernel that limits one kind of resource.
type Controller string

// The controllers that Limits needs.
const (
	Memory  Controller = "memory"
	Pids    Controller = "pids"
	CPU     Controller = "cpu"
	CPUSet  Controller = "cpuset"
	IO      Controller = "io"
	Hugetlb Controller = "hugetlb"
)

// Limits bounds what the processes of a cgroup use together. Zero is no limit.
type Limits struct {
	MemoryMax     int64   // bytes; MemorySwapMax comes on top
	MemoryHigh    int64   // bytes, beyond which processes are slowed and their memory reclaimed
	MemorySwapMax int64   // bytes; zero is none at all where there is a MemoryMax
	PidsMax       int64   // processes and threads
	CPUMax        float64 // processors
	CPUWeight     int     // 1 to 10000; the kernel's default is 100
	CPUs          string  // processors that may be used: "0-3,8"
	Mems          string  // memory nodes that may be used
	IO            []IOLimit
	Hugetlb       []HugetlbLimit
}

// IOLimit bounds input and output on a device. Zero is no limit.
type IOLimit struct {
	Device              Device
	ReadBPS, WriteBPS   int64 // bytes a second
	ReadIOPS, WriteIOPS int64 // operations a second
}

// Device is a block device, a whole disk.
type Device struct{ Major, Minor uint32 }

// String returns the device as the kernel writes it: "8:0".
func (d Device) String() string { return fmt.Sprintf("%d:%d", d.Major, d.Minor) }

// HugetlbLimit bounds huge pages of one size, in use and reserved.
type HugetlbLimit struct {
	PageSize int64 // bytes, a power of two from 1024
	Max      int64 // bytes; zero is none
}

// LimitError is a limit that cannot be.
type LimitError struct{ Field, Reason string }

func (e *LimitError) Error() string { return "cgroup: Limits." + e.Field + ": " + e.Reason }

// Setting is a limit as the kernel takes it.
type Setting struct {
	Field      string // of Limits
	Controller Controller
	File       string
	Value      string
}

// By names the mechanism: "cgroup memory.max".
func (s Setting) By() string { return "cgroup " + s.File }

// cpu.max (section "CPU Interface Files"): the usual period, the longest, and the least quota, which
// kernel/sched/core.c has as max_cfs_quota_period and min_cfs_quota_period. All in microseconds.
const (
	cpuPeriod    = 100_000
	cpuPeriodMax = 1_000_000
	cpuQuotaMin  = 1_000
)

// maxCPUs is more than any kernel has, and keeps a quota far from the end of an int64.
const maxCPUs = 1 << 16

// Settings returns what is written where, in this order, to a cgroup that is new. The error joins a
// *LimitError for each limit that cannot be.
func (l *Limits) Settings() ([]Setting, error) {
	var s settings
	s.memory(l)
	s.number("PidsMax", Pids, "pids.max", l.PidsMax)
	s.cpu(l)
	s.list("CPUs", "cpuset.cpus", l.CPUs)
	s.list("Mems", "cpuset.mems", l.Mems)
	s.io(l.IO)
	s.hugetlb(l.Hugetlb)
	return s.all, errors.Join(s.faults...)
}

// Controllers returns the controllers that the limits need, in the order of their files.
func (l *Limits) Controllers() []Controller {
	all, _ := l.Settings()
	var need []Controller
	for _, s := range all {
		if !slices.Contains(need, s.Controller) {
			need = append(need, s.Controller)
		}
	}
	return need
}

// settings collects them, with all faults.
type settings struct {
	all    []Setting
	faults []error
}

func (s *settings) add(field string, c Controller, file, value string) {
	s.all = append(s.all, Setting{field, c, file, value})
}

func (s *settings) fault(field, format string, args ...any) {
	s.faults = append(s.faults, &LimitError{field, fmt.Sprintf(format, args...)})
}

func (s *settings) number(field string, c Controller, file string, n int64) {
	switch {
	case n < 0:
		s.fault(field, "%d is negative", n)
	case n > 0:
		s.add(field, c, file, strconv.FormatInt(n, 10))
	}
}

// memory sets the narrower bounds first, so that none is open when the last is in force.
func (s *settings) memory(l *Limits) {
	s.number("MemoryHigh", Memory, "memory.high", l.MemoryHigh)
	if l.MemorySwapMax == 0 && l.MemoryMax > 0 {
		// Else what does not fit would be swapped, and the limit would be one on main memory alone.
		s.add("MemoryMax", Memory, "memory.swap.max", "0")
	}
	s.number("MemorySwapMax", Memory, "memory.swap.max", l.MemorySwapMax)
	s.number("MemoryMax", Memory, "memory.max", l.MemoryMax)
	if l.MemoryMax > 0 {
		// A sandbox of which one process was killed is not what anybody asked for: all or none.
		s.add("MemoryMax", Memory, "memory.oom.group", "1")
	}
}

func (s *settings) cpu(l *Limits) {
	switch c := l.CPUMax; {
	case c == 0:
	case !(c > 0 && c <= maxCPUs): // a NaN too
		s.fault("CPUMax", "%v is not a number of processors", c)
	default:
		period := int64(cpuPeriod)
		quota := int64(math.Round(c * cpuPeriod))
		if quota < cpuQuotaMin {
			period = cpuPeriodMax
			quota = int64(math.Round(c * cpuPeriodMax))
		}
		if quota < cpuQuotaMin {
			s.fault("CPUMax", "%v is less than %v, the least that the kernel can hold", c, float64(cpuQuotaMin)/cpuPeriodMax)
			break
		}
		s.add("CPUMax", CPU, "cpu.max", fmt.Sprintf("%d %d", quota, period))
	}
	switch w := l.CPUWeight; {
	case w == 0:
	case w < 1 || w > 10000:
		s.fault("CPUWeight", "%d is not from 1 to 10000", w)
	default:
		s.add("CPUWeight", CPU, "cpu.weight", strconv.Itoa(w))
	}
}

// list checks that a list has the form of cpuset(7), "List format"; whether its numbers exist is the
// kernel's to say.
func (s *settings) list(field, file, list string) {
	if list == "" {
		return
	}
	for item := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(item, "-")
		from, err := strconv.ParseUint(first, 10, 16)
		if err == nil && isRange {
			var to uint64
			if to, err = strconv.ParseUint(last, 10, 16); err == nil && to < from {
				err = strconv.ErrRange
			}
		}
		if err != nil {
			s.fault(field, "%q is not a list such as \"0-3,8\"", list)
			return
		}
	}
	s.add(field, CPUSet, file, list)
}

// io writes one line for each device: of two limits on one device the tighter holds.
func (s *settings) io(limits []IOLimit) {
	merged := map[Device]IOLimit{}
	for i, l := range limits {
		if l.ReadBPS < 0 || l.WriteBPS < 0 || l.ReadIOPS < 0 || l.WriteIOPS < 0 {
			s.fault(fmt.Sprintf("IO[%d]", i), "a limit is negative")
			continue
		}
		m := merged[l.Device]
		merged[l.Device] = IOLimit{l.Device, tighter(m.ReadBPS, l.ReadBPS), tighter(m.WriteBPS, l.WriteBPS),
			tighter(m.ReadIOPS, l.ReadIOPS), tighter(m.WriteIOPS, l.WriteIOPS)}
	}
	for _, d := range sortedDevices(merged) {
		if l := merged[d]; l != (IOLimit{Device: d}) {
			s.add("IO", IO, "io.max", ioLine(l))
		}
	}
}

func sortedDevices(m map[Device]IOLimit) []Device {
	var all []Device
	for d := range m {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b Device) int {
		return cmp.Or(cmp.Compare(a.Major, b.Major), cmp.Compare(a.Minor, b.Minor))
	})
	return all
}

// tighter returns the smaller of two limits of which zero is none.
func tighter(a, b int64) int64 {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

func ioLine(l IOLimit) string {
	limit := func(n int64) string {
		if n == 0 {
			return "max"
		}
		return strconv.FormatInt(n, 10)
	}
	return fmt.Sprintf("%v rbps=%s wbps=%s riops=%s wiops=%s", l.Device,
		limit(l.ReadBPS), limit(l.WriteBPS), limit(l.ReadIOPS), limit(l.WriteIOPS))
}

// hugetlb bounds reservations first: a page that was reserved and may then not be used is a SIGBUS
// (section "HugeTLB", Documentation/admin-guide/cgroup-v1/hugetlb.rst).
func (s *settings) hugetlb(limits []HugetlbLimit) {
	for i, l := range limits {
		field := fmt.Sprintf("Hugetlb[%d]", i)
		if l.PageSize < 1024 || l.PageSize&(l.PageSize-1) != 0 {
			s.fault(field, "%d is not the size of a huge page", l.PageSize)
			continue
		}
		if l.Max < 0 {
			s.fault(field, "%d is negative", l.Max)
			continue
		}
		size, value := pageSize(l.PageSize), strconv.FormatInt(l.Max, 10)
		s.add(field, Hugetlb, "hugetlb."+size+".rsvd.max", value)
		s.add(field, Hugetlb, "hugetlb."+size+".max", value)
	}
}

// pageSize names a size as the kernel names its files (mem_fmt in mm/hugetlb_cgroup.c).
func pageSize(n int64) string {
	switch {
	case n >= 1<<30:
		return strconv.FormatInt(n>>30, 10) + "GB"
	case n >= 1<<20:
		return strconv.FormatInt(n>>20, 10) + "MB"
	}
	return strconv.FormatInt(n>>10, 10) + "KB"
}

// changes returns what is to be written to a cgroup that has the old limits, so that it has the new
// ones and nothing else.
func changes(old, now *Limits) ([]Setting, error) {
	before, err := old.Settings()
	if err != nil {
		return nil, err
	}
	after, err := now.Settings()
	if err != nil {
		return nil, err
	}
	var todo []Setting
	for _, s := range after {
		if !slices.Contains(before, s) {
			todo = append(todo, s)
		}
	}
	for _, s := range before {
		if !slices.ContainsFunc(after, s.sameTarget) {
			s.Value = s.without()
			todo = append(todo, s)
		}
	}
	return todo, nil
}

// sameTarget reports whether t takes the place of s.
func (s Setting) sameTarget(t Setting) bool {
	return s.File == t.File && (s.File != "io.max" || device(s.Value) == device(t.Value))
}

func device(line string) string {
	d, _, _ := strings.Cut(line, " ")
	return d
}

// without returns the value that limits nothing: the kernel's default.
func (s Setting) without() string {
	switch s.File {
	case "io.max":
		return device(s.Value) + " rbps=max wbps=max riops=max wiops=max"
	case "cpu.weight":
		return "100"
	case "memory.oom.group":
		return "0"
	case "cpuset.cpus", "cpuset.mems":
		return "\n" // empty: an empty write is none at all
	}
	return "max"
}
