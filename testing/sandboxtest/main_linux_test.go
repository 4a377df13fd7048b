package sandboxtest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The tests named …Inner are run by others in this file, in a process of their own, which tells them
// in this variable what to do.
const innerEnv = "RINGFENCE_SANDBOXTEST_INNER"

func TestRunsUnprivileged(t *testing.T) {
	if os.Getuid() == 0 || os.Geteuid() == 0 || os.Getegid() == 0 {
		t.Error("runs as root")
	}
	if os.Getuid() != UID {
		return // started by a user: the rest is the user's own affair
	}
	if groups, err := os.Getgroups(); err != nil || len(groups) > 0 && !slices.Equal(groups, []int{GID}) {
		t.Errorf("supplementary groups %v, %v", groups, err)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapAmb"} {
		if !strings.Contains(string(status), set+":\t0000000000000000\n") {
			t.Errorf("%s is not empty", set)
		}
	}
}

func TestIsAsDumpableAsAnyProcess(t *testing.T) {
	got, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil || got != 1 {
		t.Errorf("PR_GET_DUMPABLE is %d, %v, want 1", got, err)
	}
}

func TestHasItsOwnDirectories(t *testing.T) {
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	dirs := []string{os.TempDir()}
	if os.Getuid() == UID {
		dirs = append(dirs, home)
	}
	for _, dir := range dirs {
		f, err := os.CreateTemp(dir, "x")
		if err != nil {
			t.Error(err)
			continue
		}
		f.Close()
		os.Remove(f.Name())
	}
}

func TestReadsTestdataByRelativeName(t *testing.T) {
	if data, err := os.ReadFile("testdata/hello.txt"); err != nil || !strings.HasPrefix(string(data), "a file") {
		t.Errorf("%q, %v", data, err)
	}
}

func TestStartsItselfAgain(t *testing.T) {
	out, err := exec.Command(os.Args[0], "-test.run=^TestInner$", "-test.v").CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("PASS: TestInner")) {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestRootRunsAsRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Errorf("effective user ID %d", os.Geteuid())
	}
}

func TestInner(t *testing.T) {
	fmt.Printf("INNER uid %d\n", os.Getuid())
	switch os.Getenv(innerEnv) {
	case "fail":
		t.Error("told to")
	case "leak":
		if _, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			t.Error(err)
		}
	case "hang":
		fmt.Println("hanging")
		time.Sleep(time.Hour)
	case "testdata":
		TestReadsTestdataByRelativeName(t)
	}
}

func TestRootInner(t *testing.T) {
	fmt.Printf("INNER uid %d\n", os.Getuid())
	if os.Getenv(innerEnv) == "fail root" {
		t.Error("told to")
	}
}

// inner returns a command that runs this binary as root starts it, in which only the …Inner tests run.
func inner(t *testing.T, do string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{"-test.v", "-test.run=Inner$"}, args...)...)
	// A race detector waits a second at its end by default.
	cmd.Env = append(os.Environ(), stageEnv+"=", innerEnv+"="+do, "GORACE=atexit_sleep_ms=0")
	return cmd
}

func TestRootPasses(t *testing.T) {
	user, root := fmt.Sprintf("INNER uid %d\n", UID), "INNER uid 0\n"
	profile := filepath.Join(t.TempDir(), "cpu")
	for _, test := range []struct {
		do   string
		args []string
		code int
		want []string
		not  []string
	}{
		{do: "", want: []string{user, root}},
		{do: "fail", code: 1, want: []string{user, root, "FAIL: TestInner"}},
		{do: "fail root", code: 1, want: []string{user, root, "FAIL: TestRootInner"}},
		{do: "leak", code: 1, want: []string{user, "left descriptor", ": /dev/null"}},
		{do: "fail", args: []string{"-test.failfast"}, code: 1, not: []string{root}},
		{do: "", args: []string{"-test.run=^TestInner$"}, want: []string{user}, not: []string{root}},
		{do: "", args: []string{"-test.run=^TestRootInner$"}, want: []string{root}, not: []string{user}},
		{do: "", args: []string{"-test.skip=^TestInner$"}, want: []string{root}, not: []string{user}},
		{do: "", args: []string{"-test.list=.*"}, want: []string{"TestRootInner\n", "TestInner\n"}, not: []string{user, root}},
		{do: "", args: []string{"-test.cpuprofile=" + profile, "-test.count=2"}, want: []string{user, root}},
		{do: "hang", args: []string{"-test.timeout=1s"}, code: 2, want: []string{"test timed out after 1s"}},
	} {
		t.Run(fmt.Sprint(test.do, test.args), func(t *testing.T) {
			cmd := inner(t, test.do, test.args...)
			out, _ := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			for _, want := range test.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("no %q", want)
				}
			}
			for _, not := range test.not {
				if strings.Contains(string(out), not) {
					t.Errorf("there is %q", not)
				}
			}
			if t.Failed() {
				t.Logf("%s", out)
			}
		})
	}
}

func TestRootWorkingDirectoryMayBeOutOfReach(t *testing.T) {
	closed := filepath.Join(t.TempDir(), "closed")
	dir := filepath.Join(closed, "package")
	if err := os.MkdirAll(filepath.Join(dir, "testdata"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "testdata/hello.txt"), []byte("a file"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := inner(t, "testdata")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestRootNotesWhatTheUsersTestsLookedAt(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	if out, err := inner(t, "testdata", "-test.testlogfile="+log).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{testlogHeader, "getenv " + innerEnv + "\n", "open testdata/hello.txt\n"} {
		if !strings.Contains(string(data), want) {
			t.Errorf("no %q in %q", want, data)
		}
	}
}

// start starts the inner test that hangs and returns once it does, with the rest of its output.
func start(t *testing.T, tmp string) (*exec.Cmd, io.Reader) {
	cmd := inner(t, "hang", "-test.run=^TestInner$")
	cmd.Env = append(cmd.Env, "TMPDIR="+tmp)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("%q, %v", line, err)
		}
		if line == "hanging\n" {
			return cmd, lines
		}
	}
}

func TestRootUsersTestsEndWithTheirParent(t *testing.T) {
	// The directory of the test is root's alone, the user needs one to reach.
	tmp, err := os.MkdirTemp("/tmp", "sandboxtest-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		t.Fatal(err)
	}

	cmd, out := start(t, tmp)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, out); err != nil { // ends when the last process that holds the pipe does
		t.Error(err)
	}
	_ = cmd.Wait() // killed

	cmd, out = start(t, tmp)
	left, _ := filepath.Glob(tmp + "/*")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 2 {
		t.Errorf("ended by SIGTERM: %v", err)
	}
	// What the killed one left is there; what the other one had is not.
	if now, _ := filepath.Glob(tmp + "/*"); len(left) != 2 || len(now) != 1 {
		t.Errorf("%q while it ran, %q afterwards", left, now)
	}
}
