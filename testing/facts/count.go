package main

import (
	"bufio"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// verdicts are what became of tests, by their names. A test that passed once has passed: root and a user
// run the same binary.
type verdicts map[string]string

// verdict is the line of "go test -v" for a test, and not that of a subtest. What a test or a machine's
// console wrote before it, without an end of line, does not count.
var verdict = regexp.MustCompile(`--- (PASS|SKIP|FAIL): (\w+) \(`)

func (v verdicts) read(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		if m := verdict.FindSubmatch(lines.Bytes()); m != nil {
			v.add(string(m[2]), string(m[1]))
		}
	}
	return lines.Err()
}

func (v verdicts) add(name, what string) {
	if v[name] != "PASS" {
		v[name] = what
	}
}

// counted are the facts by where they passed.
type counted struct {
	here, machine   int      // passed here; not here, but in a machine
	skipped, absent []string // passed nowhere: skipped; not even run
}

func count(facts []string, here, machine verdicts) counted {
	var c counted
	for _, name := range facts {
		switch {
		case here[name] == "PASS":
			c.here++
		case machine[name] == "PASS":
			c.machine++
		case here[name] != "" || machine[name] != "":
			c.skipped = append(c.skipped, name)
		default:
			c.absent = append(c.absent, name)
		}
	}
	return c
}

// String says it in a line.
func (c counted) String() string {
	return fmt.Sprintf("facts: %d passed here, %d in a machine, %d skipped, %d not run", c.here, c.machine, len(c.skipped), len(c.absent))
}

// faults says what a count must not hold.
func (c counted) faults() []string {
	var all []string
	for _, list := range []struct {
		names []string
		what  string
	}{{c.skipped, "passed nowhere"}, {c.absent, "ran nowhere"}} {
		if len(list.names) > 0 {
			all = append(all, fmt.Sprintf("%s: %s", list.what, strings.Join(list.names, ", ")))
		}
	}
	return all
}
