//go:build linux

package sandbox

import (
	"fmt"
	"os"
	"strings"

	"github.com/ringfence-go/ringfence/idmap"
	"github.com/ringfence-go/ringfence/internal/probe"
)

// ids is who exists in the sandbox and who runs there.
type ids struct {
	uids, gids idmap.Map
	// byCaller says that the caller writes the maps, which takes privilege; else init writes its own,
	// which anyone may do for the one ID that is theirs (user_namespaces(7)).
	byCaller bool
	// uid and gid are the command's, groups its supplementary groups, all by IDs inside.
	uid, gid int
	groups   []int
}

const (
	rootContainerID = 1000  // the ID inside for a caller that is root; one that nothing confuses with root or nobody
	overflowID      = 65534 // nobody: what stands for IDs that are not mapped (user_namespaces(7))
)

// first returns the IDs that init takes: the first of each map.
func (i *ids) first() (uid, gid int) { return i.uids[0].ContainerID, i.gids[0].ContainerID }

// defaultMaps returns the maps of a Spec without any.
func defaultMaps(host *Host) (uids, gids idmap.Map, err error) {
	c := host.facts.Caller
	if c.UID != 0 {
		return idmap.Single(c.UID, c.UID), idmap.Single(c.GID, c.GID), nil
	}
	if uid, gid, ok := host.subordinate(); ok && mapped(c.UIDRanges, uid) && mapped(c.GIDRanges, gid) {
		return idmap.Single(rootContainerID, uid), idmap.Single(rootContainerID, gid), nil
	}
	if mapped(c.UIDRanges, overflowID) && mapped(c.GIDRanges, overflowID) {
		return idmap.Single(rootContainerID, overflowID), idmap.Single(rootContainerID, overflowID), nil
	}
	// Root of a user namespace that holds no other ID. Its IDs are safe to use if they are not the host's
	// root; what the parent namespace calls them is all that can be seen.
	uid, uidOK := parentID(c.UIDRanges, 0)
	gid, gidOK := parentID(c.GIDRanges, c.GID)
	if uidOK && gidOK && uid != 0 && gid != 0 {
		return idmap.Single(rootContainerID, 0), idmap.Single(rootContainerID, c.GID), nil
	}
	return nil, nil, &UnsupportedError{Feature: IDMap, Needs: "an ID other than root's in the caller's user namespace",
		Remedy: "run as an unprivileged user, or say in UIDs and GIDs which ID to use"}
}

// resolveIDs completes the maps and the user of spec.
func resolveIDs(spec *Spec, c probe.Caller, uids, gids idmap.Map) (ids, error) {
	i := ids{uids: uids, gids: gids}
	if spec.UIDs != nil {
		i.uids = spec.UIDs
	}
	if spec.GIDs != nil {
		i.gids = spec.GIDs
	}
	i.uid, i.gid = i.first()
	if u := spec.User; u != nil {
		i.uid, i.gid, i.groups = u.UID, u.GID, u.Groups
	}
	i.byCaller = c.UID == 0
	if err := i.check(c); err != nil {
		return ids{}, err
	}
	return i, nil
}

// check reports what validate could not, since it does not know the caller.
func (i *ids) check(c probe.Caller) error {
	if !i.byCaller {
		own := len(i.uids) == 1 && i.uids[0].HostID == c.UID && i.uids[0].Size == 1 &&
			len(i.gids) == 1 && i.gids[0].HostID == c.GID && i.gids[0].Size == 1
		if !own {
			return &UnsupportedError{Feature: IDMap, Needs: "root, to map other IDs than the caller's own",
				Remedy: fmt.Sprintf("map user %d and group %d, with size 1", c.UID, c.GID)}
		}
	}
	if len(i.groups) > 0 && !(i.byCaller && c.Setgroups) {
		return &SpecError{Field: "User.Groups", Reason: "only root sets groups, in a user namespace that allows it (user_namespaces(7), setgroups)"}
	}
	if _, ok := i.uids.HostID(i.uid); !ok {
		return &SpecError{Field: "User.UID", Reason: fmt.Sprintf("%d does not exist in the sandbox", i.uid)}
	}
	if _, ok := i.gids.HostID(i.gid); !ok {
		return &SpecError{Field: "User.GID", Reason: fmt.Sprintf("%d does not exist in the sandbox", i.gid)}
	}
	for j, gid := range i.groups {
		if _, ok := i.gids.HostID(gid); !ok {
			return &SpecError{Field: fmt.Sprintf("User.Groups[%d]", j), Reason: fmt.Sprintf("%d does not exist in the sandbox", gid)}
		}
	}
	return nil
}

// mapped reports whether id exists in the user namespace with these maps (uid_map(5)).
func mapped(ranges string, id int) bool {
	_, ok := parentID(ranges, id)
	return ok
}

// parentID returns what the parent namespace calls an ID.
func parentID(ranges string, id int) (int, bool) {
	for line := range strings.Lines(ranges) {
		var inside, outside, size int64
		if _, err := fmt.Sscan(line, &inside, &outside, &size); err != nil {
			continue
		}
		if at := int64(id) - inside; at >= 0 && at < size {
			return int(outside + at), true
		}
	}
	return 0, false
}

// rootSubordinate reads the first subordinate IDs of root.
func rootSubordinate() (uid, gid int, ok bool) {
	uid, ok = firstSubordinate("/etc/subuid")
	if !ok {
		return 0, 0, false
	}
	gid, ok = firstSubordinate("/etc/subgid")
	return uid, gid, ok
}

func firstSubordinate(file string) (int, bool) {
	f, err := os.Open(file)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	ranges, err := idmap.Subordinate(f, "root", 0)
	if err != nil || len(ranges) == 0 {
		return 0, false
	}
	return ranges[0].HostID, true
}
