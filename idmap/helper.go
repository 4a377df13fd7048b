package idmap

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// account is a user as the remedies name it.
type account struct {
	name string // "" is not known
	id   int
}

func (a account) String() string {
	if a.name != "" {
		return a.name
	}
	return strconv.Itoa(a.id)
}

// subordinates are what files set aside for one user.
type subordinates struct {
	who        account
	uids, gids []Subrange
	all        []Subrange // of all users, both kinds: what a remedy must not propose again
}

// helperFacts is what an executed helper depends on.
type helperFacts struct {
	path       string // of the program
	capability string // that it needs: "cap_setuid"
	setuidRoot bool   // it belongs to root and has the setuid bit
	fileCap    bool   // the file gives it the capability
	nosuid     bool   // it is on a file system that is mounted so
	noNewPrivs bool   // the caller cannot gain privileges
	bounded    bool   // the caller's bounding set lacks the capability
}

// powerless says why the program gets no privilege by being executed, and what to do; "" if nothing is
// known that is in the way (execve(2), capabilities(7)).
func (h helperFacts) powerless() (why, remedy string) {
	switch {
	case !h.setuidRoot && !h.fileCap:
		return "it has neither the setuid bit of root nor the file capability " + h.capability,
			fmt.Sprintf("as root: chmod u+s %s, or setcap %s+ep %s", h.path, h.capability, h.path)
	case h.nosuid:
		return "it is on a file system that is mounted nosuid", "mount the file system of " + h.path + " without nosuid"
	case h.noNewPrivs:
		return "the caller has no_new_privs set", "start the program without no_new_privs: systemd's NoNewPrivileges=, docker's no-new-privileges and sandboxes set it"
	case h.bounded:
		return "the caller's bounding set lacks " + h.capability, "start the container with the capabilities SETUID and SETGID"
	}
	return "", ""
}

// explainHelper says why a helper failed: from what it wrote to its standard error, as shadow has it in
// src/newuidmap.c, from what it depends on, and from the ranges of s that are of its kind.
func explainHelper(h helperFacts, stderr string, s subordinates, ranges []Subrange) (remedy string, cause error) {
	text := strings.TrimSpace(stderr)
	if _, rest, ok := strings.Cut(text, ": "); ok {
		text = rest // without the name of the program
	}
	switch why, remedy := h.powerless(); {
	case strings.Contains(text, "not allowed"):
		// It compares before it needs any privilege.
		if len(ranges) == 0 {
			return addRemedy(s.who, 0, s.all), fmt.Errorf("%w: %s", ErrNoSubordinate, text)
		}
		return "map the caller's own ID, with size 1, and its subordinate IDs: " + list(ranges), fmt.Errorf("%w: %s", ErrNotSubordinate, text)
	case strings.Contains(text, "determine your user name"), strings.Contains(text, "determine the user name"):
		return fmt.Sprintf("user %d needs an entry in /etc/passwd", s.who.id), fmt.Errorf("%w: %s", ErrNoSubordinate, text)
	case why != "":
		return remedy, fmt.Errorf("%w: %s: %s", ErrNoPrivilege, why, text)
	case strings.Contains(text, "owned by a different user"):
		return "the caller's group must be the one of its entry in /etc/passwd", errors.New(text)
	}
	return "", errors.New(text)
}

// list returns ranges as usermod(8) takes them.
func list(ranges []Subrange) string {
	var all []string
	for _, r := range ranges {
		all = append(all, fmt.Sprintf("%d-%d", r.HostID, r.HostID+r.Size-1))
	}
	return strings.Join(all, ", ")
}

// The range that a remedy proposes where no one has any: what useradd(8) gives by default (SUB_UID_MIN and
// SUB_UID_COUNT of login.defs(5)).
const (
	firstSubordinate = 100000
	manySubordinate  = 65536
)

// addRemedy is the command that sets at least n IDs aside for a user, beyond all that are in the files of all users.
func addRemedy(who account, n int, all []Subrange) string {
	first, size := firstSubordinate, max(n, manySubordinate)
	for _, r := range all {
		first = max(first, r.HostID+r.Size)
	}
	if who.name == "" {
		return fmt.Sprintf(`as root: append "%d:%d:%d" to /etc/subuid and /etc/subgid; newuidmap also needs an entry of the user in /etc/passwd`, who.id, first, size)
	}
	return fmt.Sprintf("as root: usermod --add-subuids %d-%d --add-subgids %d-%d %s", first, first+size-1, first, first+size-1, who.name)
}
