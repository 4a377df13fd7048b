package sandboxtest

import (
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// rootPrefix begins the names of the tests that are about a caller that is root.
const rootPrefix = "TestRoot"

// testNames returns the names of the tests, fuzz targets and examples of m, and whether they could be
// found. Package testing has no way to ask, so this reads unexported fields; where they have changed,
// selectPasses decides without the names.
func testNames(m *testing.M) (names []string, ok bool) {
	v := reflect.ValueOf(m).Elem()
	for _, field := range []string{"tests", "fuzzTargets", "examples"} {
		list := v.FieldByName(field)
		if list.Kind() != reflect.Slice {
			return nil, false
		}
		for i := range list.Len() {
			name := list.Index(i)
			if name.Kind() == reflect.Struct {
				name = name.FieldByName("Name")
			}
			if name.Kind() != reflect.String {
				return nil, false
			}
			names = append(names, name.String())
		}
	}
	return names, true
}

// passes says how often a test binary that root has started runs its tests, and as whom.
type passes struct {
	user    bool   // without privilege, all but TestRoot…
	root    bool   // as root, TestRoot… only
	rootRun string // the value of -test.run in the pass as root
}

// selectPasses decides from the names of the tests, if known, and the values of -test.run and
// -test.bench. A pass in which nothing would run is left out, since it would print that there is
// nothing to run.
func selectPasses(names []string, known bool, run, bench string) passes {
	p := passes{root: strings.HasPrefix(strings.TrimPrefix(run, "^"), rootPrefix), rootRun: run}
	p.user = !p.root || bench != ""
	pattern, err := regexp.Compile(run)
	if err != nil || !known || strings.Contains(run, "/") {
		// With a slash the pattern is one of subtests, which only package testing takes apart.
		if run == "" {
			p.root, p.rootRun = true, "^"+rootPrefix
		}
		return p
	}
	var roots []string
	p.user = bench != ""
	for _, name := range names {
		switch {
		case !pattern.MatchString(name):
		case strings.HasPrefix(name, rootPrefix):
			roots = append(roots, name)
		default:
			p.user = true
		}
	}
	p.root = len(roots) > 0
	p.rootRun = "^(" + strings.Join(roots, "|") + ")$"
	p.user = p.user || !p.root // let package testing say that there is nothing to run
	return p
}

// alsoSkip returns the value of -test.skip that skips TestRoot… beside what skip does: package
// testing takes alternatives apart before it looks for slashes.
func alsoSkip(skip string) string {
	if skip == "" {
		return "^" + rootPrefix
	}
	return skip + "|^" + rootPrefix
}

// userArgs returns the arguments for the pass without privilege: args without the flags that name
// files in a directory of root's, and with testlog as the file where package testing notes which
// files and variables the tests looked at. isBool says whether a flag takes no value.
func userArgs(args []string, isBool func(name string) bool, testlog string) []string {
	var kept []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		name, _, hasValue := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-"), "=")
		if len(arg) < 2 || arg[0] != '-' || arg == "--" {
			kept = append(kept, args[i:]...) // package flag stops here too
			break
		}
		group := args[i : i+1]
		if !hasValue && !isBool(name) && i+1 < len(args) {
			i++
			group = args[i-1 : i+1]
		}
		switch {
		case name == "test.testlogfile":
			kept = append(kept, "-test.testlogfile="+testlog)
		case namesFile(name):
		default:
			kept = append(kept, group...)
		}
	}
	return kept
}

func namesFile(flag string) bool {
	switch flag {
	case "test.gocoverdir", "test.outputdir", "test.trace", "test.fuzzcachedir":
		return true
	}
	return strings.HasPrefix(flag, "test.") && strings.HasSuffix(flag, "profile")
}

// userEnv returns the environment for the pass without privilege: env without the variables that
// name root's own directories, and with those of the user.
func userEnv(env []string, home, tmp string) []string {
	var kept []string
	for _, e := range env {
		switch name, _, _ := strings.Cut(e, "="); name {
		case "HOME", "TMPDIR", "USER", "LOGNAME", "MAIL",
			"XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR",
			"GOPATH", "GOCACHE", "GOMODCACHE", "GOTMPDIR", "GOENV", "GOBIN", "GOCOVERDIR":
		default:
			kept = append(kept, e)
		}
	}
	return append(kept, "HOME="+home, "TMPDIR="+tmp)
}
