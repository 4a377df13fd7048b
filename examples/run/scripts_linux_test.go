package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ringfence-go/ringfence/sandbox"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// scripts is where the manual is: the tests of this command, one file for each topic.
const scripts = "../../testing/scripts"

// TestMain lets the test binary be the command too: a link to it by the name "run" is enough, so that
// nothing has to be built, and that the command runs under the race detector when its tests do.
func TestMain(m *testing.M) {
	syscall.Umask(0o022) // the scripts' files are read by other users too, when root runs them
	if filepath.Base(os.Args[0]) == "run" {
		main()
	}
	sandboxtest.Main(m, func() { _ = sandbox.ReleaseCgroups(context.Background()) })
}

// TestScripts runs the manual as a user.
func TestScripts(t *testing.T) { runScripts(t, scripts) }

// TestRootScripts runs it as root, who gets the same.
func TestRootScripts(t *testing.T) { runScripts(t, scripts) }

// TestHosts runs it on hosts that lack something. Only a user's can be made that way: root has more.
func TestHosts(t *testing.T) { runScripts(t, scripts+"/hosts") }

// TestToolchains compiles and runs programs in the sandbox, with the compilers that the machine has.
func TestToolchains(t *testing.T) { runScripts(t, scripts+"/toolchains") }

// TestSubordinateScripts needs subordinate IDs, which root mostly has none of.
func TestSubordinateScripts(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.SubordinateIDs())
	runScripts(t, scripts+"/ids")
}

// TestCgroupOfAUnit runs the command of the README that gets a cgroup from the user's systemd, as it stands there.
func TestCgroupOfAUnit(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.UserNamespaces(), sandboxtest.UserManager())
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, command, ok := strings.Cut(string(readme), "\n    systemd-run ")
	command, _, _ = strings.Cut(command, "\n")
	if !ok || !strings.Contains(command, "./run --memory 64M") {
		t.Fatalf("the README has no such command: %q", command)
	}
	cmd := exec.Command("sh", "-c", "systemd-run "+command)
	cmd.Dir = linkToSelf(t)
	if os.Getenv("XDG_RUNTIME_DIR") == "" {
		cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR=/run/user/"+strconv.Itoa(os.Getuid()))
	}
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "67108864\n" {
		t.Errorf("%s: %v\n%s", command, err, out)
	}
}

// TestCgroupScripts needs a cgroup that is the user's. What runs in the scripts is started in that of this
// process, which must not be where cgroups are made.
func TestCgroupScripts(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.CgroupV2())
	r, err := sandbox.Run(t.Context(), sandbox.Spec{Args: []string{"true"}, Cgroup: sandbox.CgroupOptions{Always: true, MoveCaller: true}})
	if err != nil || r.Err() != nil {
		t.Fatal(r, err)
	}
	runScripts(t, scripts+"/cgroups")
}

func runScripts(t *testing.T, dir string) {
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	bin := linkToSelf(t)
	testscript.Run(t, testscript.Params{
		Dir: dir,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"run":   scriptRun,
			"exits": scriptExits,
			"need":  scriptNeed,
		},
		RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("RUN", filepath.Join(bin, "run"))
			env.Setenv("PATH", bin+":"+os.Getenv("PATH"))
			// Who the command is inside, and whom it is outside.
			uid, gid := os.Getuid(), os.Getgid()
			if uid == 0 {
				uid, gid = 1000, 1000
			}
			env.Setenv("UID", strconv.Itoa(uid))
			env.Setenv("GID", strconv.Itoa(gid))
			if os.Getenv("GORACE") == "" {
				env.Setenv("GORACE", "atexit_sleep_ms=0") // every run would wait a second at its end
			}
			env.Values[values{}] = env.T()
			return nil
		},
	})
}

// linkToSelf returns a directory that holds this test binary as the command run: see TestMain.
func linkToSelf(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "run")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// values is the key of the test in the values of a script.
type values struct{}

// scriptRun is "run args...", which must succeed, or "! run args...", which must not.
func scriptRun(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec("run", args...)
	var exit *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &exit):
		ts.Fatalf("run: %v", err)
	case neg && err == nil:
		ts.Fatalf("run succeeded, and must not")
	case !neg && err != nil:
		ts.Fatalf("run: %v", err)
	}
}

// scriptExits is "exits code program args...": the program must exit with this code.
func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code program [args...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%s: %v", args[1], err)
	}
	if got != want {
		ts.Fatalf("%s exited with %d, want %d", args[1], got, want)
	}
}

// scriptNeed is "need program...": without one of them in the sandbox, the script is skipped. "need go"
// also sets GOROOT.
func scriptNeed(ts *testscript.TestScript, neg bool, args []string) {
	t, ok := ts.Value(values{}).(testing.TB)
	if neg || !ok {
		ts.Fatalf("usage: need program...")
	}
	for _, program := range args {
		if program != "go" {
			sandboxtest.Need(t, inside(program))
			continue
		}
		root, err := goroot()
		if err != nil {
			sandboxtest.Skip(t, "go", err.Error())
		}
		ts.Setenv("GOROOT", root)
	}
}

// inside is the requirement that a program is in one of the directories of the base system's PATH. The
// PATH of the tests may lead elsewhere, to what no sandbox sees.
func inside(program string) sandboxtest.Requirement {
	return sandboxtest.Requirement{Name: program, Check: func() error {
		for _, dir := range []string{"/usr/local/bin", "/usr/bin", "/bin"} {
			if _, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
				return nil
			}
		}
		return fmt.Errorf("%s is not in /usr", program)
	}}
}

// goroot returns where the Go tool chain is, if this user can read it.
func goroot() (string, error) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	root := strings.TrimSpace(string(out))
	_, err = os.Stat(filepath.Join(root, "bin", "go"))
	return root, err
}

// Every command of the README that runs this program does so with success, but for the one that shows a
// signal.
func TestReadmeCommands(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.UserNamespaces(), inside("python3"))
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	bin, dir := linkToSelf(t), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(readme)) {
		command, ok := strings.CutPrefix(line, "    go run ./examples/run ")
		if !ok {
			continue
		}
		n++
		cmd := exec.Command("sh", "-c", filepath.Join(bin, "run")+" "+command)
		cmd.Dir = dir // the repository may lie where this user cannot look
		cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
		out, err := cmd.CombinedOutput()
		killed := strings.Contains(command, "kill -9") && cmd.ProcessState.ExitCode() == 137
		if len(out) == 0 || err != nil && !killed {
			t.Errorf("%s%v\n%s", command, err, out)
		}
	}
	if n < 5 {
		t.Errorf("%d commands found", n)
	}
}
