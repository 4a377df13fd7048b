package sandbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/idmap"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// Facts about the programs that map a range for a caller without privilege: when they fail, the start does,
// with the cause, and nothing is left.

// pretendSubordinates is what a host that does not exist sets aside for its user.
func pretendSubordinates() (uids, gids []idmap.Subrange, err error) {
	all := []idmap.Subrange{{HostID: 100000, Size: 65536}}
	return all, all, nil
}

// badHelper puts a script in the place of newuidmap.
func badHelper(t *testing.T, script string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "newuidmap"), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return dir
}

func TestMapsThatFailAreToldWithTheirCause(t *testing.T) {
	r := reserve(t, 10)
	spec := Spec{Args: []string{"true"}, UIDs: r.UIDs, GIDs: r.GIDs}
	for _, test := range []struct {
		script string
		cause  error // nil: the host can, only not this time
		remedy string
	}{
		{"echo 'newuidmap: write to uid_map failed: Operation not permitted' >&2; exit 1", idmap.ErrNoPrivilege, "chmod u+s "},
		{"echo 'newuidmap: uid range [0-10) -> [1000000-1000010) not allowed' >&2; exit 1", idmap.ErrNotSubordinate, "subordinate IDs"},
		{"echo 'newuidmap: Cannot determine your user name.' >&2; exit 1", idmap.ErrNoSubordinate, "/etc/passwd"},
		{"kill -KILL $$", idmap.ErrNoPrivilege, "chmod u+s "}, // it cannot work either way
	} {
		badHelper(t, test.script)
		result, err := Run(t.Context(), spec)
		var u *UnsupportedError
		if result != nil || !errors.As(err, &u) || u.Feature != IDMap || !errors.Is(err, test.cause) || !strings.Contains(u.Remedy, test.remedy) {
			t.Errorf("%s: %v", test.script, err)
			continue
		}
		if strings.Count(err.Error(), u.Remedy) != 1 {
			t.Errorf("the remedy is told more than once: %v", err)
		}
	}
}

func TestMapThatIsNotWrittenStartsNothing(t *testing.T) {
	r := reserve(t, 10)
	badHelper(t, "exit 0") // and says that all is well
	result, err := Run(t.Context(), Spec{Args: []string{"true"}, UIDs: r.UIDs, GIDs: r.GIDs})
	var op *OpError
	if result != nil || !errors.As(err, &op) {
		t.Errorf("%v, %v", result, err)
	}
}

func TestCancelEndsAStartThatWaitsForItsMaps(t *testing.T) {
	r := reserve(t, 10)
	dir := badHelper(t, "cd ${0%/*}; echo >ready; exec sleep 1000")
	ready := filepath.Join(dir, "ready")
	if err := unix.Mkfifo(ready, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := Run(ctx, Spec{Args: []string{"true"}, UIDs: r.UIDs, GIDs: r.GIDs})
		done <- err
	}()
	if _, err := os.ReadFile(ready); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestNothingSetAsideIsToldBeforeAnythingStarts(t *testing.T) {
	t.Parallel()
	spec := Spec{Args: []string{"true"}, UIDs: idmap.Map{{ContainerID: 0, HostID: 100000, Size: 10}}, GIDs: idmap.Single(0, os.Getgid())}
	compile := func(uids, gids []idmap.Subrange, err error) error {
		host := pretendHost("amd64", os.Getuid())
		host.ofCaller = func() ([]idmap.Subrange, []idmap.Subrange, error) { return uids, gids, err }
		_, err = Compile(spec, host)
		return err
	}
	var u *UnsupportedError
	if err := compile(nil, nil, nil); !errors.As(err, &u) || u.Feature != IDMap || !errors.Is(err, idmap.ErrNoSubordinate) || !strings.Contains(u.Remedy, "usermod --add-subuids") {
		t.Errorf("no entry: %v", err)
	}
	line := &idmap.LineError{Line: 7, Text: "x", Reason: "bad"}
	if err := compile(nil, nil, line); !errors.As(err, &u) || u.Feature != IDMap || !errors.Is(err, line) || !strings.Contains(err.Error(), "line 7") {
		t.Errorf("a bad line: %v", err)
	}
	if err := compile([]idmap.Subrange{{HostID: 100005, Size: 50}}, nil, nil); !errors.As(err, &u) || !errors.Is(err, idmap.ErrNotSubordinate) || !strings.Contains(err.Error(), "UIDs[0]") {
		t.Errorf("another range: %v", err)
	}
	if err := compile([]idmap.Subrange{{HostID: 100005, Size: 50}, {HostID: 99000, Size: 1010}}, nil, nil); err != nil {
		t.Errorf("the control: %v", err)
	}
}

func TestIDsThatTheCallersNamespaceLacksAreTold(t *testing.T) {
	t.Parallel()
	spec := Spec{Args: []string{"true"}, UIDs: idmap.Map{{ContainerID: 0, HostID: 100000, Size: 10}}, GIDs: idmap.Map{{ContainerID: 0, HostID: 100000, Size: 10}}}
	for _, uid := range []int{0, 1000} {
		for ranges, there := range map[string]bool{"0 0 4294967295": true, "0 0 65536": false, "0 0 65536\n65536 700000 34465": false, "0 0 65536\n100000 700000 10": true} {
			host := pretendHost("amd64", uid)
			host.facts.Caller.GIDRanges = ranges + "\n"
			_, err := Compile(spec, host)
			var u *UnsupportedError
			if there && err != nil || !there && (!errors.As(err, &u) || u.Feature != IDMap || !strings.Contains(u.Needs, "GIDs[0]") || !strings.Contains(u.Remedy, "gid_map")) {
				t.Errorf("user %d, %q: %v", uid, ranges, err)
			}
		}
	}
}

// callRange starts a sandbox with a range of IDs, tells of it and waits.
func callRange() error {
	r, err := idmap.Auto(100)
	if err != nil {
		return err
	}
	c := Command(context.Background(), Spec{Args: []string{"sh", "-c", "setsid sleep 1000 & trap '' TERM HUP IO; echo up; wait", os.Getenv(markerEnv)},
		UIDs: r.UIDs, GIDs: r.GIDs, User: &User{UID: 5, GID: 5}})
	out, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		return err
	}
	fmt.Println(r.UIDs[0].HostID)
	_, err = c.Wait()
	return err
}

func init() { callers["range"] = callRange }

func TestSandboxWithARangeEndsWithItsCaller(t *testing.T) {
	free := reserve(t, 100)
	marker := fmt.Sprintf("marker-range-%d", os.Getpid())
	cmd := caller(t, "range")
	cmd.Env = append(cmd.Env, markerEnv+"="+marker)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	first, err := strconv.Atoi(strings.TrimSpace(line))
	if _, taken := free.UIDs.ContainerID(first); err != nil || taken {
		t.Errorf("%q: %v, or ours", line, err)
	}
	if len(strays(marker)) == 0 {
		t.Error("the control: nothing runs")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	var left []string
	if !eventually(5*time.Second, func() bool { left = strays(marker); return len(left) == 0 }) {
		t.Errorf("%q is left", left)
	}
}

// TestInnerGroups is a part of the test below: a caller with supplementary groups.
func TestInnerGroups(t *testing.T) {
	if os.Getenv("RINGFENCE_TEST_GROUPS") == "" {
		return
	}
	fmt.Println("caller:", outside(t, "ids").of("ids").Detail)
	r := reserve(t, 10)
	fmt.Println("range:", inside(t, withIDs(r, nil), "ids").of("ids").Detail)
	fmt.Println("own:", inside(t, nil, "ids").of("ids").Detail)
}

func TestRootCallersGroupsAreDroppedInARange(t *testing.T) {
	for _, program := range []string{"unshare", "setpriv", "newuidmap"} {
		sandboxtest.Need(t, sandboxtest.Requirement{Name: program, Check: func() error { _, err := exec.LookPath(program); return err }})
	}
	dir, err := os.MkdirTemp("/var/tmp", "groups-") // where the user can look, too
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	const script = `set -e; cd "$1"; chmod 755 .; mkdir etc; mkdir -m 700 tmp; chown $3:$3 tmp; cp "$2" sandbox.test; chmod 755 sandbox.test
		echo "someone:x:$3:$3::/:/bin/sh" >etc/passwd; echo someone:100000:65536 | tee etc/subuid >etc/subgid
		for f in passwd subuid subgid; do mount --bind etc/$f /etc/$f; done
		TMPDIR=$1/tmp RINGFENCE_TEST_GROUPS=1 GORACE=atexit_sleep_ms=0 exec setpriv --reuid=$3 --regid=$3 --groups=$3,4242 "$1/sandbox.test" -test.run='^TestInnerGroups$' -test.v`
	out, err := exec.Command("unshare", "--mount", "sh", "-c", script, "sh", dir, os.Args[0], strconv.Itoa(sandboxtest.UID)).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		fmt.Sprintf("groups [4242 %d]\n", sandboxtest.UID), // the control
		"range: uid 0 0 0 gid 0 0 0 groups []\n",
		fmt.Sprintf("groups [65534 %d]\n", sandboxtest.UID), // the other control: without a range nobody may leave them
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// Then nobody is told how a helper has ended; what it has written is to be seen.
func TestCallerThatIgnoresItsChildrenHasRanges(t *testing.T) {
	r := reserve(t, 10)
	spec := script("exit 3")
	withIDs(r, nil)(&spec)
	ignore(t, syscall.SIGCHLD)
	for range 5 {
		if result, err := Run(t.Context(), spec); err != nil || result.ExitCode != 3 {
			t.Errorf("%v, %v, want exit code 3", result, err)
		}
	}
	badHelper(t, "echo 'newuidmap: write to uid_map failed: Operation not permitted' >&2; exit 1")
	if result, err := Run(t.Context(), spec); result != nil || !errors.Is(err, idmap.ErrNoPrivilege) {
		t.Errorf("%v, %v", result, err)
	}
}

// Starts that are canceled at any moment, also while a helper runs.
func TestManyRangesLeaveNothing(t *testing.T) {
	reserve(t, 1)
	before := holds()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range times("RINGFENCE_SOAK", 100) / 4 {
				r, err := idmap.Auto(10)
				if err != nil {
					t.Error(err)
					return
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(20_000)+50_000*(i%2))*time.Microsecond)
				spec := script("sleep 1000 & exit 0")
				withIDs(r, &User{UID: i % 10})(&spec)
				if result, err := Run(ctx, spec); err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v, %v", result, err)
				}
				cancel()
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	var after held
	if !eventually(2*time.Second, func() bool {
		after = holds()
		return after.fds <= before.fds && after.children <= before.children && after.mounts == before.mounts && after.goroutines <= before.goroutines
	}) {
		t.Errorf("%+v, before %+v", after, before)
	}
}
