package idmap

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestBadLinesAreReported(t *testing.T) {
	const file = "root:1:1\n\nann:0:1\nann:100000:65536\nann:5:x\nbob:7\n1000:4294967294:2\nann\n"
	_, err := Subordinate(strings.NewReader(file), "ann", 1000)
	want := []LineError{
		{3, "ann:0:1", "its start is no ID"},
		{5, "ann:5:x", "its count is no number"},
		{7, "1000:4294967294:2", ""}, // which limit it breaks depends on the size of an int
		{8, "ann", "its start is no ID"},
	}
	var got []*LineError
	collect(err, &got)
	if len(got) != len(want) {
		t.Fatalf("%d lines, want %d: %v", len(got), len(want), err)
	}
	for i, w := range want {
		if got[i].Line != w.Line || got[i].Text != w.Text || !strings.Contains(got[i].Reason, w.Reason) {
			t.Errorf("%+v, want %+v", got[i], w)
		}
	}
	if want := `line 3, "ann:0:1": its start is no ID from 1 to `; !strings.Contains(err.Error(), want) {
		t.Errorf("%q, want %q in it", err, want)
	}
	// The control: who has no such line gets the good ones.
	if got, err := Subordinate(strings.NewReader(file), "root", 0); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	long := "ann:" + strings.Repeat("9", 1000)
	var line *LineError
	if _, err := Subordinate(strings.NewReader(long), "ann", 1000); !errors.As(err, &line) || len(line.Text) > 100 {
		t.Errorf("%v", err)
	}
}

func collect(err error, lines *[]*LineError) {
	switch e := any(err).(type) { // what it is, not what it wraps
	case *LineError:
		*lines = append(*lines, e)
	case interface{ Unwrap() error }:
		collect(e.Unwrap(), lines)
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			collect(one, lines)
		}
	}
}

func TestUnion(t *testing.T) {
	for _, test := range []struct{ ranges, want []Subrange }{
		{nil, nil},
		{[]Subrange{{5, 1}}, []Subrange{{5, 1}}},
		{[]Subrange{{20, 5}, {10, 5}}, []Subrange{{10, 5}, {20, 5}}},
		{[]Subrange{{10, 5}, {15, 5}}, []Subrange{{10, 10}}},
		{[]Subrange{{10, 50}, {15, 5}, {58, 4}}, []Subrange{{10, 52}}},
		{[]Subrange{{int(maxID), 1}, {int(maxID) - 1, 1}}, []Subrange{{int(maxID) - 1, 2}}},
	} {
		if got := union(test.ranges); !slices.Equal(got, test.want) {
			t.Errorf("union(%v) = %v, want %v", test.ranges, got, test.want)
		}
	}
}

func TestWithout(t *testing.T) {
	for _, test := range []struct{ ranges, taken, want []Subrange }{
		{nil, []Subrange{{1, 1}}, nil},
		{[]Subrange{{10, 10}}, nil, []Subrange{{10, 10}}},
		{[]Subrange{{10, 10}}, []Subrange{{10, 10}}, nil},
		{[]Subrange{{10, 10}}, []Subrange{{5, 50}}, nil},
		{[]Subrange{{10, 10}}, []Subrange{{5, 5}, {20, 5}}, []Subrange{{10, 10}}},
		{[]Subrange{{10, 10}}, []Subrange{{5, 7}}, []Subrange{{12, 8}}},
		{[]Subrange{{10, 10}}, []Subrange{{18, 7}}, []Subrange{{10, 8}}},
		{[]Subrange{{10, 10}}, []Subrange{{16, 1}, {12, 2}}, []Subrange{{10, 2}, {14, 2}, {17, 3}}},
		{[]Subrange{{30, 5}, {10, 10}}, []Subrange{{15, 17}}, []Subrange{{10, 5}, {32, 3}}},
	} {
		if got := without(test.ranges, test.taken); !slices.Equal(got, test.want) {
			t.Errorf("without(%v, %v) = %v, want %v", test.ranges, test.taken, got, test.want)
		}
	}
}

func TestCovers(t *testing.T) {
	ranges := []Subrange{{10, 5}, {15, 5}, {17, 8}, {40, 1}}
	for r, want := range map[Subrange]bool{
		{10, 15}: true, {12, 4}: true, {40, 1}: true, {9, 2}: false, {24, 2}: false, {10, 31}: false, {1, 1}: false, {0, 1}: false,
	} {
		if got := Covers(ranges, r); got != want {
			t.Errorf("Covers(%v, %v) = %v", ranges, r, got)
		}
	}
}

// checkUnion holds that union and without lose no ID and make none up.
func checkUnion(t *testing.T, ranges []Subrange) {
	all := union(ranges)
	for i, r := range all {
		if r.Size < 1 || i > 0 && int64(r.HostID) <= all[i-1].end() {
			t.Errorf("union(%v) = %v", ranges, all)
		}
	}
	for _, r := range ranges {
		if !Covers(all, r) {
			t.Errorf("union(%v) = %v lacks %v", ranges, all, r)
		}
	}
	if left := without(all, ranges); left != nil {
		t.Errorf("union(%v) = %v has %v beside", ranges, all, left)
	}
}

func TestPick(t *testing.T) {
	free := []Subrange{{100, 10}, {200, 30}, {300, 20}}
	for _, test := range []struct {
		n, after int
		want     Map
	}{
		{5, 0, Map{{0, 100, 5}}},
		{5, 105, Map{{0, 105, 5}}},
		{6, 105, Map{{0, 200, 6}}},
		{20, 0, Map{{0, 200, 20}}},
		{20, 215, Map{{0, 300, 20}}},
		{20, 301, Map{{0, 200, 20}}},
		{5, 9999, Map{{0, 100, 5}}},
		{45, 0, Map{{0, 100, 10}, {10, 200, 30}, {40, 300, 5}}},
		{60, 0, Map{{0, 100, 10}, {10, 200, 30}, {40, 300, 20}}},
		{61, 0, nil},
	} {
		got := pick(free, test.n, test.after)
		if !got.Equal(test.want) {
			t.Errorf("pick(%d, %d) = %v, want %v", test.n, test.after, got, test.want)
		}
		if err := got.Validate(); err != nil {
			t.Error(err)
		}
	}
}

func TestTakenIsReadAsItIsWritten(t *testing.T) {
	uids, gids := Map{{0, 100000, 10}, {10, 200000, 5}}, Map{{0, 300000, 15}}
	u, g, err := parseTaken(formatTaken(uids, gids))
	if err != nil || !slices.Equal(u, []Subrange{{100000, 10}, {200000, 5}}) || !slices.Equal(g, []Subrange{{300000, 15}}) {
		t.Errorf("%v, %v, %v", u, g, err)
	}
	// What is not understood would be given away twice.
	for _, text := range []string{"", "uid 1 1\n", "gid 1 1\n", "uid 1 1\ngid 1\n", "uid 1 1\ngid 0 1\n", "uid 1 1\ngid 1 0\n", "uid 1 1\npid 1 1\ngid 1 1\n", "uid 1 1\ngid 1 1x\n"} {
		if u, g, err := parseTaken(text); err == nil {
			t.Errorf("%q: %v, %v", text, u, g)
		}
	}
}
