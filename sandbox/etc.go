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
	userName  = "sandbox"
	rootLine  = "root:x:0:0:root:/root:/usr/sbin/nologin\n"
	nobody    = "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
	rootGroup = "root:x:0:\n"
	nogroup   = "nogroup:x:65534:\n"
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

func (c *compilation) group() string {
	own := fmt.Sprintf("%s:x:%d:\n", userName, c.ids.gid)
	switch c.ids.gid {
	case 0:
		return rootGroup + nogroup
	case overflowID:
		return rootGroup + own
	}
	return rootGroup + own + nogroup
}
