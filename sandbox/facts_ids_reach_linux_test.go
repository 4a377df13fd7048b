package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/moby/sys/capability"

	"github.com/ringfence-go/ringfence/idmap"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// Facts about what is out of reach in a sandbox with a range of IDs, for a caller without privilege.

// Not even where it sees the other's processes, since the host's kernel asks for the host's IDs.
func TestProcessOfOneRangeCannotSignalOrTraceAnother(t *testing.T) {
	t.Parallel()
	sandboxtest.Need(t, sandboxtest.Requirement{Name: "nsenter", Check: func() error { _, err := exec.LookPath("nsenter"); return err }})
	sleeper := func() int {
		r := reserve(t, 1000)
		spec := Spec{Args: []string{"sleep", "1000"}, User: &User{UID: 5, GID: 5}, UIDs: r.UIDs, GIDs: r.GIDs}
		c := Command(t.Context(), spec)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.Kill(); err != nil {
				t.Error(err)
			}
			_, _ = c.Wait() // killed
		})
		return c.Pid()
	}
	a, b := sleeper(), sleeper()
	// As the sandbox's own user, in its user namespace and outside all others.
	act := func(script string, on int) error {
		cmd := exec.Command("nsenter", "--user", "--setuid", "5", "--setgid", "5", "--target", strconv.Itoa(a), "sh", "-c", script, "sh", strconv.Itoa(on))
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return err
	}
	for _, script := range []string{"kill -0 $1", "test -e /proc/$1/exe", "head -c1 /proc/$1/environ >/dev/null"} {
		if err := act(script, b); err == nil {
			t.Errorf("%q succeeds on the other", script)
		}
		if err := act(script, a); err != nil {
			t.Errorf("the control: %q: %v", script, err)
		}
	}
}

func TestHostRootCannotBeMappedWithoutPrivilege(t *testing.T) {
	t.Parallel()
	sandboxtest.Need(t, sandboxtest.SubordinateIDs())
	zero := idmap.Single(0, 0)
	for name, change := range map[string]func(*Spec){
		"user":       func(s *Spec) { s.UIDs = zero },
		"group":      func(s *Spec) { s.GIDs = zero },
		"among more": func(s *Spec) { s.UIDs = append(idmap.Single(0, os.Getuid()), idmap.Single(1, 0)...) },
		"within":     func(s *Spec) { s.UIDs = idmap.Map{{ContainerID: 0, HostID: 0, Size: 100_000_000}} },
	} {
		spec := Spec{Args: []string{"true"}}
		change(&spec)
		r, err := Run(t.Context(), spec)
		var u *UnsupportedError
		if r != nil || !errors.As(err, &u) || u.Feature != IDMap || u.Remedy == "" || !errors.Is(err, idmap.ErrNotSubordinate) {
			t.Errorf("%s: %v, %v", name, r, err)
		}
		// Nor does it help to be wrong about what is set aside.
		host, err := readHost()
		if err != nil {
			t.Fatal(err)
		}
		host.ofCaller = func() (uids, gids []idmap.Subrange, err error) {
			all := []idmap.Subrange{{HostID: 0, Size: 1 << 30}}
			return all, all, nil
		}
		plan, err := Compile(spec, host)
		if err != nil {
			t.Fatal(err)
		}
		if p, err := plan.launch(t.Context(), []*os.File{nil, nil, nil}, nil, nil); p != nil || !errors.As(err, &u) || !errors.Is(err, idmap.ErrNotSubordinate) {
			t.Errorf("%s, at the start: %v", name, err)
		}
	}
	reserved := reserve(t, 10)
	inside(t, withIDs(reserved, nil), "nothing") // the control
}

// PID 1, which took the first ID, the command, which takes another, and the witness, that PID 1 starts.
func TestInitOfARangeIsOutOfReach(t *testing.T) {
	t.Parallel()
	r := reserve(t, 1000)
	for name, user := range map[string]*User{"first": nil, "another": {UID: 7, GID: 8}, "another group": {GID: 8}} {
		acts := []string{"attach:1", "seize:1", "vmread:1", "read:/proc/1/environ", "read:/proc/1/mem", "list:/proc/1/fd", "openw:/proc/1/mem", "readlink:/proc/1/exe", "kill:1,9", "attach:3"}
		got := inside(t, func(s *Spec) { withIDs(r, user)(s); noFilter(s) }, acts...)
		for _, act := range acts[:8] {
			if got.of(act).OK() {
				t.Errorf("%s: %s: %v", name, act, got.of(act))
			}
		}
		got = inside(t, func(s *Spec) { withIDs(r, user)(s); s.Stdin = strings.NewReader("x") }, "await", "read:/proc/1/status", "read:/proc/self/status", "kill:1,9", "print:alive")
		for _, act := range []string{"read:/proc/1/status", "read:/proc/self/status"} {
			if n := strings.Count(got.of(act).Detail, "\t0000000000000000\n"); n < 5 {
				t.Errorf("%s: %s: %d sets are empty", name, act, n)
			}
		}
		got.want("print:alive", "ok")
	}
}

func TestForbiddenCallIsNamedInARange(t *testing.T) {
	t.Parallel()
	r := reserve(t, 1000)
	spec := victimSpec(t, "call:kexec_load")
	withIDs(r, &User{UID: 7, GID: 8})(&spec)
	result, err := Run(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := Run(t.Context(), victimSpec(t, "call:kexec_load"))
	if err != nil {
		t.Fatal(err)
	}
	if result.Ended != plain.Ended || result.Syscall != plain.Syscall || result.ExitCode != plain.ExitCode {
		t.Errorf("%v, want %v as with the caller's own ID", result, plain)
	}
}

// With the capabilities to, the command of a range may be and own whatever is in it, and nothing else.
func TestCapabilitiesInARangeEndWithIt(t *testing.T) {
	t.Parallel()
	r := reserve(t, 1000)
	file, _ := hostSecret(t)
	script := "touch /tmp/x; for id in 0 999 1000; do chown $id:$id /tmp/x && stat -c %u:%g /tmp/x; done; chown 5 /secret; stat -c %u /secret; exit 0"
	run := func(caps ...capability.Cap) string {
		return shell(t, func(s *Spec) {
			withIDs(r, nil)(s)
			s.Capabilities = caps
			s.Mounts = append(s.Mounts, Mount{Source: file, Target: "/secret", Writable: true})
		}, script)
	}
	if got, want := run(capability.CAP_CHOWN, capability.CAP_FOWNER, capability.CAP_DAC_OVERRIDE), "0:0\n999:999\n65534\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := run(), "0:0\n65534\n"; got != want {
		t.Errorf("the control: %q, want %q", got, want)
	}
	for id, want := range map[string]string{"999": "ok", "1000": "EINVAL", strconv.Itoa(os.Getuid()): "EINVAL"} {
		act := "setuid:" + id
		inside(t, func(s *Spec) { withIDs(r, nil)(s); s.Capabilities = []capability.Cap{capability.CAP_SETUID} }, act).want(act, want)
	}
}
