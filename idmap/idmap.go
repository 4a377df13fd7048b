package idmap

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// MaxRanges is the largest number of ranges that the kernel takes in one map
// (user_namespaces(7), "Defining user and group ID mappings": 340 lines since Linux 4.15).
const MaxRanges = 340

// maxID is the largest ID: (uid_t)-1 means "no change" to the kernel and is never an ID. Where an int
// has 32 bits it is the largest int, so that every ID of a valid Map is one.
const maxID int64 = min(math.MaxUint32-1, math.MaxInt)

// Range maps Size consecutive IDs of a user namespace, ContainerID and up, to IDs of its parent
// namespace, HostID and up. The names are those of syscall.SysProcIDMap.
type Range struct {
	ContainerID int
	HostID      int
	Size        int
}

// Map says which IDs exist in a user namespace and which IDs of its parent they are. A nil Map
// holds no ID; what that means is the user's to say (sandbox.Spec: the caller's own ID, alone).
type Map []Range

// Single returns the Map of one ID.
func Single(containerID, hostID int) Map {
	return Map{{ContainerID: containerID, HostID: hostID, Size: 1}}
}

// Validate reports every fault of m, joined: a size below 1, an ID that is negative or beyond
// 4294967294 (or the largest int, if that is less), ranges that overlap on either side, more than
// MaxRanges ranges.
func (m Map) Validate() error {
	if len(m) > MaxRanges {
		return fmt.Errorf("%d ranges, at most %d are possible", len(m), MaxRanges)
	}
	var faults []error
	for i, r := range m {
		if err := r.validate(); err != nil {
			faults = append(faults, fmt.Errorf("range %d: %w", i, err))
		}
	}
	if len(faults) > 0 {
		return errors.Join(faults...) // overlaps of ranges that are none would say nothing
	}
	faults = m.overlaps(faults, "inside", func(r Range) int { return r.ContainerID })
	faults = m.overlaps(faults, "outside", func(r Range) int { return r.HostID })
	return errors.Join(faults...)
}

// overlaps appends a fault for each range that begins within one that begins no later.
func (m Map) overlaps(faults []error, side string, first func(Range) int) []error {
	order := make([]int, len(m))
	for i := range m {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(first(m[i]), first(m[j])) })
	end, widest := int64(-1), 0 // the largest ID so far, and whose it is
	for _, i := range order {
		if int64(first(m[i])) <= end {
			faults = append(faults, fmt.Errorf("ranges %d and %d overlap %s the namespace", min(i, widest), max(i, widest), side))
		}
		if last := int64(first(m[i])) + int64(m[i].Size) - 1; last > end {
			end, widest = last, i
		}
	}
	return faults
}

func (r Range) validate() error {
	switch {
	case r.Size < 1:
		return fmt.Errorf("size %d, want at least 1", r.Size)
	case r.ContainerID < 0 || r.HostID < 0:
		return errors.New("negative ID")
	case int64(max(r.ContainerID, r.HostID)) > maxID-int64(r.Size-1):
		return fmt.Errorf("IDs beyond %d", maxID)
	}
	return nil
}

// HostID returns the ID outside of an ID inside, and whether there is one.
func (m Map) HostID(containerID int) (int, bool) {
	for _, r := range m {
		if containerID >= r.ContainerID && containerID-r.ContainerID < r.Size {
			return r.HostID + (containerID - r.ContainerID), true
		}
	}
	return 0, false
}

// ContainerID returns the ID inside of an ID outside, and whether there is one.
func (m Map) ContainerID(hostID int) (int, bool) {
	for _, r := range m {
		if hostID >= r.HostID && hostID-r.HostID < r.Size {
			return r.ContainerID + (hostID - r.HostID), true
		}
	}
	return 0, false
}

// Equal reports whether m and o are the same ranges in the same order.
func (m Map) Equal(o Map) bool { return slices.Equal(m, o) }

// String returns m in the format of /proc/PID/uid_map: a line per range with the ID inside, the ID
// outside and the size, as proc_pid_uid_map(5) has it.
func (m Map) String() string {
	var b strings.Builder
	for _, r := range m {
		fmt.Fprintf(&b, "%d %d %d\n", r.ContainerID, r.HostID, r.Size)
	}
	return b.String()
}
