package cgroup

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// counter is a file of what the kernel counts.
type counter struct {
	file  string
	of    Controller // that it takes; "" is none
	now   bool       // it holds what is used at the moment, and nothing of what was
	parse func(*Stats, []byte)
}

// counters are all of them. The first is always there, so that a cgroup that is gone is noticed.
var counters = []counter{
	{"cpu.stat", "", false, func(s *Stats, b []byte) { s.CPU.parse(b) }},
	{"memory.current", Memory, true, func(s *Stats, b []byte) { s.Memory.Current = parseNumber(b) }},
	{"memory.peak", Memory, false, func(s *Stats, b []byte) { s.Memory.Peak = parseNumber(b) }},
	{"memory.swap.current", Memory, true, func(s *Stats, b []byte) { s.Memory.SwapCurrent = parseNumber(b) }},
	{"memory.swap.peak", Memory, false, func(s *Stats, b []byte) { s.Memory.SwapPeak = parseNumber(b) }},
	{"memory.events", Memory, false, func(s *Stats, b []byte) { s.Memory.parseEvents(b) }},
	{"pids.current", Pids, true, func(s *Stats, b []byte) { s.Pids.Current = parseNumber(b) }},
	{"pids.peak", Pids, false, func(s *Stats, b []byte) { s.Pids.Peak = parseNumber(b) }},
	{"pids.events", Pids, false, func(s *Stats, b []byte) { s.Pids.MaxEvents = flatKey(b, "max") }},
	{"io.stat", IO, false, func(s *Stats, b []byte) { s.IO = parseIO(b) }},
	{"cpu.pressure", "", false, func(s *Stats, b []byte) { s.CPUPressure = parsePressure(b) }},
	{"memory.pressure", "", false, func(s *Stats, b []byte) { s.MemoryPressure = parsePressure(b) }},
	{"io.pressure", "", false, func(s *Stats, b []byte) { s.IOPressure = parsePressure(b) }},
}

// countersIn returns the counters that the kernel has, by a look at one of t's cgroups.
func (t *Tree) countersIn(d *dir) []counter {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counters != nil {
		return t.counters
	}
	var there []counter
	for _, c := range counters {
		if (c.of == "" || slices.Contains(t.have, c.of)) && d.has(c.file) {
			there = append(there, c)
		}
	}
	if len(there) > 0 && d.has(there[0].file) { // else the cgroup was removed meanwhile
		t.counters = there
	}
	return there
}

// Stats reads what the kernel has counted so far. A file that there is not leaves its numbers Unknown;
// the error is that of a cgroup that is gone, or of a host that does not let it be read.
func (l *Leaf) Stats() (Stats, error) {
	return l.stats(func([]counter, counter) bool { return true })
}

// Used is Stats of what has ended: what is used now is left out, unless it is needed for a peak that the
// kernel does not keep.
func (l *Leaf) Used() (Stats, error) {
	return l.stats(func(there []counter, c counter) bool {
		return !c.now || !slices.ContainsFunc(there, func(o counter) bool { return o.file == peakOf(c.file) })
	})
}

// peakOf returns the file of the peak beside that of what is used now.
func peakOf(current string) string { return strings.TrimSuffix(current, "current") + "peak" }

func (l *Leaf) stats(wanted func([]counter, counter) bool) (Stats, error) {
	s := unknown()
	err := l.with("read statistics", func(d *dir) error {
		there := l.tree.countersIn(d)
		if len(there) == 0 {
			return unix.ENODEV
		}
		buf := make([]byte, 0, valueSize)
		for _, c := range there {
			if !wanted(there, c) {
				continue
			}
			data, err := d.readValue(c.file, buf)
			switch {
			case err == nil:
				c.parse(&s, data)
			case c.file == there[0].file && errors.Is(err, unix.ENOENT):
				return unix.ENODEV // it is in every cgroup that there is
			case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EOPNOTSUPP): // pressure, with psi=0 or cgroup.pressure=0
			default:
				return err
			}
		}
		return nil
	})
	return s, err
}

// sampleTick is the time between two samples.
const sampleTick = 10 * time.Millisecond

// SamplePeaks looks every 10 ms at what is used, until ctx ends or l is removed, and returns the most that it saw, or
// Unknown. Where the kernel keeps the peak itself it does not look, and returns Unknown at once. The
// caller runs it beside the sandbox and waits for it.
//
// What is short is not seen; WithPeaks knows of limits that were reached.
func (l *Leaf) SamplePeaks(ctx context.Context) Peaks {
	p := Peaks{Unknown, Unknown}
	memory, pids := l.unpeaked("memory"), l.unpeaked("pids")
	defer closeFile(memory)
	defer closeFile(pids)
	if memory < 0 && pids < 0 {
		return p
	}
	ticker := time.NewTicker(sampleTick)
	defer ticker.Stop()
	for {
		p.Memory = max(p.Memory, sample(memory))
		p.Pids = max(p.Pids, sample(pids))
		select {
		case <-ctx.Done():
			return p
		case <-l.gone:
			return p
		case <-ticker.C:
		}
	}
}

// unpeaked opens the file of what is used now, if there is one and none of the peak; -1 if not.
func (l *Leaf) unpeaked(controller string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dir == nil {
		return -1
	}
	for _, c := range l.tree.countersIn(l.dir) {
		if c.file == controller+".peak" {
			return -1
		}
	}
	fd, err := l.dir.openFile(controller+".current", unix.O_RDONLY)
	if err != nil {
		return -1
	}
	return fd
}

func closeFile(fd int) {
	if fd >= 0 {
		unix.Close(fd)
	}
}

func sample(fd int) int64 {
	if fd < 0 {
		return Unknown
	}
	data, err := readValue(fd, nil)
	if err != nil {
		return Unknown
	}
	n := parseNumber(data)
	if n == math.MaxInt64 {
		return Unknown
	}
	return n
}
