package idmap

import (
	"fmt"
	"io"
	"strconv"

	"github.com/moby/sys/user"
)

// Subrange is a run of consecutive host IDs that a system administrator has set aside for one user:
// HostID and up, Size of them.
type Subrange struct {
	HostID int
	Size   int
}

// Subordinate returns the ranges that r, in the format of /etc/subuid and /etc/subgid (subuid(5)),
// holds for a user: entries under its name or its number, in the order of the file. With name ""
// only the number counts, with a negative id only the name. No entry is no error.
//
// An entry of this user that is no range of IDs is an error, and so is one that begins at 0: a typing
// mistake must not give away the host's root. Entries of other users are not looked at.
func Subordinate(r io.Reader, name string, id int) ([]Subrange, error) {
	entries, err := user.ParseSubIDFilter(r, func(e user.SubID) bool {
		return name != "" && e.Name == name || id >= 0 && e.Name == strconv.Itoa(id)
	})
	if err != nil {
		return nil, fmt.Errorf("idmap: subordinate IDs of %s: %w", subject(name, id), err)
	}
	var ranges []Subrange
	for _, e := range entries {
		// The parser gives 0 for what is not a number. The comparison cannot overflow: the left side
		// is at most maxID, the right side at least 0.
		if e.SubID < 1 || e.Count < 1 || e.SubID > maxID || e.Count-1 > maxID-e.SubID {
			return nil, fmt.Errorf("idmap: subordinate IDs of %s: start %d, count %d is no range of IDs from 1 to %d", subject(name, id), e.SubID, e.Count, maxID)
		}
		ranges = append(ranges, Subrange{HostID: int(e.SubID), Size: int(e.Count)})
	}
	return ranges, nil
}

func subject(name string, id int) string {
	if name == "" {
		return strconv.Itoa(id)
	}
	return strconv.Quote(name)
}
