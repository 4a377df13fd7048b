package idmap

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/moby/sys/user"
)

// OfCaller returns the ranges that /etc/subuid and /etc/subgid set aside for the user that this program
// runs as, by its name in /etc/passwd and by its number: for a root caller those of root. A file that does
// not exist holds none, and none is no error. An error is one of reading, or of a line as Subordinate has it.
//
// Another source that nsswitch.conf(5) names for subid is not asked.
func OfCaller() (uids, gids []Subrange, err error) {
	s, err := etc().read(os.Geteuid())
	return s.uids, s.gids, err
}

// files are where users and their subordinate IDs are written down, and which IDs there are in the caller's
// user namespace; "" is all.
type files struct{ passwd, subuid, subgid, uidMap, gidMap string }

func etc() files {
	return files{"/etc/passwd", "/etc/subuid", "/etc/subgid", "/proc/self/uid_map", "/proc/self/gid_map"}
}

func (f files) read(id int) (subordinates, error) {
	s := subordinates{who: account{id: id}}
	// A user without an entry there has ranges by number alone.
	if found, err := user.ParsePasswdFileFilter(f.passwd, func(u user.User) bool { return u.Uid == id }); err == nil && len(found) > 0 {
		s.who.name = found[0].Name
	}
	var uidErr, gidErr error
	s.uids, uidErr = s.readFile(f.subuid)
	s.gids, gidErr = s.readFile(f.subgid)
	return s, errors.Join(uidErr, gidErr)
}

func (s *subordinates) readFile(name string) ([]Subrange, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	ranges, err := Subordinate(f, s.who.name, s.who.id)
	if err != nil {
		return nil, err
	}
	all, err := user.ParseSubIDFileFilter(name, func(e user.SubID) bool { return badEntry(e) == "" })
	for _, e := range all {
		s.all = append(s.all, Subrange{int(e.SubID), int(e.Count)})
	}
	return ranges, err
}

// existing returns those of ranges that exist in the user namespace with this map (uid_map(5)): in a
// container it may be fewer.
func existing(ranges []Subrange, file string) ([]Subrange, error) {
	if file == "" {
		return union(ranges), nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var there []Subrange
	for line := range strings.Lines(string(text)) {
		var inside, outside, size int64
		if _, err := fmt.Sscan(line, &inside, &outside, &size); err != nil {
			return nil, &os.PathError{Op: "read", Path: file, Err: err}
		}
		if inside <= maxID && size > 0 {
			there = append(there, Subrange{int(inside), int(min(size, maxID-inside+1))})
		}
	}
	return without(ranges, without(ranges, there)), nil
}
