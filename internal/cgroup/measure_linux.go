package cgroup

import (
	"context"
	"errors"
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// Stats reads what the kernel has counted so far. A file that there is not leaves its numbers Unknown;
// the error is that of a cgroup that is gone, or of a host that does not let it be read.
func (l *Leaf) Stats() (Stats, error) {
	s := unknown()
	err := l.with("read statistics", func(d *dir) error {
		for _, f := range []struct {
			name  string
			parse func([]byte)
		}{
			{"cpu.stat", s.CPU.parse}, // always there, so that a cgroup that is gone is noticed
			{"memory.current", number(&s.Memory.Current)},
			{"memory.peak", number(&s.Memory.Peak)},
			{"memory.swap.current", number(&s.Memory.SwapCurrent)},
			{"memory.swap.peak", number(&s.Memory.SwapPeak)},
			{"memory.events", s.Memory.parseEvents},
			{"pids.current", number(&s.Pids.Current)},
			{"pids.peak", number(&s.Pids.Peak)},
			{"pids.events", func(b []byte) { s.Pids.MaxEvents = flatKey(b, "max") }},
			{"io.stat", func(b []byte) { s.IO = parseIO(b) }},
			{"cpu.pressure", func(b []byte) { s.CPUPressure = parsePressure(b) }},
			{"memory.pressure", func(b []byte) { s.MemoryPressure = parsePressure(b) }},
			{"io.pressure", func(b []byte) { s.IOPressure = parsePressure(b) }},
		} {
			data, err := d.read(f.name)
			switch {
			case err == nil:
				f.parse(data)
			case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EOPNOTSUPP): // pressure, with psi=0
			default:
				return err
			}
		}
		return nil
	})
	return s, err
}

func number(to *int64) func([]byte) {
	return func(data []byte) { *to = parseNumber(data) }
}

// OOMKilled reads whether the kernel killed processes for want of memory. It is Stats for whoever asks no
// more than that.
func (l *Leaf) OOMKilled() (OOM, error) {
	s := unknown()
	err := l.with("read memory.events", func(d *dir) error {
		data, err := d.read("memory.events")
		if errors.Is(err, unix.ENOENT) {
			return nil // no memory controller: no limit of ours
		}
		s.Memory.parseEvents(data)
		return err
	})
	return s.OOMKilled(), err
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
	if l.dir == nil || l.dir.has(controller+".peak") {
		return -1
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
	data, err := readAll(fd)
	if err != nil {
		return Unknown
	}
	n := parseNumber(data)
	if n == math.MaxInt64 {
		return Unknown
	}
	return n
}
