//go:build linux

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/ringfence-go/ringfence/idmap"
	"github.com/ringfence-go/ringfence/internal/probe"
)

// ids is who exists in the sandbox and who runs there.
type ids struct {
	uids, gids idmap.Map
	// byCaller says that the caller writes the maps, which takes privilege, or, if it is helped, newuidmap and
	// newgidmap for it; else init writes its own, which anyone may do for the one ID that is theirs
	// (user_namespaces(7)).
	byCaller, helped bool
	// keepsGroups says that setgroups is denied in the sandbox's namespace, so that nobody there leaves the
	// caller's supplementary groups or joins others.
	keepsGroups bool
	// uid and gid are the command's, groups its supplementary groups, all by IDs inside.
	uid, gid int
	groups   []int
}

// hasHostRoot reports whether ID 0 of the namespace around the caller's is mapped. Whether that is the host's very
// own is for its kernel to know; it is at least root of whatever the caller is in.
func (i *ids) hasHostRoot(host *Host) bool {
	root, ok := hostRoot(host)
	for _, r := range i.uids {
		if ok && root >= r.HostID && root-r.HostID < r.Size {
			return true
		}
	}
	return false
}

// hostRoot returns the ID by which the caller's namespace knows ID 0 of the one around it: another than 0, if somebody
// says so.
func hostRoot(host *Host) (id int, ok bool) {
	for line := range strings.Lines(host.facts.Caller.UIDRanges) {
		var inside, outside, size int
		if n, _ := fmt.Sscan(line, &inside, &outside, &size); n == 3 && outside == 0 && size > 0 {
			return inside, true
		}
	}
	return 0, false
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
func resolveIDs(spec *Spec, host *Host, uids, gids idmap.Map) (ids, error) {
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
	if err := i.resolveWriter(host); err != nil {
		return ids{}, err
	}
	if err := i.check(host.facts.Caller); err != nil {
		return ids{}, err
	}
	c := host.facts.Caller
	return i, errors.Join(exists("UIDs", "uid_map", i.uids, c.UIDRanges), exists("GIDs", "gid_map", i.gids, c.GIDRanges))
}

// exists reports host IDs that the caller's user namespace, whose map ranges is, does not have: nobody there
// can map them (user_namespaces(7)).
func exists(field, file string, m idmap.Map, ranges string) error {
	var there []idmap.Subrange
	for line := range strings.Lines(ranges) {
		var r idmap.Subrange
		var outside int64
		if _, err := fmt.Sscan(line, &r.HostID, &outside, &r.Size); err == nil {
			there = append(there, r)
		}
	}
	var faults []error
	for j, r := range m {
		if !within(r, there) {
			faults = append(faults, &UnsupportedError{Feature: IDMap, Needs: fmt.Sprintf("%d host IDs from %d on (%s[%d]) in the caller's user namespace", r.Size, r.HostID, field, j),
				Remedy: "/proc/self/" + file + " lists those that there are; start its container with more"})
		}
	}
	return errors.Join(faults...)
}

// resolveWriter decides who writes the maps, and what follows for groups.
func (i *ids) resolveWriter(host *Host) error {
	c := host.facts.Caller
	if c.UID == 0 {
		i.byCaller, i.keepsGroups = true, !c.Setgroups
		return nil
	}
	own := func(m idmap.Map, id int) bool { return len(m) == 1 && isOwn(m[0], id) }
	if own(i.uids, c.UID) && own(i.gids, c.GID) {
		i.keepsGroups = true // init denies setgroups before it maps its group
		return nil
	}
	subUIDs, subGIDs, err := host.ofCaller()
	if err != nil {
		return &UnsupportedError{Feature: IDMap, Needs: "files of subordinate IDs without a fault", Remedy: "mend /etc/subuid and /etc/subgid: subuid(5)", Err: err}
	}
	err = errors.Join(mayMap("UIDs", i.uids, c.UID, subUIDs), mayMap("GIDs", i.gids, c.GID, subGIDs))
	i.byCaller, i.helped = true, true
	// newgidmap denies setgroups unless the administrator has set aside one of the groups: somebody might
	// leave a group that a file is closed to (user_namespaces(7)).
	i.keepsGroups = !c.Setgroups || !slices.ContainsFunc(i.gids, func(r idmap.Range) bool { return within(r, subGIDs) })
	return err
}

func isOwn(r idmap.Range, id int) bool { return r.HostID == id && r.Size == 1 }

func within(r idmap.Range, ranges []idmap.Subrange) bool {
	return idmap.Covers(ranges, idmap.Subrange{HostID: r.HostID, Size: r.Size})
}

// mayMap holds a map to what newuidmap(1) lets a caller without privilege map.
func mayMap(field string, m idmap.Map, own int, ranges []idmap.Subrange) error {
	var faults []error
	for j, r := range m {
		if isOwn(r, own) || within(r, ranges) {
			continue
		}
		e := &UnsupportedError{Feature: IDMap, Err: idmap.ErrNotSubordinate,
			Needs:  fmt.Sprintf("root, to map %d host IDs from %d on (%s[%d])", r.Size, r.HostID, field, j),
			Remedy: fmt.Sprintf("map the caller's own ID, %d, with size 1, and subordinate IDs, of which idmap.Auto takes some", own)}
		if len(ranges) == 0 {
			e.Err = idmap.ErrNoSubordinate
			e.Remedy = fmt.Sprintf("map the caller's own ID, %d, with size 1; or as root set IDs aside for the user: usermod --add-subuids, --add-subgids", own)
		}
		faults = append(faults, e)
	}
	return errors.Join(faults...)
}

// String is how the maps are told in Result.Enforced.
func (i *ids) String() string {
	s := strings.ReplaceAll(strings.TrimSpace(i.uids.String()), "\n", "; ")
	if i.helped {
		s += " by newuidmap"
	}
	return s
}

// apply gives the namespace of the process pid its maps, where init does not do it itself.
func (i *ids) apply(ctx context.Context, pid int) error {
	if i.helped {
		return idmap.ApplyByHelper(ctx, pid, i.uids, i.gids)
	}
	return idmap.Apply(pid, i.uids, i.gids, false)
}

// check reports what validate could not, since it does not know the caller.
func (i *ids) check(c probe.Caller) error {
	if len(i.groups) > 0 && i.keepsGroups {
		reason := "setgroups is denied in the caller's user namespace, and so in those below it (user_namespaces(7))"
		if c.Setgroups {
			reason = "GIDs maps nothing but the caller's own group, for which setgroups must be denied (user_namespaces(7)): map subordinate groups too"
		}
		return &SpecError{Field: "User.Groups", Reason: reason}
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
		// No kernel writes other numbers than these.
		if at := int64(id) - inside; at >= 0 && at < size && outside >= 0 && outside <= math.MaxUint32-at {
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
