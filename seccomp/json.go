package seccomp

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
)

// A value is a piece of a JSON document with its path. encoding/json loses the path when it
// fails, takes keys in any case and lets a misspelled or doubled key pass, which in a list of
// refusals means that something is allowed.
type value struct {
	raw  json.RawMessage
	path string
	f    *faults
}

func (v value) fault(format string, args ...any) {
	v.f.add(cmp.Or(strings.TrimPrefix(v.path, "."), "profile"), format, args...)
}

func (v value) isNull() bool { return string(v.raw) == "null" }

// object calls each with the members, in order. Unknown is called for a name that each does not
// take.
func (v value) object(each func(name string, member value) (taken bool)) {
	if v.isNull() {
		return
	}
	dec := json.NewDecoder(bytes.NewReader(v.raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		v.fault("want an object, found %s", v.kind())
		return
	}
	seen := map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		var raw json.RawMessage
		if err != nil || !ok || dec.Decode(&raw) != nil {
			v.fault("not a JSON object")
			return
		}
		member := value{raw, v.path + "." + brief(name), v.f}
		if seen[name] {
			member.fault("is given twice")
		} else if !each(name, member) {
			member.fault("is not a field that profiles have here")
		}
		seen[name] = true
	}
}

// array calls each with the elements.
func (v value) array(each func(element value)) {
	if v.isNull() {
		return
	}
	var all []json.RawMessage
	if json.Unmarshal(v.raw, &all) != nil {
		v.fault("want an array, found %s", v.kind())
		return
	}
	for i, raw := range all {
		each(value{raw, fmt.Sprintf("%s[%d]", v.path, i), v.f})
	}
}

// text returns a string, "" for null.
func (v value) text() string {
	var s string
	if json.Unmarshal(v.raw, &s) != nil {
		v.fault("want a string, found %s", v.kind())
	}
	return s
}

// texts returns an array of strings.
func (v value) texts() []string {
	var all []string
	v.array(func(e value) { all = append(all, e.text()) })
	return all
}

// number returns a whole number from 0 to limit, 0 for null.
func (v value) number(limit uint64) uint64 {
	var n uint64
	if json.Unmarshal(v.raw, &n) != nil || n > limit {
		v.fault("want a whole number from 0 to %d, found %s", limit, v.kind())
		return 0
	}
	return n
}

// kind describes a value in an error.
func (v value) kind() string {
	switch {
	case len(v.raw) == 0:
		return "nothing"
	case v.raw[0] == '{':
		return "an object"
	case v.raw[0] == '[':
		return "an array"
	}
	return brief(string(v.raw))
}

// brief keeps what a hostile document puts into an error short and on one line.
func brief(s string) string {
	if len(s) > 40 {
		s = s[:40] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}
