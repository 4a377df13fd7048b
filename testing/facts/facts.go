package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"regexp"
	"slices"
	"strings"
)

// factsOfSandboxes begins the names of the files whose tests are facts.
const factsOfSandboxes = "sandbox/facts_"

// testName is the name of a test or a fuzz target as SECURITY.md writes it.
var testName = regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w*)`")

// find returns the names of the facts of a repository, and what is wrong with the table. A fact is a test
// that the table names, and every test of sandbox/facts_….
func find(repository fs.FS) (facts, faults []string, err error) {
	text, err := fs.ReadFile(repository, "SECURITY.md")
	if err != nil {
		return nil, nil, err
	}
	named, faults := table(string(text))
	there, stated, err := tests(repository)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range named {
		if !there[name] {
			faults = append(faults, "SECURITY.md names "+name+": there is no such test")
		}
	}
	facts = append(named, stated...)
	slices.Sort(facts)
	return slices.Compact(facts), faults, nil
}

// table returns the tests that the table of protections names.
func table(security string) (named, faults []string) {
	_, section, _ := strings.Cut(security, "\n## Protections\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for line := range strings.Lines(section) {
		row := strings.Split(strings.TrimSpace(line), "|")
		if len(row) < 5 || strings.HasPrefix(row[1], "---") || strings.TrimSpace(row[1]) == "what holds" {
			continue
		}
		shown := testName.FindAllStringSubmatch(row[len(row)-2], -1)
		if len(shown) == 0 {
			faults = append(faults, fmt.Sprintf("SECURITY.md: no test shows that %s", strings.TrimSpace(row[1])))
		}
		for _, s := range shown {
			named = append(named, s[1])
		}
	}
	if len(named) == 0 {
		faults = append(faults, "SECURITY.md: there is no table of protections")
	}
	return named, faults
}

// tests returns the names of all tests of a repository, and those of sandbox/facts_….
func tests(repository fs.FS) (all map[string]bool, stated []string, err error) {
	all = map[string]bool{}
	err = fs.WalkDir(repository, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, "_test.go"):
			return nil
		}
		src, err := fs.ReadFile(repository, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !testName.MatchString("`"+f.Name.Name+"`") || f.Name.Name == "TestMain" {
				continue
			}
			all[f.Name.Name] = true
			if strings.HasPrefix(name, factsOfSandboxes) {
				stated = append(stated, f.Name.Name)
			}
		}
		return nil
	})
	return all, stated, err
}
