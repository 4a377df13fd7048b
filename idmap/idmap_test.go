package idmap

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	tests := []struct {
		name string
		m    Map
		want []string // one part of each fault; none for a valid map
	}{
		{"nil", nil, nil},
		{"one ID", Single(0, 1000), nil},
		{"neighbors", Map{{0, 1000, 10}, {10, 1010, 10}}, nil},
		{"neighbors, out of order", Map{{10, 1000, 10}, {0, 1010, 10}}, nil},
		{"largest ID", Map{{int(maxID), 0, 1}}, nil},
		{"size 0", Map{{0, 0, 0}}, []string{"range 0: size 0"}},
		{"negative size", Map{{0, 0, -5}}, []string{"size -5"}},
		{"negative ID inside", Map{{-1, 0, 1}}, []string{"negative"}},
		{"negative ID outside", Map{{0, -1, 1}}, []string{"negative"}},
		{"beyond inside", Map{{int(maxID), 0, 2}}, []string{"beyond"}},
		{"beyond outside", Map{{0, int(maxID), 2}}, []string{"beyond"}},
		{"huge size", Map{{2, 2, math.MaxInt}}, []string{"beyond"}},
		{"two faults", Map{{0, 0, 0}, {5, 5, 1}, {-1, 0, 1}}, []string{"range 0", "range 2"}},
		{"overlap inside", Map{{0, 1000, 10}, {9, 2000, 1}}, []string{"ranges 0 and 1 overlap inside"}},
		{"overlap outside", Map{{0, 1000, 10}, {20, 1009, 10}}, []string{"ranges 0 and 1 overlap outside"}},
		{"overlap on both sides", Map{{0, 0, 2}, {1, 1, 2}}, []string{"inside", "outside"}},
		{"two within one", Map{{0, 1000, 100}, {5, 2000, 1}, {50, 3000, 1}}, []string{"ranges 0 and 1", "ranges 0 and 2"}},
		{"too many", make(Map, MaxRanges+1), []string{"341 ranges"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := test.m.Validate()
			var got []error
			if joined, ok := err.(interface{ Unwrap() []error }); ok {
				got = joined.Unwrap()
			} else if err != nil {
				got = []error{err}
			}
			if len(got) != len(test.want) {
				t.Fatalf("%d faults, want %d: %v", len(got), len(test.want), err)
			}
			for i, want := range test.want {
				if !strings.Contains(got[i].Error(), want) {
					t.Errorf("fault %d is %q, want %q in it", i, got[i], want)
				}
			}
		})
	}
}

func TestLookUp(t *testing.T) {
	m := Map{{0, 1000, 1}, {1, 100000, 65536}}
	for _, test := range []struct {
		inside, outside int
		ok              bool
	}{{0, 1000, true}, {1, 100000, true}, {65536, 165535, true}, {65537, 0, false}, {-1, 0, false}} {
		if got, ok := m.HostID(test.inside); got != test.outside || ok != test.ok {
			t.Errorf("HostID(%d) = %d, %v, want %d, %v", test.inside, got, ok, test.outside, test.ok)
		}
		if !test.ok {
			continue
		}
		if got, ok := m.ContainerID(test.outside); got != test.inside || !ok {
			t.Errorf("ContainerID(%d) = %d, %v, want %d", test.outside, got, ok, test.inside)
		}
	}
	if id, ok := m.ContainerID(0); ok {
		t.Errorf("the host's root is %d inside", id)
	}
}

func TestEqual(t *testing.T) {
	m := Map{{0, 1, 2}, {5, 6, 7}}
	if !m.Equal(slices.Clone(m)) || m.Equal(m[:1]) || m.Equal(Map{m[1], m[0]}) || !Map(nil).Equal(Map{}) {
		t.Error("Equal does not compare the ranges in order")
	}
}

func TestSubordinate(t *testing.T) {
	const file = `
root:100000:65536
ann:165536:65536
1000:231072:1000
ann:400000:1

bob
bob2:x:65536
bob3:0:65536
bob4:1:-1
bob5:4294967295:1
bob6:4294967294:2
bob7:1:9223372036854775807
bob8:99999999999999999999:1
bob9:7:1:more
`
	tests := []struct {
		name string
		id   int
		want []Subrange
		err  bool
	}{
		{name: "root", id: 0, want: []Subrange{{100000, 65536}}},
		{name: "ann", id: 1000, want: []Subrange{{165536, 65536}, {231072, 1000}, {400000, 1}}},
		{name: "ann", id: -1, want: []Subrange{{165536, 65536}, {400000, 1}}},
		{name: "", id: 1000, want: []Subrange{{231072, 1000}}},
		{name: "", id: -1},
		{name: "nobody", id: 65534},
		{name: "bob9", id: 1, want: []Subrange{{7, 1}}},
		{name: "bob", id: 1, err: true},
		{name: "bob2", id: 1, err: true},
		{name: "bob3", id: 1, err: true},
		{name: "bob4", id: 1, err: true},
		{name: "bob5", id: 1, err: true},
		{name: "bob6", id: 1, err: true},
		{name: "bob7", id: 1, err: true},
		{name: "bob8", id: 1, err: true},
	}
	for _, test := range tests {
		got, err := Subordinate(strings.NewReader(file), test.name, test.id)
		if !slices.Equal(got, test.want) || (err != nil) != test.err {
			t.Errorf("Subordinate(%q, %d) = %v, %v, want %v, error %v", test.name, test.id, got, err, test.want, test.err)
		}
	}
}

type broken struct{}

var errBroken = errors.New("broken")

func (broken) Read([]byte) (int, error) { return 0, errBroken }

func TestSubordinateReportsAReadError(t *testing.T) {
	if _, err := Subordinate(broken{}, "ann", 1000); !errors.Is(err, errBroken) {
		t.Errorf("error %v, want %v", err, errBroken)
	}
	if _, err := Subordinate(nil, "ann", 1000); err == nil {
		t.Error("no error for no reader")
	}
}

func FuzzMap(f *testing.F) {
	f.Add(0, 1000, 1, 1, 100000, 65536, 5)
	f.Add(-1, math.MaxInt, math.MaxInt, 0, 0, 0, math.MinInt)
	f.Fuzz(func(t *testing.T, c1, h1, s1, c2, h2, s2, id int) {
		m := Map{{c1, h1, s1}, {c2, h2, s2}}
		host, ok := m.HostID(id) // must not panic for any m
		if m.Validate() != nil {
			return
		}
		if ok {
			if host < 0 || int64(host) > maxID {
				t.Errorf("%v maps %d to %d", m, id, host)
			}
			if back, ok := m.ContainerID(host); !ok || back != id {
				t.Errorf("%v maps %d to %d and that to %d, %v", m, id, host, back, ok)
			}
		}
	})
}

func FuzzSubordinate(f *testing.F) {
	f.Add("ann:100000:65536\n", "ann", 1000)
	f.Add("1000:1:1\n:::\nann:-1:5", "", 1000)
	f.Add("ann:0:65536\n", "ann", 1000)
	f.Fuzz(func(t *testing.T, file, name string, id int) {
		ranges, err := Subordinate(strings.NewReader(file), name, id)
		if err != nil {
			return
		}
		checkUnion(t, ranges)
		for _, r := range ranges {
			if r.HostID < 1 {
				t.Errorf("range %v gives away the host's root", r)
			}
			if err := (Map{{0, r.HostID, r.Size}}).Validate(); err != nil {
				t.Errorf("range %v: %v", r, err)
			}
		}
	})
}
