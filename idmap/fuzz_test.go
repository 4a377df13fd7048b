package idmap

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// FuzzTaken reads files of reservations, which another program may have written half of. What is read is ranges of
// IDs, and formatTaken writes them so that they are read again.
func FuzzTaken(f *testing.F) {
	f.Add("uid 100000 10\ngid 100000 10\n")
	f.Add("uid 1 1\nuid 2 3\ngid 7 9223372036854775807\n")
	f.Add("uid 100000 1")
	f.Add("uid 0 1\ngid 0 1\n")
	f.Add("uid  1\t1\ngid 1 1 1\n")
	f.Fuzz(func(t *testing.T, text string) {
		uids, gids, err := parseTaken(text)
		if err != nil {
			return
		}
		maps := [2]Map{}
		for i, ranges := range [][]Subrange{uids, gids} {
			for _, r := range ranges {
				if r.HostID < 1 || r.Size < 1 {
					t.Errorf("%q has %v", text, r)
				}
				maps[i] = append(maps[i], Range{HostID: r.HostID, Size: r.Size})
			}
		}
		again, gidsAgain, err := parseTaken(formatTaken(maps[0], maps[1]))
		if err != nil || !slices.Equal(again, uids) || !slices.Equal(gidsAgain, gids) {
			t.Errorf("%q is read again as %v, %v, %v", text, again, gidsAgain, err)
		}
		_ = without(uids, gids) // of any ranges
	})
}

// FuzzHelper explains what a helper may say. There is always a cause, and the remedy names no ID of anybody's.
func FuzzHelper(f *testing.F) {
	f.Add("newuidmap: uid range [0-10) -> [100000-100010) not allowed", "ann", 1000, 100000, 65536, true)
	f.Add("newuidmap: write to uid_map failed: Operation not permitted\n", "", 0, 0, 0, false)
	f.Add("newuidmap: Target process is owned by a different user", "x", -1, 1, 1, true)
	f.Fuzz(func(t *testing.T, stderr, name string, id, first, size int, setuid bool) {
		s := subordinates{who: account{name, id}}
		if first > 0 && size > 0 && int64(first)+int64(size) <= maxID {
			s.uids = []Subrange{{first, size}}
			s.all = s.uids
		}
		remedy, cause := explainHelper(helperFacts{path: "/usr/bin/newuidmap", capability: "cap_setuid", setuidRoot: setuid}, stderr, s, s.uids)
		if cause == nil {
			t.Errorf("%q has no cause", stderr)
		}
		if errors.Is(cause, ErrNoSubordinate) && len(s.uids) > 0 && strings.Contains(remedy, "usermod") {
			next := first + size
			if !strings.Contains(remedy, fmt.Sprintf("%d-", max(next, firstSubordinate))) {
				t.Errorf("%q after %v", remedy, s.uids)
			}
		}
	})
}
