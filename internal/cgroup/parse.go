package cgroup

import (
	"bytes"
	"iter"
	"math"
	"strconv"
	"strings"
	"time"
)

// The formats of section "Interface Files". A line that is not of its format is passed over: newer
// kernels add keys, and what is not understood must not hide what is.

// parseNumber reads a file that holds one number; "max" is the largest there is.
func parseNumber(data []byte) int64 {
	s := string(bytes.TrimSpace(data))
	if s == "max" {
		return math.MaxInt64
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return Unknown
	}
	return n
}

// flatKeys returns the pairs of a flat keyed file: "KEY VALUE" a line.
func flatKeys(data []byte) iter.Seq2[string, int64] {
	return func(yield func(string, int64) bool) {
		for line := range bytes.Lines(data) {
			key, value, ok := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
			if !ok {
				continue
			}
			if n := parseNumber([]byte(value)); n != Unknown && !yield(key, n) {
				return
			}
		}
	}
}

// flatKey returns the value of one key of a flat keyed file.
func flatKey(data []byte, key string) int64 {
	for k, n := range flatKeys(data) {
		if k == key {
			return n
		}
	}
	return Unknown
}

func (m *MemoryStats) parseEvents(data []byte) {
	for key, n := range flatKeys(data) {
		switch key {
		case "high":
			m.HighEvents = n
		case "max":
			m.MaxEvents = n
		case "oom":
			m.OOM = n
		case "oom_kill":
			m.OOMKills = n
		case "oom_group_kill":
			m.OOMGroupKills = n
		}
	}
}

func (c *CPUStats) parse(data []byte) {
	for key, n := range flatKeys(data) {
		switch key {
		case "usage_usec":
			c.Usage = microseconds(n)
		case "user_usec":
			c.User = microseconds(n)
		case "system_usec":
			c.System = microseconds(n)
		case "nr_periods":
			c.Periods = n
		case "nr_throttled":
			c.ThrottledPeriods = n
		case "throttled_usec":
			c.Throttled = microseconds(n)
		}
	}
}

// microseconds returns n of them, or as many as a Duration can hold.
func microseconds(n int64) time.Duration {
	const most = math.MaxInt64 / int64(time.Microsecond)
	return time.Duration(min(n, most)) * time.Microsecond
}

// parseIO reads io.stat: "MAJOR:MINOR KEY=VALUE …" a line. A device whose line is empty was not used.
func parseIO(data []byte) []IOStat {
	var all []IOStat
	for line := range bytes.Lines(data) {
		fields := strings.Fields(string(line))
		if len(fields) < 2 {
			continue
		}
		d, ok := parseDevice(fields[0])
		if !ok {
			continue
		}
		stat := IOStat{Device: d}
		for _, f := range fields[1:] {
			stat.set(f)
		}
		if stat != (IOStat{Device: d}) {
			all = append(all, stat)
		}
	}
	return all
}

func (d *IOStat) set(pair string) {
	key, value, _ := strings.Cut(pair, "=")
	n := parseNumber([]byte(value))
	if n == Unknown {
		return
	}
	switch key {
	case "rbytes":
		d.ReadBytes = n
	case "wbytes":
		d.WriteBytes = n
	case "dbytes":
		d.DiscardBytes = n
	case "rios":
		d.ReadOps = n
	case "wios":
		d.WriteOps = n
	case "dios":
		d.DiscardOps = n
	}
}

func parseDevice(s string) (Device, bool) {
	first, second, ok := strings.Cut(s, ":")
	major, err1 := strconv.ParseUint(first, 10, 32)
	minor, err2 := strconv.ParseUint(second, 10, 32)
	return Device{uint32(major), uint32(minor)}, ok && err1 == nil && err2 == nil
}

// parsePressure reads a file of pressure: "some avg10=0.00 avg60=0.00 avg300=0.00 total=0", and "full"
// alike.
func parsePressure(data []byte) Pressure {
	p := Pressure{Unknown, Unknown}
	for line := range bytes.Lines(data) {
		fields := strings.Fields(string(line))
		if len(fields) < 2 {
			continue
		}
		total, ok := strings.CutPrefix(fields[len(fields)-1], "total=")
		n := parseNumber([]byte(total))
		if !ok || n == Unknown {
			continue
		}
		switch fields[0] {
		case "some":
			p.Some = microseconds(n)
		case "full":
			p.Full = microseconds(n)
		}
	}
	return p
}
