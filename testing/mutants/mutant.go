//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// mutant is the library without one of its protections.
type mutant struct {
	without string // the protection, in a few words
	edits   []edit
	test    string // that must fail, behind the folder of its package and a dot
	says    string // a regular expression for what it says then
	checked bool   // plan.Check stays
	alone   bool   // without that little else works as it should
	vm      bool   // it needs cgroup v2
}

// edit replaces a text that a file holds once.
type edit struct{ file, old, new string }

// unchecked lets every plan pass.
var unchecked = edit{"internal/plan/check.go", "if f := c.program(); f != nil {", "if f := c.program(); f != nil && f.Index < -1 {"}

func (m *mutant) String() string { return fmt.Sprintf("%s, without %s", m.test, m.without) }

// name returns the folder of the test's package, and the test.
func (m *mutant) name() (folder, test string) {
	folder, test, _ = strings.Cut(m.test, ".")
	return folder, test
}

// hangs reports whether the test may never end.
func (m *mutant) hangs() bool { return strings.Contains(m.says, "timed out") }

// goesWith reports whether a mutant can be one with others.
func (m *mutant) goesWith(root string, others []*mutant) bool {
	folder, _ := m.name()
	for _, other := range others {
		if its, _ := other.name(); m.alone || other.alone || its != folder || other.test == m.test || other.checked != m.checked {
			return false
		}
	}
	_, err := files(root, append([]*mutant{m}, others...)...)
	return err == nil
}

// files returns the files that differ from those below root without what the mutants lack, by their names.
func files(root string, mutants ...*mutant) (map[string]string, error) {
	changed := map[string]string{}
	for i, m := range mutants {
		edits := m.edits
		if i == 0 && !m.checked {
			edits = append([]edit{unchecked}, edits...)
		}
		for _, e := range edits {
			text, ok := changed[e.file]
			if !ok {
				b, err := os.ReadFile(filepath.Join(root, e.file))
				if err != nil {
					return nil, err
				}
				text = string(b)
			}
			if n := strings.Count(text, e.old); n != 1 {
				return nil, fmt.Errorf("%v: %s holds %q %d times, not once", m, e.file, e.old, n)
			}
			changed[e.file] = strings.Replace(text, e.old, e.new, 1)
		}
	}
	return changed, nil
}

// tables are the mutants, in the order of SECURITY.md.
func tables() []mutant {
	var all []mutant
	for _, t := range [][]mutant{hosts, terminals, identities, trees, privileges, processes, cgroups} {
		all = append(all, t...)
	}
	return all
}
