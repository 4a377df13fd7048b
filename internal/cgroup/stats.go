package cgroup

import "time"

// Unknown is what the kernel did not count: it is older than the file, or lacks the controller.
const Unknown = -1

// Stats is what the processes of a cgroup used, those that have ended too. Numbers that the kernel has no
// file for are Unknown.
type Stats struct {
	Memory MemoryStats
	Pids   PidsStats
	CPU    CPUStats
	IO     []IOStat // of each device that was used; nil: none, or not counted
	// CPUPressure, MemoryPressure and IOPressure are the times for which processes waited (section
	// "Pressure Stall Information").
	CPUPressure, MemoryPressure, IOPressure Pressure
}

// MemoryStats is in bytes, its events in times.
type MemoryStats struct {
	Current, SwapCurrent int64 // now
	Peak                 int64 // the most that there ever was: Linux 5.19
	SwapPeak             int64 // Linux 6.5

	HighEvents    int64 // times that MemoryHigh was exceeded
	MaxEvents     int64 // times that MemoryMax was about to be exceeded
	OOM           int64 // times that the limit was reached and nothing could be reclaimed
	OOMKills      int64 // processes that the kernel killed for want of memory
	OOMGroupKills int64 // times that it killed the whole cgroup: Linux 5.17
}

// PidsStats counts processes and threads.
type PidsStats struct {
	Current   int64
	Peak      int64 // Linux 6.1
	MaxEvents int64 // times that a fork was refused by PidsMax
}

// CPUStats is processor time.
type CPUStats struct {
	Usage, User, System time.Duration
	Periods             int64         // of CPUMax, in which something ran
	ThrottledPeriods    int64         // in which it used up its quota
	Throttled           time.Duration // for which it was held back
}

// IOStat is the input and output on one device.
type IOStat struct {
	Device                              Device
	ReadBytes, WriteBytes, DiscardBytes int64
	ReadOps, WriteOps, DiscardOps       int64
}

// Pressure is how long processes waited for a resource in all: some of them, or all that were not idle.
type Pressure struct{ Some, Full time.Duration }

// unknown returns Stats that know nothing.
func unknown() Stats {
	const no = Unknown
	pressure := Pressure{no, no}
	return Stats{
		Memory:      MemoryStats{no, no, no, no, no, no, no, no, no},
		Pids:        PidsStats{no, no, no},
		CPU:         CPUStats{no, no, no, no, no, no},
		CPUPressure: pressure, MemoryPressure: pressure, IOPressure: pressure,
	}
}

// TotalIO returns the sum over all devices, whose Device says nothing. Every device of a stack counts:
// what is written to an encrypted volume is there twice.
func (s Stats) TotalIO() IOStat {
	var sum IOStat
	for _, d := range s.IO {
		sum.ReadBytes += d.ReadBytes
		sum.WriteBytes += d.WriteBytes
		sum.DiscardBytes += d.DiscardBytes
		sum.ReadOps += d.ReadOps
		sum.WriteOps += d.WriteOps
		sum.DiscardOps += d.DiscardOps
	}
	return sum
}

// OOM says whether the kernel killed processes for want of memory, and whose want it was.
type OOM int

// The answers.
const (
	NoOOM      OOM = iota // none was killed
	OOMByLimit            // the cgroup's own limit, or one that it set below itself
	OOMByHost             // a limit above the cgroup, or the end of the host's memory
)

// String returns the answer in words.
func (o OOM) String() string {
	switch o {
	case OOMByLimit:
		return "killed at its own memory limit"
	case OOMByHost:
		return "killed for want of memory outside"
	}
	return "not killed for want of memory"
}

// OOMKilled reads the evidence. A kill counts where the victim was (oom_kill); that a limit was reached
// counts where the limit is, and above (oom): so that a kill without it came from further up.
func (s Stats) OOMKilled() OOM {
	switch {
	case s.Memory.OOMKills <= 0 && s.Memory.OOMGroupKills <= 0:
		return NoOOM
	case s.Memory.OOM > 0:
		return OOMByLimit
	}
	return OOMByHost
}
