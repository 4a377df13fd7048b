package cgroup

import (
	"math"
	"reflect"
	"testing"
	"time"
)

func TestParseNumber(t *testing.T) {
	for text, want := range map[string]int64{
		"0\n": 0, "4096\n": 4096, "max\n": math.MaxInt64, "9223372036854775807": math.MaxInt64,
		"": Unknown, "-1\n": Unknown, "9223372036854775808": Unknown, "1 2": Unknown, "none": Unknown,
	} {
		if got := parseNumber([]byte(text)); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

func TestParseEvents(t *testing.T) {
	for text, want := range map[string]MemoryStats{
		"low 0\nhigh 3\nmax 12\noom 2\noom_kill 1\noom_group_kill 1\nsock_throttled 0\n": {HighEvents: 3, MaxEvents: 12, OOM: 2, OOMKills: 1, OOMGroupKills: 1},
		"low 0\nhigh 0\nmax 1\noom 1\noom_kill 1\n":                                      {HighEvents: 0, MaxEvents: 1, OOM: 1, OOMKills: 1, OOMGroupKills: Unknown}, // before 5.17
		"":                      {HighEvents: Unknown, MaxEvents: Unknown, OOM: Unknown, OOMKills: Unknown, OOMGroupKills: Unknown},
		"oom\noom_kill x\nmax1": {HighEvents: Unknown, MaxEvents: Unknown, OOM: Unknown, OOMKills: Unknown, OOMGroupKills: Unknown},
	} {
		want.Current, want.SwapCurrent, want.Peak, want.SwapPeak = Unknown, Unknown, Unknown, Unknown
		got := unknown().Memory
		got.parseEvents([]byte(text))
		if got != want {
			t.Errorf("%q:\n%+v, want\n%+v", text, got, want)
		}
	}
}

func TestParseCPU(t *testing.T) {
	got := unknown().CPU
	got.parse([]byte("usage_usec 2003\nuser_usec 2000\nsystem_usec 3\ncore_sched.force_idle_usec 0\n"))
	if want := (CPUStats{2003 * time.Microsecond, 2 * time.Millisecond, 3 * time.Microsecond, Unknown, Unknown, Unknown}); got != want {
		t.Errorf("without the controller: %+v, want %+v", got, want)
	}
	got.parse([]byte("usage_usec 9\nnr_periods 20\nnr_throttled 19\nthrottled_usec 1500000\nnr_bursts 0\nburst_usec 0\n"))
	if got.Periods != 20 || got.ThrottledPeriods != 19 || got.Throttled != 1500*time.Millisecond {
		t.Errorf("%+v", got)
	}
	got.parse([]byte("usage_usec 9223372036854775807\n"))
	if got.Usage < 0 {
		t.Errorf("%d μs overflowed to %v", int64(math.MaxInt64), got.Usage)
	}
}

func TestParseIO(t *testing.T) {
	for text, want := range map[string][]IOStat{
		"": nil,
		"8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n":                                   {{Device{8, 0}, 1, 2, 5, 3, 4, 6}},
		"8:0 \n254:0 rbytes=1 cost.usage=7\n":                                                     {{Device: Device{254, 0}, ReadBytes: 1}},
		"259:1 rbytes=0 wbytes=0 rios=0 wios=0 dbytes=0 dios=0\n7:0 wbytes=9":                     {{Device: Device{7, 0}, WriteBytes: 9}},
		"8 rbytes=1\n8:x rbytes=1\n:0 rbytes=1\n8:0 rbytes\n8:0 =1\n8:0 rbytes=-1\n-8:0 rbytes=2": nil,
	} {
		if got := parseIO([]byte(text)); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}

func TestParsePressure(t *testing.T) {
	for text, want := range map[string]Pressure{
		"some avg10=0.12 avg60=0.00 avg300=0.00 total=1234\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n": {1234 * time.Microsecond, 5 * time.Microsecond},
		"some avg10=0.00 avg60=0.00 avg300=0.00 total=7\n":                                                    {7 * time.Microsecond, Unknown}, // cpu before 5.13
		"":                               {Unknown, Unknown},
		"some\nfull total\nnone total=1": {Unknown, Unknown},
	} {
		if got := parsePressure([]byte(text)); got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}

// What a kernel may write one day must neither panic nor make numbers negative.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", "max\n", "low 0\nhigh 0\nmax 1\noom 1\noom_kill 1\n", "usage_usec 1\nnr_periods 3\nthrottled_usec 99999999999999999\n",
		"8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n", "some avg10=0.12 avg60=0.00 avg300=0.00 total=1234\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := unknown()
		s.Memory.parseEvents(data)
		s.CPU.parse(data)
		s.IO = parseIO(data)
		s.CPUPressure = parsePressure(data)
		for _, n := range []int64{parseNumber(data), s.Memory.OOMKills, int64(s.CPU.Usage), int64(s.CPU.Throttled),
			int64(s.CPUPressure.Some), int64(s.CPUPressure.Full)} {
			if n < Unknown {
				t.Errorf("%d", n)
			}
		}
		for _, d := range s.IO {
			if d == (IOStat{Device: d.Device}) || d.ReadBytes < 0 || d.DiscardOps < 0 {
				t.Errorf("%+v", d)
			}
		}
		_ = s.OOMKilled()
	})
}

func FuzzPlace(f *testing.F) {
	f.Add("0::/a\n", "1 0 0:2 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
	f.Add("0::/../a (deleted)\n", "1 0 0:2 /a /sys\\040fs ro - cgroup2 none rw,nsdelegate\n2 1 0:3 / /b rw - cgroup c rw,pids\n")
	f.Add("0::\x0f", "1 0 0:2 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n") // was taken for a path
	f.Fuzz(func(t *testing.T, membership, mountinfo string) {
		own, _ := parseMembership(membership)
		m, rel, ok := covering(parseMounts(mountinfo), own)
		if ok && (rel != "" && rel[0] != '/' || m.point == "") {
			t.Errorf("%q is %q of %+v", own, rel, m)
		}
	})
}
