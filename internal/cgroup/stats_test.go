package cgroup

import "testing"

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
