package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/ringfence-go/ringfence/sandbox"
)

// The options for what a cgroup limits.

func size(field func(*options) *int64) func(*options, []string) error {
	return func(o *options, a []string) (err error) {
		*field(o), err = parseSize(a[0])
		return err
	}
}

func setPids(o *options, a []string) error {
	n, err := strconv.ParseInt(a[0], 10, 64)
	if err != nil || n < 1 {
		return fmt.Errorf("%q is not a number of processes", a[0])
	}
	o.limits.PidsMax = n
	return nil
}

func setCPUs(o *options, a []string) error {
	n, err := strconv.ParseFloat(a[0], 64)
	if err != nil || !(n > 0) { // a NaN too
		return fmt.Errorf("%q is not a number of processors such as 0.5 or 2", a[0])
	}
	o.limits.CPUMax = n
	return nil
}

// setIO splits at the last colon: a path may hold any number of them.
func setIO(o *options, a []string) error {
	i := strings.LastIndexByte(a[0], ':')
	if i < 1 {
		return fmt.Errorf("%q is not of the form PATH:KEY=N[,KEY=N]", a[0])
	}
	limit := sandbox.IOLimit{Path: a[0][:i]}
	fields := map[string]*int64{"rbps": &limit.ReadBPS, "wbps": &limit.WriteBPS, "riops": &limit.ReadIOPS, "wiops": &limit.WriteIOPS}
	for part := range strings.SplitSeq(a[0][i+1:], ",") {
		key, value, _ := strings.Cut(part, "=")
		field := fields[key]
		if field == nil {
			return fmt.Errorf("%q is none of rbps, wbps, riops and wiops", key)
		}
		var err error
		if *field, err = parseSize(value); err != nil {
			return err
		}
	}
	o.limits.IOMax = append(o.limits.IOMax, limit)
	return nil
}

// setStats asks for a cgroup where there is one to be had: without it less is counted.
func setStats(o *options, _ []string) error {
	o.stats = true
	return nil
}

// wantCgroup completes the options of the cgroup: whoever runs this program has started it for nothing else,
// so that it may be moved.
func (o *options) wantCgroup(s *sandbox.Spec) {
	s.Cgroup = o.cgroup
	s.Cgroup.MoveCaller = true
	if o.stats && s.Cgroup.Path == "" {
		s.Cgroup.Always = true
		s.AllowMissing = append(s.AllowMissing, sandbox.Cgroup)
	}
}

// usageText is what --stats writes: a line for each number that is known.
func usageText(u *sandbox.Usage) string {
	var b strings.Builder
	line := func(name string, known bool, value string) {
		if known {
			fmt.Fprintf(&b, "run: %-16s %s\n", name, value)
		}
	}
	line("wall time", u.Wall >= 0, u.Wall.String())
	line("set-up", u.Setup >= 0, u.Setup.String())
	line("user time", u.User >= 0, u.User.String())
	line("system time", u.System >= 0, u.System.String())
	line("held back", u.Throttled > 0, u.Throttled.String())
	peak := bytesText(u.MemoryPeak)
	if u.Sampled {
		peak += " (sampled)"
	}
	line("memory peak", u.MemoryPeak >= 0, peak)
	line("processes", u.PidsPeak >= 0, strconv.FormatInt(u.PidsPeak, 10))
	line("refused forks", u.PidsMaxEvents > 0, strconv.FormatInt(u.PidsMaxEvents, 10))
	line("read", u.ReadBytes >= 0, fmt.Sprintf("%s in %d operations", bytesText(u.ReadBytes), u.ReadOps))
	line("written", u.WriteBytes >= 0, fmt.Sprintf("%s in %d operations", bytesText(u.WriteBytes), u.WriteOps))
	line("waited for CPU", u.CPUPressure > 0, u.CPUPressure.String())
	line("waited for memory", u.MemoryPressure > 0, u.MemoryPressure.String())
	line("waited for disks", u.IOPressure > 0, u.IOPressure.String())
	return b.String()
}

// bytesText writes a number of bytes for people.
func bytesText(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}
