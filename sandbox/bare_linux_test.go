package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/seccomp"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// The life of a sandbox without user namespaces, and how a program comes to one.

func init() {
	callers["bare"] = func() error { return callBare(context.Background()) }
	callers["filtered bare"] = func() error { return behindFilter("bare") }
	callers["bare loop"] = func() error {
		fmt.Println("looping")
		for {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
			_, err := Run(ctx, Spec{Args: []string{"sh", "-c", strayScript, os.Getenv(markerEnv)}, AllowMissing: bareFeatures})
			cancel()
			if u := (*UnsupportedError)(nil); errors.As(err, &u) {
				return err
			}
		}
	}
}

// strayScript starts what wants to stay, and stays.
const strayScript = "(sh -c 'while :; do sleep 1000; done' \"$0\" &); (setsid sh -c 'sleep 1000; :' \"$0\" &); trap '' TERM HUP IO; (while :; do sleep 1000; done) & wait"

// told by a caller without user namespaces.
type bareTold struct {
	Out              string
	Enforced         []Enforcement
	Missing          []Feature
	Refused, Partial string // errors
}

// callBare runs a command three times: with everything in AllowMissing, with nothing, and with one feature.
func callBare(ctx context.Context) error {
	var out bytes.Buffer
	spec := Spec{Args: []string{"sh", "-c", "id -u; cat " + os.Getenv(markerEnv) + " || echo refused; kill -9 $PPID || echo refused"}, Stdout: &out}
	_, refused := Run(ctx, spec)
	spec.AllowMissing = []Feature{UserNamespace, MountNamespace}
	_, partial := Run(ctx, spec)
	spec.AllowMissing = bareFeatures
	r, err := Run(ctx, spec)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(bareTold{out.String(), r.Enforced, r.Missing, fmt.Sprint(refused), fmt.Sprint(partial)})
}

// withoutUserNamespaces makes a command run where the kernel gives no user namespaces: in one whose own sysctl says
// that there may be none below it. It has the caller's own ID there, or for root all, and no capability but those of root.
func withoutUserNamespaces(cmd *exec.Cmd) {
	uid, gid := os.Getuid(), os.Getgid()
	size := 1
	if uid == 0 {
		size = 1 << 16
	}
	// The first shell is root of the namespace; who runs as another ID has written no sysctl.
	cmd.Args = []string{"sh", "-c", `echo 0 >/proc/sys/user/max_user_namespaces && exec "$0"`, cmd.Path}
	cmd.Path, _ = exec.LookPath("sh") // which every host has
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:                 syscall.CLONE_NEWUSER,
		UidMappings:                []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: size}},
		GidMappings:                []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: size}},
		GidMappingsEnableSetgroups: uid == 0,
		AmbientCaps:                []uintptr{unix.CAP_SYS_RESOURCE},
	}
}

func bareCaller(t testing.TB, file string) bareTold {
	t.Helper()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	bareHost(t, 0)
	cmd := caller(t, "bare")
	cmd.Env = append(cmd.Env, markerEnv+"="+file)
	withoutUserNamespaces(cmd)
	var got bareTold
	if err := json.Unmarshal(output(t, cmd), &got); err != nil {
		t.Fatal(err)
	}
	return got
}

// The kernel has really no user namespaces to give. The control is that the file can be read outside, and that the
// Specs which do not list everything are refused.
func TestWithoutUserNamespacesLandlockHoldsTheCommand(t *testing.T) {
	file, _ := hostSecret(t)
	got := bareCaller(t, file)
	if want := fmt.Sprintf("%d\nrefused\nrefused\n", os.Getuid()); got.Out != want {
		t.Errorf("%q, want %q", got.Out, want)
	}
	checkBareTold(t, got, "max_user_namespaces")
}

// Docker's own profile refuses namespaces, and hides clone3: the control is that what does not list everything is
// refused.
func TestWithoutUserNamespacesDockersOwnProfileIsEnough(t *testing.T) {
	file, _ := hostSecret(t)
	bareHost(t, 0)
	var got bareTold
	if err := json.Unmarshal(behind(t, "filtered bare", "docker", lackingRun{}, markerEnv+"="+file), &got); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(got.Out, "\nrefused\nrefused\n") {
		t.Errorf("%q", got.Out)
	}
	checkBareTold(t, got, "seccomp")
}

func TestRootWithoutUserNamespacesTheCommandIsSomebodyElse(t *testing.T) {
	file, _ := hostSecret(t)
	got := bareCaller(t, file)
	if uid, _, _ := strings.Cut(got.Out, "\n"); uid == "0" || !strings.HasSuffix(got.Out, "\nrefused\nrefused\n") {
		t.Errorf("%q", got.Out)
	}
	checkBareTold(t, got, "max_user_namespaces")
}

// checkBareTold checks what such a caller tells, whose Spec without AllowMissing is refused for cause.
func checkBareTold(t *testing.T, got bareTold, cause string) {
	t.Helper()
	if !slices.Equal(got.Missing, bareFeatures) {
		t.Errorf("missing %v", got.Missing)
	}
	by := map[Feature]string{}
	for _, e := range got.Enforced {
		by[e.Feature] = e.By
	}
	for _, f := range []Feature{Landlock, ProcessGroup, NoNewPrivs, SeccompBPF, Capabilities} {
		if by[f] == "" {
			t.Errorf("%s is not enforced: %v", f, got.Enforced)
		}
	}
	if !strings.HasPrefix(by[Landlock], "landlock ABI ") || by[UserNamespace] != "" {
		t.Errorf("%v", got.Enforced)
	}
	if !strings.Contains(got.Refused, cause) || strings.Contains(got.Refused, "AllowMissing") {
		t.Errorf("refused with %q", got.Refused)
	}
	for _, f := range bareFeatures[2:] {
		if !strings.Contains(got.Partial, string(f)) {
			t.Errorf("that %s must be listed is not told: %q", f, got.Partial)
		}
	}
}

func TestWithoutUserNamespacesAKilledCallerLeavesNothing(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	bareHost(t, 0)
	killCallersAs(t, "bare loop", withoutUserNamespaces)
}

// Seen to fail without the pipe of the guard (Wait never returned), and with setsid allowed.
func TestWithoutNamespacesNothingOutlivesTheCommand(t *testing.T) {
	for name, end := range map[string]func(c *Cmd, started io.Reader){
		"by itself": nil,
		"killed":    func(c *Cmd, _ io.Reader) { _ = c.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			marker := fmt.Sprintf("bare-%d-%s", os.Getpid(), name)
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			script := "for i in 1 2 3; do (sh -c 'echo; trap \"\" TERM HUP IO; while :; do sleep 1000; done' \"$0\" &); done"
			script += "; (setsid sh -c 'echo; sleep 1000; :' \"$0\" 2>/dev/null || echo) &"
			if end != nil {
				script += " wait; sleep 1000"
			}
			c := bareCommand(t, 0, Spec{Args: []string{"sh", "-c", "echo; " + script, marker}, Stdout: w})
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			w.Close()
			if end != nil {
				if _, err := io.ReadFull(r, make([]byte, 5)); err != nil { // all are there
					t.Fatal(err)
				}
				if left := strays(marker); len(left) < 4 {
					t.Errorf("they cannot be seen: %q", left)
				}
				end(c, r)
			}
			if _, err := c.Wait(); err != nil {
				t.Fatal(err)
			}
			if left := strays(marker); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
		})
	}
}

// Who forks without end is killed with all that it has made. Seen to fail when the guard kills the command alone.
func TestWithoutNamespacesATimeLimitEndsWhoForks(t *testing.T) {
	marker := fmt.Sprintf("fork-%d", os.Getpid())
	r := runBare(t, 0, Spec{Args: []string{"sh", "-c", `while :; do (sh -c 'sleep 1000' "$0" &); done`, marker},
		Limits: Limits{WallTime: sandboxtest.Slow(200 * time.Millisecond)}})
	if r.Ended != TimedOut {
		t.Error(r)
	}
	if left := strays(marker); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// The end is the command's own, whatever the others do.
func TestWithoutNamespacesAnEndIsTheCommandsOwn(t *testing.T) {
	for script, want := range map[string]string{
		"exit 7": "exit status 7", "(sleep 1000 &) ; exit 3": "exit status 3", "kill -TERM 0": "signal: terminated",
		"(kill -TERM 0) ; exit 3": "signal: terminated",
	} {
		if r := runBare(t, 0, Spec{Args: []string{"sh", "-c", script}}); r.String() != want {
			t.Errorf("%s: %v, want %s", script, r, want)
		}
	}
	r := runBare(t, 0, Spec{Args: []string{"sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"}})
	if r.Usage.User+r.Usage.System <= 0 || r.Usage.MemoryPeak <= 0 {
		t.Errorf("usage %+v", r.Usage)
	}
	_, err := Run(t.Context(), Spec{Args: []string{"no-such-command"}})
	c := bareCommand(t, 0, Spec{Args: []string{"no-such-command"}})
	if bareErr := c.Start(); !errors.Is(bareErr, ErrNotFound) || errors.Is(err, ErrNotFound) && bareErr.Error() != err.Error() {
		t.Errorf("%v, and with namespaces %v", bareErr, err)
	}
}

// Orphans are reaped while the command runs.
func TestWithoutNamespacesOrphansAreReaped(t *testing.T) {
	in, stdin := io.Pipe()
	out, stdout := io.Pipe()
	c := bareCommand(t, 0, Spec{Args: []string{"sh", "-c", "for i in 1 2 3 4 5 6 7 8; do (true &); done; echo; read x"}, Stdin: in, Stdout: stdout})
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	guard, err := parentOf(c.Pid())
	if err != nil {
		t.Fatal(err)
	}
	reaper, err := parentOf(guard)
	if err != nil {
		t.Fatal(err)
	}
	var children []byte
	if !eventually(5*time.Second, func() bool {
		if children, err = os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", reaper, reaper)); err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(children)) == strconv.Itoa(guard)
	}) {
		t.Fatalf("children of the reaper: %s, the guard is %d", children, guard)
	}
	if err := c.SignalAll(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	stdin.Close()
	if r, err := c.Wait(); err != nil || r.Signal != syscall.SIGTERM {
		t.Errorf("%v, %v", r, err)
	}
}

// A policy of the Spec takes more away, and gives nothing back.
func TestWithoutNamespacesAPolicyGivesNothingBack(t *testing.T) {
	got := insideBare(t, 0, func(s *Spec) {
		noFilter(s)
		s.Seccomp.Rules = []seccomp.Rule{{Names: []string{"getpriority"}, Action: seccomp.Errno(uint16(unix.EBADMSG))}}
	}, "setsid:", "chmod:/tmp", "socket:1,1,0", "call:getpriority")
	got.want("setsid:", "EPERM")
	got.want("chmod:/tmp", "EPERM")
	got.want("socket:1,1,0", "EACCES")
	if r := runBare(t, 0, Spec{Args: []string{"sh", "-c", "kill -0 $$ || exit 7"}, Seccomp: &seccomp.Policy{
		Default: seccomp.Allow, Rules: []seccomp.Rule{{Names: []string{"kill"}, Action: seccomp.Errno(uint16(unix.EPERM))}},
	}}); r.ExitCode != 7 {
		t.Errorf("%v: the policy of the Spec is not loaded", r)
	}
}
