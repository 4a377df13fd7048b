package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// What SECURITY.md says of this repository is shown by tests that there are.
func TestEveryRowNamesTestsThatThereAre(t *testing.T) {
	facts, faults, err := find(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range faults {
		t.Error(fault)
	}
	if len(facts) < 150 {
		t.Errorf("%d facts only", len(facts))
	}
}

const security = `# Security

## Protections

| what holds | by what | shown by |
|---|---|---|
| one | x | ` + "`TestOne`, `FuzzTwo`" + ` |
| two | ` + "`TestNotCounted`" + ` | nobody |

## Known to be weaker

- ` + "`TestElsewhere`" + `
`

func repository(security string) fstest.MapFS {
	file := func(src string) *fstest.MapFile { return &fstest.MapFile{Data: []byte("package p\n" + src)} }
	return fstest.MapFS{
		"SECURITY.md":                   {Data: []byte(security)},
		"sandbox/facts_a_linux_test.go": file("func TestStated() {}\nfunc TestMain() {}\nfunc (x) TestMethod() {}\nfunc helper() {}"),
		"p/other_test.go":               file("func TestOne() {}\nfunc TestUnnamed() {}"),
		"p/one.go":                      file("func FuzzTwo() {}"),
		"sandbox/testdata/x_test.go":    file("func TestData() {}"),
		"p/facts_c_linux_test.go":       file("func TestFactsOfAnother() {}"),
		".hidden/facts_c_linux_test.go": file("func TestHidden() {}"),
	}
}

func TestTableIsHeldAgainstTheTests(t *testing.T) {
	facts, faults, err := find(repository(security))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"FuzzTwo", "TestOne", "TestStated"}; !slices.Equal(facts, want) {
		t.Errorf("facts %q, want %q", facts, want)
	}
	want := []string{"SECURITY.md: no test shows that two", "SECURITY.md names FuzzTwo: there is no such test"}
	if !slices.Equal(faults, want) {
		t.Errorf("faults %q, want %q", faults, want)
	}
	if _, faults, err = find(repository("# Security\n")); err != nil || len(faults) != 1 {
		t.Errorf("without a table: %q, %v", faults, err)
	}
}

func TestFactsAreCountedWhereTheyPassed(t *testing.T) {
	read := func(log string) verdicts {
		file := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(file, []byte(log), 0o600); err != nil {
			t.Fatal(err)
		}
		v := verdicts{}
		if err := v.read(file); err != nil {
			t.Fatal(err)
		}
		return v
	}
	here := read("=== RUN TestA\n--- PASS: TestA (0.00s)\n    --- PASS: TestB/sub (0.00s)\n--- SKIP: TestB (0.00s)\n" +
		"--- SKIP: TestC (0.00s)\nnoise--- PASS: TestD (0.10s)\r\n--- PASS: TestE (1s)\n--- SKIP: TestE (0s)\n" + strings.Repeat("x", 1<<20) + "\n")
	machine := read("--- PASS: TestB (0.10s)\r\n--- SKIP: TestA (0.00s)\n")
	c := count([]string{"TestA", "TestB", "TestC", "TestD", "TestE", "TestF"}, here, machine)
	if got, want := c.String(), "facts: 3 passed here, 1 in a machine, 1 skipped, 1 not run"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if want := []string{"passed nowhere: TestC", "ran nowhere: TestF"}; !slices.Equal(c.faults(), want) {
		t.Errorf("faults %q, want %q", c.faults(), want)
	}
	if err := (verdicts{}).read(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a log that is not there is no error")
	}
}

// run fails if anything is missing; here nothing ran.
func TestRunFailsIfNothingRan(t *testing.T) {
	t.Chdir("../..")
	log := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(log, []byte("--- PASS: TestPayloadHasNoPrivilege (0.00s)\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if ok, err := run(&out, log, nil); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	if got := out.String(); !strings.Contains(got, "facts: 1 passed here, 0 in a machine, 0 skipped, ") || !strings.Contains(got, "TestForeignABIsKill") {
		t.Error(got)
	}
}
