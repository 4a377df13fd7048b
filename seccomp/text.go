package seccomp

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The text form of a policy, for people, diffs and golden files:
//
//	default errno(ENOSYS)
//	badarch kill_process
//
//	allow
//		read write
//	errno(EPERM) if arg1 & 0xffffffff == 0x5412 and arg2 != 0
//		ioctl
//	allow optional
//		a_call_to_come
//
// The first lines are the fields of Policy, left out where they are zero. A line without indent
// starts a rule, the indented ones after it are its names. # starts a comment.

// textWidth is where lists of names wrap.
const textWidth = 100

// String returns the policy in its text form, whether it is valid or not.
func (p *Policy) String() string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "default %s\n", p.Default)
	if p.BadArch != 0 {
		fmt.Fprintf(&b, "badarch %s\n", p.BadArch)
	}
	if p.Unknown != 0 {
		fmt.Fprintf(&b, "unknown %s\n", p.Unknown)
	}
	for i := range p.Rules {
		r := &p.Rules[i]
		fmt.Fprintf(&b, "\n%s", r.Action)
		if r.Optional {
			b.WriteString(" optional")
		}
		for j := range r.Args {
			b.WriteString([]string{" and ", " if "}[btoi(j == 0)] + r.Args[j].String())
		}
		column := textWidth
		for _, name := range r.Names {
			if column+1+len(name) > textWidth {
				b.WriteString("\n\t" + name)
				column = 8 + len(name)
				continue
			}
			b.WriteString(" " + name)
			column += 1 + len(name)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// String returns the condition as the text form has it: "arg1 & 0xffffffff == 0x5412".
func (a Arg) String() string {
	if a.Mask != 0 {
		return fmt.Sprintf("arg%d & %#x %s %#x", a.Index, a.Mask, a.Op, a.Value)
	}
	return fmt.Sprintf("arg%d %s %#x", a.Index, a.Op, a.Value)
}

// MarshalText returns the text form that UnmarshalText reads. The errors are those of Validate.
func (p *Policy) MarshalText() ([]byte, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	return []byte(p.String()), nil
}

// UnmarshalText reads the text form: lines "default", "badarch" and "unknown" with an action, then
// rules, each a line "ACTION [optional] [if COND and COND ...]" with the names of its calls on
// indented lines after it. A condition is "argN OP VALUE" or "argN & MASK OP VALUE"; numbers are
// as in Go; # starts a comment. Errors are [*PolicyError], joined, with Field "line N" for faults of
// the form, and those of Validate. p is set only if there are none.
func (p *Policy) UnmarshalText(text []byte) error {
	var f faults
	var out Policy
	for i, line := range strings.Split(string(text), "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if reason := out.readLine(words, line[0] == ' ' || line[0] == '\t'); reason != "" {
			f.add(fmt.Sprintf("line %d", i+1), "%s", reason)
		}
	}
	if len(f) > 0 {
		return errors.Join(f...)
	}
	if err := out.Validate(); err != nil {
		return err
	}
	*p = out
	return nil
}

// readLine adds one line to the policy and returns what is wrong with it, or "".
func (p *Policy) readLine(words []string, indented bool) string {
	if indented {
		if len(p.Rules) == 0 {
			return "names of calls, but no rule before them"
		}
		r := &p.Rules[len(p.Rules)-1]
		r.Names = append(r.Names, words...)
		return ""
	}
	for key, field := range map[string]*Action{"default": &p.Default, "badarch": &p.BadArch, "unknown": &p.Unknown} {
		if words[0] == key {
			return readField(field, words)
		}
	}
	return p.readRule(words)
}

func readField(field *Action, words []string) string {
	if len(words) != 2 {
		return words[0] + " takes one action"
	}
	if *field != 0 {
		return words[0] + " is given twice"
	}
	a, err := ParseAction(words[1])
	if err != nil {
		return err.Error()
	}
	*field = a
	return ""
}

func (p *Policy) readRule(words []string) string {
	a, err := ParseAction(words[0])
	if err != nil {
		return err.Error()
	}
	r := Rule{Action: a}
	words = words[1:]
	if len(words) > 0 && words[0] == "optional" {
		r.Optional = true
		words = words[1:]
	}
	for first := true; len(words) > 0; first = false {
		if want := []string{"and", "if"}[btoi(first)]; words[0] != want {
			return fmt.Sprintf("found %q, want %q or the end of the line", brief(words[0]), want)
		}
		arg, n, reason := readArg(words[1:])
		if reason != "" {
			return reason
		}
		r.Args = append(r.Args, arg)
		words = words[1+n:]
	}
	p.Rules = append(p.Rules, r)
	return ""
}

// readArg reads a condition from the start of words and returns how many it took.
func readArg(words []string) (a Arg, n int, reason string) {
	const form = "want a condition such as arg1 == 5, or arg1 & 0xff == 5"
	masked := len(words) >= 2 && words[1] == "&"
	if n = 3 + 2*btoi(masked); len(words) < n {
		return a, 0, form
	}
	index, found := strings.CutPrefix(words[0], "arg")
	i, err := strconv.ParseUint(index, 10, 8)
	if !found || err != nil {
		return a, 0, form
	}
	a.Index = int(i)
	if masked {
		if a.Mask, err = strconv.ParseUint(words[2], 0, 64); err != nil || a.Mask == 0 {
			return a, 0, fmt.Sprintf("%q is not a mask: want a 64-bit number other than 0", brief(words[2]))
		}
	}
	for op, name := range opNames {
		if name != "" && name == words[n-2] {
			a.Op = Op(op)
		}
	}
	if a.Op == 0 {
		return a, 0, fmt.Sprintf("%q is not a comparison: want == != < <= > >=", brief(words[n-2]))
	}
	if a.Value, err = strconv.ParseUint(words[n-1], 0, 64); err != nil {
		return a, 0, fmt.Sprintf("%q is not a 64-bit number", brief(words[n-1]))
	}
	return a, n, ""
}
