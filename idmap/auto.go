package idmap

import (
	"fmt"
	"strings"
)

// AutoError says why Auto had no IDs to give.
type AutoError struct {
	IDs    int    // how many were asked for
	Remedy string // what the user can do; "" if nothing is known
	Err    error  // the cause; it matches ErrNoSubordinate or ErrInUse where it is one of these
}

func (e *AutoError) Error() string {
	s := fmt.Sprintf("idmap: reserve %d subordinate IDs: %v", e.IDs, e.Err)
	if e.Remedy != "" {
		s += " (" + e.Remedy + ")"
	}
	return s
}

// Unwrap returns the cause.
func (e *AutoError) Unwrap() error { return e.Err }

// pick takes n IDs of free, which is in order, and maps those from 0 inside to them. It takes one range
// if it can, the first one from ID after on or else the first one there is: what was given back last is
// given away last, so that what a process in a sandbox has left behind under such an ID seldom finds a new
// owner. It returns nil if there are less than n.
func pick(free []Subrange, n, after int) Map {
	for _, r := range free {
		at := max(r.HostID, after)
		if r.end()-int64(at) >= int64(n) {
			return Map{{ContainerID: 0, HostID: at, Size: n}}
		}
	}
	for _, r := range free {
		if r.Size >= n {
			return Map{{ContainerID: 0, HostID: r.HostID, Size: n}}
		}
	}
	var m Map
	for next := 0; next < n; {
		if len(m) == len(free) || len(m) == MaxRanges {
			return nil
		}
		r := free[len(m)]
		size := min(r.Size, n-next)
		m = append(m, Range{ContainerID: next, HostID: r.HostID, Size: size})
		next += size
	}
	return m
}

// count returns how many IDs ranges hold, which do not overlap.
func count(ranges []Subrange) int64 {
	n := int64(0)
	for _, r := range ranges {
		n += int64(r.Size)
	}
	return n
}

// formatTaken is what the file of a reservation holds: a line for each range.
func formatTaken(uids, gids Map) string {
	var b strings.Builder
	for _, r := range uids {
		fmt.Fprintf(&b, "uid %d %d\n", r.HostID, r.Size)
	}
	for _, r := range gids {
		fmt.Fprintf(&b, "gid %d %d\n", r.HostID, r.Size)
	}
	return b.String()
}

// parseTaken reads what formatTaken has written.
func parseTaken(text string) (uids, gids []Subrange, err error) {
	for line := range strings.Lines(text) {
		var kind string
		var r Subrange
		if _, err := fmt.Sscanf(line, "%s %d %d\n", &kind, &r.HostID, &r.Size); err != nil || r.HostID < 1 || r.Size < 1 {
			return nil, nil, fmt.Errorf("%q is no range", start(line))
		}
		switch kind {
		case "uid":
			uids = append(uids, r)
		case "gid":
			gids = append(gids, r)
		default:
			return nil, nil, fmt.Errorf("%q is no range", start(line))
		}
	}
	if len(uids) == 0 || len(gids) == 0 {
		return nil, nil, fmt.Errorf("%d ranges of user IDs, %d of group IDs", len(uids), len(gids))
	}
	return uids, gids, nil
}
