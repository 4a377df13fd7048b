//go:build linux

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

// row is one of SECURITY.md's table.
type row struct {
	holds string
	tests []string
}

func rows(t *testing.T) []row {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Protections\n")
	section, _, _ = strings.Cut(section, "\n## ")
	_, section, _ = strings.Cut(section, "|---|---|---|\n")
	var all []row
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) < 3 {
			break
		}
		r := row{holds: strings.TrimSpace(cells[0])}
		for _, m := range regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(cells[len(cells)-1], -1) {
			r.tests = append(r.tests, m[1])
		}
		all = append(all, r)
	}
	if len(all) < 40 {
		t.Fatalf("%d rows", len(all))
	}
	return all
}

// A mutant that cannot be made shows nothing.
func TestMutantsCanBeMade(t *testing.T) {
	sources := map[string]string{} // of the tests of a folder
	for _, m := range tables() {
		if _, err := files(root, &m); err != nil {
			t.Error(err)
		}
		if _, err := regexp.Compile(m.says); err != nil || m.says == "" {
			t.Errorf("%v: says %q: %v", &m, m.says, err)
		}
		folder, test := m.name()
		if sources[folder] == "" {
			names, _ := filepath.Glob(filepath.Join(root, folder, "*_test.go"))
			for _, name := range names {
				src, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				sources[folder] += string(src)
			}
		}
		if !strings.Contains(sources[folder], "\nfunc "+test+"(") {
			t.Errorf("%v: there is no such test", &m)
		}
		if m.vm && !strings.Contains(test, "Cgroup") {
			t.Errorf("%v: it is not about cgroups", &m)
		}
	}
}

// fewestRows is how many rows had a mutant when this was written: a row may be new, and its tests say in their
// comments how they were seen to fail, but none loses its mutant unnoticed.
const fewestRows = 45

func TestRowsHaveMutants(t *testing.T) {
	left := map[string]bool{}
	for _, m := range tables() {
		_, test := m.name()
		left[test] = true
	}
	with := 0
	for _, r := range rows(t) {
		has := false
		for _, test := range r.tests {
			for _, m := range tables() {
				_, its := m.name()
				has = has || its == test
			}
			delete(left, test)
		}
		if has {
			with++
		} else {
			t.Logf("no mutant is without what holds: %s", r.holds)
		}
	}
	if with < fewestRows {
		t.Errorf("%d rows of SECURITY.md have mutants, fewer than %d", with, fewestRows)
	}
	for test := range left {
		t.Errorf("SECURITY.md does not name %s, which a mutant is for", test)
	}
}
