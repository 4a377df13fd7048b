//go:build linux

package sandbox

import (
	"fmt"
	"strings"
)

const resolvConf = "/etc/resolv.conf"

// etcFile is a file of the base system's /etc.
type etcFile struct{ name, contents string }

// etcFiles returns the files that the base system makes itself: they name the sandbox's user, host and
// nothing of the machine's.
func (c *compilation) etcFiles() []etcFile {
	files := []etcFile{
		{"passwd", c.passwd()},
		{"group", c.group()},
		{"hostname", c.hostname + "\n"},
		{"hosts", "127.0.0.1 localhost " + c.hostname + "\n::1 localhost ip6-localhost ip6-loopback " + c.hostname + "\n"},
		{"nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n"},
	}
	if !c.hostNet || !c.facts.Resolv {
		files = append(files, etcFile{"resolv.conf", "# This sandbox has no name server.\n"})
	}
	return files
}

// The names of the IDs that every sandbox knows.
const (
	userName = "sandbox"
	nogroup  = "nogroup"
	rootLine = "root:x:0:0:root:/root:/usr/sbin/nologin\n"
	nobody   = "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
)

// passwd names the command's user; root and nobody are there because files show them as owners.
func (c *compilation) passwd() string {
	own := fmt.Sprintf("%s:x:%d:%d:%s:%s:/bin/sh\n", userName, c.ids.uid, c.ids.gid, userName, baseHome)
	switch c.ids.uid {
	case 0:
		return strings.Replace(own, userName, "root", 1) + nobody
	case overflowID:
		return rootLine + own
	}
	return rootLine + own + nobody
}

// group names the command's groups, and those that have a name everywhere.
func (c *compilation) group() string {
	user := userName
	if c.ids.uid == 0 {
		user = "root"
	}
	lines := []groupLine{{"root", 0, ""}}
	add := func(name string, gid int) *groupLine {
		for i := range lines {
			if lines[i].gid == gid {
				return &lines[i]
			}
		}
		lines = append(lines, groupLine{name, gid, ""})
		return &lines[len(lines)-1]
	}
	add(userName, c.ids.gid)
	for _, gid := range c.ids.groups {
		name := fmt.Sprintf("group%d", gid)
		if gid == overflowID {
			name = nogroup
		}
		add(name, gid).members = user
	}
	add(nogroup, overflowID)
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "%s:x:%d:%s\n", l.name, l.gid, l.members)
	}
	return b.String()
}

// groupLine is a line of group(5).
type groupLine struct {
	name    string
	gid     int
	members string
}
