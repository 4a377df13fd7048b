package sandboxtest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSelectPasses(t *testing.T) {
	names := []string{"TestA", "TestB", "TestRootA", "TestRootB", "ExampleA", "FuzzA"}
	const bothRoots = "^(TestRootA|TestRootB)$"
	for _, test := range []struct {
		name       string
		names      []string
		run, bench string
		want       passes
	}{
		{"everything", names, "", "", passes{true, true, bothRoots}},
		{"one of the user's", names, "TestA", "", passes{true, false, "^()$"}},
		{"one of root's", names, "TestRootA", "", passes{false, true, "^(TestRootA)$"}},
		{"one of root's, anchored", names, "^TestRootB$", "", passes{false, true, "^(TestRootB)$"}},
		{"some of each", names, "A$", "", passes{true, true, "^(TestRootA)$"}},
		{"nothing", names, "nothing", "", passes{true, false, "^()$"}},
		{"nothing but benchmarks", names, "^$", ".", passes{true, false, "^()$"}},
		{"no test of root's", names[:2], "", "", passes{true, false, "^()$"}},
		{"a subtest", names, "TestA/x", "", passes{true, false, "TestA/x"}},
		{"a subtest of root's", names, "^TestRootA$/x", "", passes{false, true, "^TestRootA$/x"}},
		{"no names", nil, "", "", passes{true, true, "^TestRoot"}},
		{"no names, one of root's", nil, "TestRootA", "", passes{false, true, "TestRootA"}},
		{"no pattern", names, "(", "", passes{true, false, "("}},
	} {
		if got := selectPasses(test.names, test.names != nil, test.run, test.bench); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}

func TestAlsoSkip(t *testing.T) {
	if got := alsoSkip(""); got != "^TestRoot" {
		t.Error(got)
	}
	if got := alsoSkip("A/b"); got != "A/b|^TestRoot" {
		t.Error(got)
	}
}

func TestUserArgs(t *testing.T) {
	isBool := func(name string) bool { return name == "test.v" || name == "test.paniconexit0" }
	args := strings.Fields("-test.testlogfile=/root/log -test.paniconexit0 -test.timeout=10m -test.v -test.run X " +
		"--test.coverprofile=/root/c -test.cpuprofile /root/p -test.memprofilerate=1 -test.gocoverdir=/root/g " +
		"-test.trace=t -update a -test.outputdir=x")
	want := strings.Fields("-test.testlogfile=L -test.paniconexit0 -test.timeout=10m -test.v -test.run X " +
		"-test.memprofilerate=1 -update a -test.outputdir=x")
	isBoolToo := func(name string) bool { return isBool(name) || name == "update" }
	if got := userArgs(args, isBoolToo, "L"); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for _, args := range [][]string{nil, {"--", "-test.trace=x"}, {"-"}, {"-test.run"}} {
		if got := userArgs(args, isBool, "L"); !slices.Equal(got, args) {
			t.Errorf("%q became %q", args, got)
		}
	}
}

func TestUserEnv(t *testing.T) {
	got := userEnv([]string{"A=1", "HOME=/root", "GOCACHE=/root/c", "PATH=/bin", "TMPDIR=/t"}, "/h", "/u")
	if want := []string{"A=1", "PATH=/bin", "HOME=/h", "TMPDIR=/u"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestAppendTestlog(t *testing.T) {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "log")
	if err := appendTestlog(file, []byte(testlogHeader+"open a\n")); err != nil {
		t.Fatal(err)
	}
	if err := appendTestlog(file, []byte(testlogHeader+"getenv B\n")); err != nil {
		t.Fatal(err)
	}
	want := testlogHeader + "chdir " + dir + "\nopen a\nchdir " + dir + "\ngetenv B\n"
	if got, _ := os.ReadFile(file); string(got) != want {
		t.Errorf("%q, want %q", got, want)
	}
	if err := appendTestlog(file, []byte("other")); err == nil {
		t.Error("a log without its header was taken")
	}
}
