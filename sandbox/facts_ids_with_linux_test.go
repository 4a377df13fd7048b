package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringfence-go/ringfence/idmap"
	"github.com/ringfence-go/ringfence/seccomp"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
	"github.com/ringfence-go/ringfence/testing/victim"
)

// Facts about what a Spec asks for beside a range of IDs: the caller, which is nobody there, does its part.

func TestTerminalOfARangeIsTheCommands(t *testing.T) {
	t.Parallel()
	r := reserve(t, 10)
	for name, user := range map[string]*User{"0": nil, "5": {UID: 5, GID: 6}} {
		var out strings.Builder
		spec := Spec{Args: []string{"sh", "-c", "stat -c %u $(tty); echo by name >/dev/tty; echo -n as error >/dev/stderr"}, Terminal: &Terminal{}, Stdout: &out}
		withIDs(r, user)(&spec)
		result, err := Run(t.Context(), spec)
		if want := name + "\r\nby name\r\nas error"; err != nil || result.Err() != nil || out.String() != want {
			t.Errorf("%v, %v: %q, want %q", result, err, out.String(), want)
		}
	}
}

func TestSupervisorReadsTheMemoryOfARange(t *testing.T) {
	t.Parallel()
	r := reserve(t, 10)
	for name, user := range map[string]*User{"first": nil, "another": {UID: 5, GID: 6}} {
		var path string
		spec := Spec{
			Args:    []string{"mkdir", "/nowhere/at/all"},
			Seccomp: &seccomp.Policy{Default: seccomp.Allow, Rules: []seccomp.Rule{{Names: []string{"mkdir", "mkdirat"}, Action: seccomp.Notify}}},
			Supervisor: func(_ context.Context, n *Notification) Answer {
				at := 0
				if n.Name == "mkdirat" {
					at = 1
				}
				var err error
				if path, err = n.ReadString(n.Call.Args[at], syscall.PathMax); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				return Refuse(syscall.EDOM)
			},
		}
		withIDs(r, user)(&spec)
		var errs strings.Builder
		spec.Stderr = &errs
		result, err := Run(t.Context(), spec)
		if err != nil || result.ExitCode != 1 || path != "/nowhere/at/all" || !strings.Contains(errs.String(), "argument out of domain") {
			t.Errorf("%s: %v, %v: %q, %q", name, result, err, path, errs.String())
		}
	}
}

func TestTimesOfARangeAreSeen(t *testing.T) {
	t.Parallel()
	r := reserve(t, 10)
	spec := script("while :; do :; done")
	withIDs(r, &User{UID: 5, GID: 6})(&spec)
	spec.Limits.CPUTime, spec.Limits.WallTime = 200*time.Millisecond, sandboxtest.Slow(30*time.Second)
	if result, err := Run(t.Context(), spec); err != nil || result.Ended != OutOfCPUTime {
		t.Errorf("%v, %v", result, err)
	}
}

func TestSignalsReachACommandOfARange(t *testing.T) {
	t.Parallel()
	r := reserve(t, 10)
	spec := script("trap 'echo got it; exit 7' TERM; echo up; while :; do sleep 0.01; done")
	withIDs(r, &User{UID: 5, GID: 6})(&spec)
	c := Command(t.Context(), spec)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 3)); err != nil {
		t.Error(err)
	}
	if err := c.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if result, err := c.Wait(); err != nil || result.ExitCode != 7 {
		t.Errorf("%v, %v", result, err)
	}
}

func TestCancelEndsARange(t *testing.T) {
	t.Parallel()
	r := reserve(t, 10)
	spec := script("trap '' TERM INT HUP; sleep 1000 & setsid sleep 1000 & wait")
	withIDs(r, &User{UID: 5, GID: 6})(&spec)
	spec.Limits.WallTime = 50 * time.Millisecond
	if result, err := Run(t.Context(), spec); err != nil || result.Ended != TimedOut {
		t.Errorf("%v, %v", result, err)
	}
}

// TestRootInnerRange is a part of the test below: root, of whom IDs are set aside.
func TestRootInnerRange(t *testing.T) {
	if os.Getenv("RINGFENCE_TEST_RANGE") == "" {
		return
	}
	a, err := idmap.Auto(1000)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := idmap.Auto(1000)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	got := inside(t, withIDs(a, &User{UID: 5, GID: 6, Groups: []int{7}}), "ids", uidMap)
	fmt.Println("a:", got.of("ids").Detail, strings.Fields(got.of(uidMap).Detail))
	fmt.Println("b:", strings.Fields(inside(t, withIDs(b, nil), uidMap).of(uidMap).Detail))
}

func TestRootTakesRangesOfRoots(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.Requirement{Name: "unshare", Check: func() error { _, err := exec.LookPath("unshare"); return err }})
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "subid"), []byte("someone:100000:65536\nroot:500000:2000\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	// There are neither programs that map, nor are they needed.
	const script = `set -e; for f in subuid subgid; do mount --bind "$1/subid" /etc/$f; done
		for p in newuidmap newgidmap; do [ ! -e /usr/bin/$p ] || mount --bind /dev/null /usr/bin/$p; done
		TMPDIR=$1 XDG_RUNTIME_DIR=$1 RINGFENCE_TEST_RANGE=1 exec "$2" -test.run='^TestRootInnerRange$' -test.v`
	out, err := exec.Command("unshare", "--mount", "sh", "-c", script, "sh", dir, os.Args[0]).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"a: uid 5 5 5 gid 6 6 6 groups [7] [0 500000 1000]\n", "b: [0 501000 1000]\n"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if names, err := os.ReadDir(filepath.Join(dir, "ringfence")); err != nil || len(names) != 1 {
		t.Errorf("%v, %v: what is left but the lock", names, err)
	}
}

func TestCommandsOfALivingSandboxShareItsRange(t *testing.T) {
	t.Parallel()
	r := reserve(t, 100)
	spec := victimSpec(t)
	spec.Args = nil
	withIDs(r, nil)(&spec)
	s, err := New(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, test := range []struct {
		user *User
		want string
	}{
		{nil, "uid 0 0 0 gid 0 0 0 groups []"},
		{&User{UID: 5, GID: 6, Groups: []int{7, 8}}, "uid 5 5 5 gid 6 6 6 groups [7 8]"},
		{&User{UID: 99, GID: 99}, "uid 99 99 99 gid 99 99 99 groups []"},
	} {
		acts := []string{"ids", uidMap, "attach:1", "read:/proc/1/environ", "create:/tmp/" + test.want[4:6]}
		var out bytes.Buffer
		result, err := s.Run(t.Context(), Spec{Args: append([]string{victim.Path}, acts...), User: test.user, Stdout: &out})
		if err != nil || result.Err() != nil {
			t.Fatal(result, err)
		}
		got := told(t, out.Bytes())
		if o := got.of("ids"); o.Detail != test.want {
			t.Errorf("%v, want %s", o, test.want)
		}
		if f := strings.Fields(got.of(uidMap).Detail); len(f) != 3 || f[1] != fmt.Sprint(r.UIDs[0].HostID) {
			t.Errorf("uid_map %q", f)
		}
		got.want("attach:1", "EPERM")
		got.want("read:/proc/1/environ", "EACCES", "EPERM")
		got.want(acts[4], "ok")
	}
	if _, err := s.Run(t.Context(), Spec{Args: []string{"true"}, User: &User{UID: 100}}); err == nil || !strings.Contains(err.Error(), "User.UID") {
		t.Errorf("a user beyond the range: %v", err)
	}
}
