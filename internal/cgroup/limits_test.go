package cgroup

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// show writes settings as a shell would make them.
func show(all []Setting) string {
	var lines []string
	for _, s := range all {
		lines = append(lines, strings.TrimSpace(s.File+" "+s.Value))
	}
	return strings.Join(lines, "\n")
}

var sda, sdb = Device{8, 0}, Device{8, 16}

func TestSettings(t *testing.T) {
	for _, test := range []struct {
		name   string
		limits Limits
		want   string
	}{
		{"nothing", Limits{}, ""},
		{"memory", Limits{MemoryMax: 1 << 20}, "memory.swap.max 0\nmemory.max 1048576\nmemory.oom.group 1"},
		{"memory and swap", Limits{MemoryMax: 10, MemorySwapMax: 20}, "memory.swap.max 20\nmemory.max 10\nmemory.oom.group 1"},
		{"swap alone", Limits{MemorySwapMax: 20}, "memory.swap.max 20"},
		{"memory.high alone", Limits{MemoryHigh: 30}, "memory.high 30"},
		{"pids", Limits{PidsMax: 5}, "pids.max 5"},
		{"a fifth of a processor", Limits{CPUMax: 0.2}, "cpu.max 20000 100000"},
		{"more than one", Limits{CPUMax: 2.5}, "cpu.max 250000 100000"},
		{"a third is rounded", Limits{CPUMax: 1.0 / 3}, "cpu.max 33333 100000"},
		{"so little that the period is stretched", Limits{CPUMax: 0.005}, "cpu.max 5000 1000000"},
		{"the least", Limits{CPUMax: 0.001}, "cpu.max 1000 1000000"},
		{"weight", Limits{CPUWeight: 10000}, "cpu.weight 10000"},
		{"cpuset", Limits{CPUs: "0-3,8", Mems: "0"}, "cpuset.cpus 0-3,8\ncpuset.mems 0"},
		{"io", Limits{IO: []IOLimit{{Device: sdb, ReadIOPS: 7}, {Device: sda, ReadBPS: 1, WriteBPS: 2, ReadIOPS: 3, WriteIOPS: 4}}},
			"io.max 8:0 rbps=1 wbps=2 riops=3 wiops=4\nio.max 8:16 rbps=max wbps=max riops=7 wiops=max"},
		{"io, twice on one disk", Limits{IO: []IOLimit{{Device: sda, ReadBPS: 5, WriteBPS: 1}, {Device: sda, ReadBPS: 3}}},
			"io.max 8:0 rbps=3 wbps=1 riops=max wiops=max"},
		{"io that limits nothing", Limits{IO: []IOLimit{{Device: sda}}}, ""},
		{"huge pages", Limits{Hugetlb: []HugetlbLimit{{2 << 20, 4 << 20}, {1 << 30, 0}, {64 << 10, 64 << 10}}},
			"hugetlb.2MB.rsvd.max 4194304\nhugetlb.2MB.max 4194304\nhugetlb.1GB.rsvd.max 0\nhugetlb.1GB.max 0\n" +
				"hugetlb.64KB.rsvd.max 65536\nhugetlb.64KB.max 65536"},
	} {
		got, err := test.limits.Settings()
		if err != nil || show(got) != test.want {
			t.Errorf("%s: %v\n%s\nwant\n%s", test.name, err, show(got), test.want)
		}
	}
}

func TestSettingsReportEveryFault(t *testing.T) {
	l := Limits{
		MemoryMax: -1, MemoryHigh: -1, MemorySwapMax: -1, PidsMax: -1, CPUMax: math.NaN(), CPUWeight: 10001, CPUs: "a", Mems: "3-1",
		IO:      []IOLimit{{}, {ReadBPS: -1}},
		Hugetlb: []HugetlbLimit{{3000, 1}, {2 << 20, -1}},
	}
	_, err := l.Settings()
	var fields []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		field, _, _ := strings.Cut(strings.TrimPrefix(line, "cgroup: Limits."), ":")
		fields = append(fields, field)
	}
	want := []string{"MemoryHigh", "MemorySwapMax", "MemoryMax", "PidsMax", "CPUMax", "CPUWeight", "CPUs", "Mems", "IO[1]", "Hugetlb[0]", "Hugetlb[1]"}
	if !slices.Equal(fields, want) {
		t.Errorf("%q, want %q", fields, want)
	}
	var one *LimitError
	if !errors.As(err, &one) {
		t.Errorf("%T", err)
	}
	for _, cpus := range []float64{-1, 0.0004, math.Inf(1), 1e9} {
		if _, err := (&Limits{CPUMax: cpus}).Settings(); err == nil {
			t.Errorf("CPUMax %v was taken", cpus)
		}
	}
	for _, list := range []string{",", "0-", "-1", "0,,1", "1 2", "0-3:1/2", "70000", "0\n"} {
		if _, err := (&Limits{CPUs: list}).Settings(); err == nil {
			t.Errorf("CPUs %q was taken", list)
		}
	}
}

func TestControllers(t *testing.T) {
	l := Limits{MemoryMax: 1, PidsMax: 1, CPUMax: 1, CPUWeight: 1, CPUs: "0", IO: []IOLimit{{Device: sda, ReadBPS: 1}},
		Hugetlb: []HugetlbLimit{{2 << 20, 1}}}
	if got := fmt.Sprint(l.Controllers()); got != "[memory pids cpu cpuset io hugetlb]" {
		t.Error(got)
	}
	if got := (&Limits{}).Controllers(); got != nil {
		t.Errorf("no limit needs %v", got)
	}
}

func TestChanges(t *testing.T) {
	all := Limits{MemoryMax: 10, MemoryHigh: 9, PidsMax: 5, CPUMax: 1, CPUWeight: 7, CPUs: "0", Mems: "0",
		IO: []IOLimit{{Device: sda, ReadBPS: 1}, {Device: sdb, ReadBPS: 1}}, Hugetlb: []HugetlbLimit{{2 << 20, 1}}}
	for _, test := range []struct {
		name     string
		old, now Limits
		want     string
	}{
		{"nothing", all, all, ""},
		{"from nothing", Limits{}, Limits{PidsMax: 3}, "pids.max 3"},
		{"another number", Limits{PidsMax: 3, MemoryHigh: 4}, Limits{PidsMax: 2, MemoryHigh: 4}, "pids.max 2"},
		{"swap comes back", Limits{MemoryMax: 3}, Limits{MemoryMax: 3, MemorySwapMax: 7}, "memory.swap.max 7"},
		{"one disk of two", all, func() Limits {
			l := all
			l.IO = []IOLimit{{Device: sda, ReadBPS: 2}}
			return l
		}(), "io.max 8:0 rbps=2 wbps=max riops=max wiops=max\nio.max 8:16 rbps=max wbps=max riops=max wiops=max"},
		{"to nothing", all, Limits{}, "memory.high max\nmemory.swap.max max\nmemory.max max\nmemory.oom.group 0\npids.max max\n" +
			"cpu.max max\ncpu.weight 100\ncpuset.cpus\ncpuset.mems\n" +
			"io.max 8:0 rbps=max wbps=max riops=max wiops=max\nio.max 8:16 rbps=max wbps=max riops=max wiops=max\n" +
			"hugetlb.2MB.rsvd.max max\nhugetlb.2MB.max max"},
	} {
		got, err := changes(&test.old, &test.now)
		if err != nil || show(got) != test.want {
			t.Errorf("%s: %v\n%s\nwant\n%s", test.name, err, show(got), test.want)
		}
	}
	for _, s := range func() []Setting { s, _ := changes(&all, &Limits{}); return s }() {
		if s.Value == "" {
			t.Errorf("%s: an empty write writes nothing", s.File)
		}
	}
	if _, err := changes(&Limits{}, &Limits{PidsMax: -1}); err == nil {
		t.Error("a fault was not seen")
	}
}
