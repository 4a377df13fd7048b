package sandbox

import (
	"math"

	"github.com/ringfence-go/ringfence/idmap"
)

const (
	// maxGroups bounds User.Groups. The kernel takes 65536 (NGROUPS_MAX of linux/limits.h).
	maxGroups = 1024
	// maxID is the largest user or group ID: (uid_t)-1 means "no change" to the kernel.
	maxID = math.MaxUint32 - 1
)

func validateIDs(f *faults, spec *Spec) {
	uids := validateMap(f, "UIDs", spec.UIDs)
	gids := validateMap(f, "GIDs", spec.GIDs)
	if spec.User == nil {
		return
	}
	validateID(f, "User.UID", spec.User.UID, "UIDs", uids)
	validateID(f, "User.GID", spec.User.GID, "GIDs", gids)
	groups := spec.User.Groups
	for i, g := range groups[:f.count("User.Groups", len(groups), maxGroups)] {
		validateID(f, index("User.Groups", i), g, "GIDs", gids)
	}
}

// validateMap returns m if IDs can be looked up in it, else nil: a fault of the map is not reported
// again for every ID.
func validateMap(f *faults, field string, m idmap.Map) idmap.Map {
	if m == nil {
		return nil
	}
	if len(m) == 0 {
		f.add(field, "empty but not nil: it would hold no ID")
		return nil
	}
	if err := m.Validate(); err != nil {
		all := []error{err}
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			all = joined.Unwrap()
		}
		for _, err := range all {
			f.add(field, "%v", err)
		}
		return nil
	}
	return m
}

// validateID checks an ID inside. m is nil if nothing is known about which IDs exist there.
func validateID(f *faults, field string, id int, mapField string, m idmap.Map) {
	if id < 0 || int64(id) > maxID {
		f.add(field, "%d is not from 0 to %d", id, int64(maxID))
		return
	}
	if m == nil {
		return
	}
	if _, ok := m.HostID(id); !ok {
		f.add(field, "%d is not mapped by %s", id, mapField)
	}
}
