package cgroup

import (
	"reflect"
	"testing"
	"time"
)

func TestSince(t *testing.T) {
	before, after := unknown(), unknown()
	before.Memory.OOMKills, after.Memory.OOMKills = 1, 3
	before.Memory.MaxEvents = 7 // not counted later: a number that makes no sense is none
	after.Memory.Peak = 100
	before.CPU.Usage, after.CPU.Usage = time.Second, 3*time.Second
	before.Pids.MaxEvents, after.Pids.MaxEvents = 2, 2
	before.IOPressure.Some, after.IOPressure.Some = 4, 10
	before.IO = []IOStat{{Device: sda, ReadBytes: 10, ReadOps: 1}, {Device: sdb, WriteBytes: 5}}
	after.IO = []IOStat{{Device: sda, ReadBytes: 30, ReadOps: 2}, {Device: sdb, WriteBytes: 5}, {Device: Device{7, 0}, DiscardOps: 1}}

	want := unknown()
	want.Memory.OOMKills, want.Memory.Peak = 2, 100
	want.CPU.Usage, want.Pids.MaxEvents, want.IOPressure.Some = 2*time.Second, 0, 6
	want.IO = []IOStat{{Device: sda, ReadBytes: 20, ReadOps: 1}, {Device: Device{7, 0}, DiscardOps: 1}}
	if got := after.Since(before); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant\n%+v", got, want)
	}
	if got := unknown().Since(unknown()); !reflect.DeepEqual(got, unknown()) {
		t.Errorf("the difference of nothing known is %+v", got)
	}
}

// A counter that Since forgets would be that of everything before.
func TestSinceKnowsEveryCounter(t *testing.T) {
	fill := func(n int64) Stats {
		var s Stats
		var set func(reflect.Value)
		set = func(v reflect.Value) {
			switch v.Kind() {
			case reflect.Struct:
				for i := range v.NumField() {
					set(v.Field(i))
				}
			case reflect.Int64:
				v.SetInt(n)
			}
		}
		set(reflect.ValueOf(&s).Elem())
		return s
	}
	got := fill(10).Since(fill(4))
	want := fill(6)
	want.Memory.Current, want.Memory.SwapCurrent, want.Memory.Peak, want.Memory.SwapPeak = 10, 10, 10, 10
	want.Pids.Current, want.Pids.Peak = 10, 10
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant\n%+v", got, want)
	}
}

func TestOOMKilled(t *testing.T) {
	for _, test := range []struct {
		oom, kills, groups int64
		want               OOM
	}{
		{0, 0, 0, NoOOM},
		{Unknown, Unknown, Unknown, NoOOM},
		{3, 0, 0, NoOOM}, // an allocation failed, and nobody had to die for it
		{1, 1, Unknown, OOMByLimit},
		{1, 5, 1, OOMByLimit},
		{0, 1, 0, OOMByHost},
		{0, 0, 1, OOMByHost},
	} {
		s := unknown()
		s.Memory.OOM, s.Memory.OOMKills, s.Memory.OOMGroupKills = test.oom, test.kills, test.groups
		if got := s.OOMKilled(); got != test.want {
			t.Errorf("%+v: %v", test, got)
		}
	}
}

func TestTotalIO(t *testing.T) {
	s := Stats{IO: []IOStat{{sda, 1, 2, 3, 4, 5, 6}, {sdb, 10, 20, 30, 40, 50, 60}}}
	if got, want := s.TotalIO(), (IOStat{Device{}, 11, 22, 33, 44, 55, 66}); got != want {
		t.Errorf("%+v", got)
	}
}
