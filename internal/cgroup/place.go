package cgroup

import (
	"errors"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// place is where the caller is in the tree of cgroups.
type place struct {
	mount     string // where version 2 is mounted
	root      string // which of its cgroups is seen there: "/" but for bind mounts of a part
	own       string // the directory of the caller's cgroup
	namespace bool   // what is mounted is not the root of all cgroups: the caller is in a container
	legacy    bool   // controllers are in version 1
	readOnly  bool   // the mount is
}

// mountpoint is a mount of cgroups, of either version.
type mountpoint struct {
	root, point string
	version2    bool
	readOnly    bool
	controllers bool // of version 1, with controllers: not the named one of systemd
}

// parseMounts picks the mounts of cgroups from the contents of mountinfo (proc_pid_mountinfo(5)).
func parseMounts(data string) []mountpoint {
	var all []mountpoint
	for line := range strings.Lines(data) {
		before, after, ok := strings.Cut(line, " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 6 || len(g) < 3 || g[0] != "cgroup2" && g[0] != "cgroup" {
			continue
		}
		all = append(all, mountpoint{
			root:        unescape(f[3]),
			point:       unescape(f[4]),
			version2:    g[0] == "cgroup2",
			readOnly:    hasOption(f[5], "ro") || hasOption(g[2], "ro"),
			controllers: g[0] == "cgroup" && !strings.Contains(g[2], "name="),
		})
	}
	return all
}

func hasOption(list, option string) bool {
	for o := range strings.SplitSeq(list, ",") {
		if o == option {
			return true
		}
	}
	return false
}

// unescape undoes the octal numbers that stand for blanks and backslashes.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// parseMembership returns the path of the cgroup of version 2 in the contents of /proc/PID/cgroup
// (cgroups(7)).
func parseMembership(data string) (string, bool) {
	for line := range strings.Lines(data) {
		if p, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok && strings.HasPrefix(p, "/") {
			// A cgroup that was removed under a process that still has to end.
			return strings.TrimSuffix(p, " (deleted)"), true
		}
	}
	return "", false
}

// locate finds the caller in the file system at fsys, which is that of a host.
func locate(fsys fs.FS) (place, error) {
	membership, err := fs.ReadFile(fsys, "proc/self/cgroup")
	if err != nil {
		return place{}, err
	}
	mountinfo, err := fs.ReadFile(fsys, "proc/self/mountinfo")
	if err != nil {
		return place{}, err
	}
	var p place
	mounts := parseMounts(string(mountinfo))
	var mounted bool
	for _, m := range mounts {
		mounted = mounted || m.version2
		p.legacy = p.legacy || m.controllers
	}
	own, ok := parseMembership(string(membership))
	if !ok || !mounted {
		return p, ErrNoCgroup2
	}
	m, rel, ok := covering(mounts, own)
	if !ok {
		return p, errors.New("the caller's cgroup " + own + " is in no mount of cgroup v2")
	}
	p.mount, p.root, p.readOnly = m.point, m.root, m.readOnly
	p.own = path.Join(m.point, rel)
	// Only the root of all cgroups has no such file (section "Core Interface Files").
	_, err = fs.Stat(fsys, inFS(path.Join(p.mount, "cgroup.events")))
	p.namespace = err == nil
	list, err := fs.ReadFile(fsys, inFS(path.Join(p.mount, "cgroup.controllers")))
	if err != nil {
		return p, err
	}
	if len(strings.Fields(string(list))) == 0 {
		return p, ErrNoCgroup2
	}
	return p, nil
}

// covering returns the mount of version 2 that shows most of the tree around a cgroup, a writable one if there is, and
// where the cgroup is in it. Of mounts on one directory the last covers the others.
func covering(mounts []mountpoint, own string) (best mountpoint, rel string, ok bool) {
	for i, m := range mounts {
		r, inside := below(m.root, own)
		covered := false
		for _, later := range mounts[i+1:] {
			covered = covered || later.point == m.point
		}
		if !m.version2 || !inside || covered {
			continue
		}
		if !ok || best.readOnly && !m.readOnly || best.readOnly == m.readOnly && len(m.root) < len(best.root) {
			best, rel, ok = m, r, true
		}
	}
	return best, rel, ok
}

// below returns what is left of name when it lies below dir or is it. A name with "..", which stands for
// what is outside of a cgroup namespace, is below nothing.
func below(dir, name string) (string, bool) {
	if name != path.Clean(name) || strings.HasPrefix(name, "/..") {
		return "", false
	}
	if dir == "/" {
		return name, true
	}
	rest, ok := strings.CutPrefix(name, dir)
	return rest, ok && (rest == "" || rest[0] == '/')
}

// inFS returns an absolute path as fs.FS has it.
func inFS(name string) string {
	if name = strings.TrimPrefix(path.Clean(name), "/"); name == "" {
		return "."
	}
	return name
}
