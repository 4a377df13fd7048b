package sandboxtest

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// UID and GID are whom Main runs tests as when root has started them. No entry in /etc/passwd is
// needed, and none is made: in a mount namespace of the tests' own they see one, and subordinate IDs, see
// SubordinateIDs. The number is out of the way of users, and of the subordinate ranges that distributions
// give out, which begin at 100000.
const (
	UID = 64321
	GID = 64321
)

// stageEnv tells a test binary of root's that it was started by Main.
const (
	stageEnv  = "RINGFENCE_SANDBOXTEST_STAGE"
	stageDrop = "drop:" // and the parent's process ID: become the user
	stageRoot = "root"  // a descendant of the pass as root: stay root
)

// Main runs the tests of m and exits. It is all that a TestMain needs.
//
// Started as root, it runs the tests twice: first all but those named TestRoot…, in a copy of the
// binary that runs as UID and GID, without supplementary groups and without any capability, with
// HOME and TMPDIR in fresh directories of that user's and in the same working directory; then those
// named TestRoot…, in this process. Either failing fails the binary. Started as a user, it runs all
// but TestRoot….
//
// Flags work as ever, with these exceptions for a binary that root has started: profiles, traces and
// coverage are those of the pass as root alone, since their files are root's; with -fuzz or -list
// there is one pass, as root.
//
// The working directory may be below one that the user cannot enter: relative names such as
// "testdata/x" still work, absolute ones do not. The user does not see root's caches: a test that
// runs the go command builds the standard library anew.
//
// The user's tests end with this process, also if it is killed.
//
// What is called after the tests is for CheckLeaks.
func Main(m *testing.M, after ...func()) { os.Exit(runMain(m, after)) }

func runMain(m *testing.M, after []func()) int {
	stage := os.Getenv(stageEnv)
	if os.Geteuid() != 0 {
		parseFlags()
		setFlag("test.skip", alsoSkip(flagValue("test.skip")))
		return CheckLeaks(m, after...)
	}
	if parent, ok := strings.CutPrefix(stage, stageDrop); ok {
		pid, _ := strconv.Atoi(parent)
		fmt.Fprintf(os.Stderr, "sandboxtest: become user %d: %v\n", UID, becomeUser(pid))
		return 2
	}
	parseFlags()
	if stage == stageRoot || flagValue("test.list") != "" || flagValue("test.fuzz") != "" || flagValue("test.fuzzworker") == "true" {
		return m.Run()
	}
	names, known := testNames(m)
	p := selectPasses(names, known, flagValue("test.run"), flagValue("test.bench"))
	var o outcome
	if p.user {
		o = userPass()
	}
	code := o.code
	if p.root && (code == 0 || flagValue("test.failfast") != "true") {
		os.Setenv(stageEnv, stageRoot)
		setFlag("test.run", p.rootRun)
		setFlag("test.bench", "")
		code = max(code, CheckLeaks(m, after...))
	}
	// Last, since package testing begins the file anew.
	if file := flagValue("test.testlogfile"); file != "" && o.testlog != nil {
		if err := appendTestlog(file, o.testlog); err != nil {
			fmt.Fprintf(os.Stderr, "sandboxtest: %v\n", err)
		}
	}
	return code
}

func parseFlags() {
	if !flag.Parsed() {
		flag.Parse()
	}
}

func flagValue(name string) string {
	if f := flag.Lookup(name); f != nil {
		return f.Value.String()
	}
	return ""
}

// setFlag sets a flag of package testing, all of which exist.
func setFlag(name, value string) {
	if err := flag.Set(name, value); err != nil {
		fmt.Fprintf(os.Stderr, "sandboxtest: set -%s: %v\n", name, err)
		os.Exit(2)
	}
}

func isBoolFlag(name string) bool {
	f := flag.Lookup(name)
	if f == nil {
		return false
	}
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}
