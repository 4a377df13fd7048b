package idmap

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/user"
)

// Subrange is a run of consecutive host IDs that a system administrator has set aside for one user:
// HostID and up, Size of them.
type Subrange struct {
	HostID int
	Size   int
}

// LineError is a line of a file in the format of subuid(5) that gives a user no range of IDs.
type LineError struct {
	Line   int    // from 1
	Text   string // of the line, its start if it is long
	Reason string // "count -1 is no number from 1"
}

func (e *LineError) Error() string {
	return fmt.Sprintf("line %d, %q: %s", e.Line, e.Text, e.Reason)
}

// Subordinate returns the ranges that r, in the format of /etc/subuid and /etc/subgid (subuid(5)),
// holds for a user: entries under its name or its number, in the order of the file, also those that
// overlap. With name "" only the number counts, with a negative id only the name. No entry is no error.
//
// An entry of this user that is no range of IDs is an error, and so is one that begins at 0: a typing
// mistake must not give away the host's root. Each is a *LineError, all of them joined, and no range is
// returned then. Entries of other users are not looked at.
func Subordinate(r io.Reader, name string, id int) ([]Subrange, error) {
	if r == nil {
		return nil, errors.New("idmap: there is no file of subordinate IDs to read")
	}
	var ranges []Subrange
	var faults []error
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		// The parser tells nothing of lines. One at a time, it need not.
		entries, err := user.ParseSubIDFilter(strings.NewReader(lines.Text()), func(e user.SubID) bool {
			return name != "" && e.Name == name || id >= 0 && e.Name == strconv.Itoa(id)
		})
		if err != nil {
			return nil, fmt.Errorf("idmap: subordinate IDs of %s: line %d: %w", subject(name, id), n, err)
		}
		for _, e := range entries {
			if reason := badEntry(e); reason != "" {
				faults = append(faults, &LineError{Line: n, Text: start(lines.Text()), Reason: reason})
				continue
			}
			ranges = append(ranges, Subrange{HostID: int(e.SubID), Size: int(e.Count)})
		}
	}
	if err := lines.Err(); err != nil {
		faults = append(faults, err)
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("idmap: subordinate IDs of %s: %w", subject(name, id), errors.Join(faults...))
	}
	return ranges, nil
}

// badEntry says what is wrong with an entry; "" is nothing. The parser gives 0 for what is not a number.
func badEntry(e user.SubID) string {
	switch {
	case e.SubID < 1 || e.SubID > maxID:
		return fmt.Sprintf("its start is no ID from 1 to %d", maxID)
	case e.Count < 1:
		return "its count is no number from 1"
	case e.Count-1 > maxID-e.SubID: // neither side can overflow: both IDs are from 1 to maxID
		return fmt.Sprintf("start %d, count %d goes beyond %d", e.SubID, e.Count, maxID)
	}
	return ""
}

// start returns the beginning of a line, for a message.
func start(line string) string {
	const most = 80
	if len(line) > most {
		return line[:most] + "…"
	}
	return line
}

func subject(name string, id int) string {
	if name == "" {
		return strconv.Itoa(id)
	}
	return strconv.Quote(name)
}

// union returns the same IDs as ranges that are in order and neither overlap nor touch.
func union(ranges []Subrange) []Subrange {
	ranges = slices.Clone(ranges)
	slices.SortFunc(ranges, func(a, b Subrange) int { return cmp.Compare(a.HostID, b.HostID) })
	var all []Subrange
	for _, r := range ranges {
		if n := len(all); n > 0 && r.HostID-all[n-1].HostID <= all[n-1].Size {
			all[n-1].Size = max(all[n-1].Size, r.HostID-all[n-1].HostID+r.Size)
		} else {
			all = append(all, r)
		}
	}
	return all
}

// end is the first ID beyond r. Where an int has 32 bits, it may be none.
func (r Subrange) end() int64 { return int64(r.HostID) + int64(r.Size) }

// without returns the IDs of ranges that are in none of taken, in order.
func without(ranges, taken []Subrange) []Subrange {
	taken = union(taken)
	var left []Subrange
	for _, r := range union(ranges) {
		at, end := int64(r.HostID), r.end()
		for _, t := range taken {
			if t.end() <= at || int64(t.HostID) >= end {
				continue
			}
			if int64(t.HostID) > at {
				left = append(left, Subrange{int(at), t.HostID - int(at)})
			}
			at = min(t.end(), end)
		}
		if at < end {
			left = append(left, Subrange{int(at), int(end - at)})
		}
	}
	return left
}

// Covers reports whether every ID of r is in one of ranges. Ranges that touch or overlap count together,
// as they do for newuidmap(1).
func Covers(ranges []Subrange, r Subrange) bool {
	return len(without([]Subrange{r}, ranges)) == 0
}
