package idmap

import (
	"errors"
	"strings"
	"testing"
)

func TestHelperErrorsAreExplained(t *testing.T) {
	const path = "/usr/bin/newuidmap"
	good := helperFacts{path: path, capability: "cap_setuid", setuidRoot: true}
	with := func(change func(*helperFacts)) helperFacts {
		h := good
		change(&h)
		return h
	}
	refused := "newuidmap: write to uid_map failed: Operation not permitted\n"
	ann, ranges := account{"ann", 1000}, []Subrange{{100000, 65536}, {300000, 1}}
	for name, test := range map[string]struct {
		facts  helperFacts
		stderr string
		who    account
		ranges []Subrange
		cause  error
		text   string // a part of the error
		remedy string // a part of it
	}{
		"no bit":       {with(func(h *helperFacts) { h.setuidRoot = false }), refused, ann, ranges, ErrNoPrivilege, "setuid bit", "chmod u+s " + path + ", or setcap cap_setuid+ep " + path},
		"nosuid":       {with(func(h *helperFacts) { h.nosuid = true }), refused, ann, ranges, ErrNoPrivilege, "nosuid", "without nosuid"},
		"capability":   {with(func(h *helperFacts) { h.setuidRoot, h.fileCap, h.nosuid = false, true, true }), refused, ann, ranges, ErrNoPrivilege, "nosuid", "without nosuid"},
		"no_new_privs": {with(func(h *helperFacts) { h.noNewPrivs = true }), refused, ann, ranges, ErrNoPrivilege, "no_new_privs", "NoNewPrivileges="},
		"bounding set": {with(func(h *helperFacts) { h.bounded = true }), refused, ann, ranges, ErrNoPrivilege, "bounding set lacks cap_setuid", "SETUID"},
		"no entry": {good, "newuidmap: uid range [0-10) -> [100000-100010) not allowed\n", ann, nil,
			ErrNoSubordinate, "[100000-100010) not allowed", "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ann"},
		"no entry, no name": {good, "newuidmap: uid range [0-10) -> [100000-100010) not allowed\n", account{"", 77}, nil,
			ErrNoSubordinate, "not allowed", `append "77:100000:65536" to /etc/subuid and /etc/subgid`},
		// Without the bit too: it looks at the ranges first.
		"another range": {with(func(h *helperFacts) { h.setuidRoot = false }), "newuidmap: uid range [0-10) -> [0-10) not allowed\n", ann, ranges,
			ErrNotSubordinate, "[0-10) not allowed", "100000-165535, 300000-300000"},
		"no account": {good, "newuidmap: Cannot determine your user name.\n", account{"", 77}, ranges, ErrNoSubordinate, "user name", "user 77 needs an entry in /etc/passwd"},
		"group": {good, "newuidmap: Target process 7 is owned by a different user: uid:1 pw_uid:1 st_uid:1, gid:5 pw_gid:1 st_gid:5\n", ann, ranges,
			nil, "different user", "group must be the one of its entry"},
		"something else": {good, "newuidmap: open of uid_map failed: No such file or directory\n", ann, ranges, nil, "open of uid_map failed", ""},
	} {
		remedy, err := explainHelper(test.facts, test.stderr, subordinates{who: test.who}, test.ranges)
		if test.cause != nil && !errors.Is(err, test.cause) || !strings.Contains(err.Error(), test.text) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %q", name, err)
		}
		if !strings.Contains(remedy, test.remedy) || test.remedy == "" && remedy != "" {
			t.Errorf("%s: remedy %q", name, remedy)
		}
		for _, other := range []error{ErrNoHelper, ErrNoPrivilege, ErrNoSubordinate, ErrNotSubordinate, ErrInUse} {
			if !errors.Is(other, test.cause) && errors.Is(err, other) {
				t.Errorf("%s: %q matches %q", name, err, other)
			}
		}
	}
}

func TestRemedyProposesFreeIDs(t *testing.T) {
	all := []Subrange{{100000, 65536}, {165536, 1000}}
	if got, want := addRemedy(account{"ann", 1000}, 70000, all), "as root: usermod --add-subuids 166536-236535 --add-subgids 166536-236535 ann"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
