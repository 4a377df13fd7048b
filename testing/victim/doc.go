// Package victim is the hostile program of this repository's tests: it tries one forbidden thing after
// another and says what came of each. It is not for use elsewhere.
//
// It lives in the test binary itself: a TestMain calls Main first, and a test binds its own executable
// into a sandbox under the name Path, so that no compiler is needed and what runs inside is what runs
// outside as the control.
//
// An act is a word and, after a colon, its argument: "read:/etc/passwd". Each prints an Outcome as a
// line of JSON as soon as it is done, so that a victim that is killed has told what came before.
//
// A few acts are many: "every:" and a way into the kernel makes every system call by it, "path:" does to a path
// whatever can be done to one, "writable:" looks for all that can be written to. Each call has an outcome too.
//
// Read victim_linux.go for the frame, then one of the acts_*.go.
package victim

// Path is where the test binary must be, and what Args[0] must be or end with, to be the victim.
const Path = "/victim"

// Outcome is what came of an act.
type Outcome struct {
	Act    string
	Detail string `json:",omitempty"` // what it found, if it succeeded
	Err    string `json:",omitempty"` // "" is success; the name of an errno, "killed by SIGSYS", or a text
}

// OK reports whether the act succeeded.
func (o Outcome) OK() bool { return o.Err == "" }

// String returns the outcome in one word or two.
func (o Outcome) String() string {
	if o.OK() {
		return "ok " + o.Detail
	}
	return o.Err
}
