package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/ringfence-go/ringfence/seccomp"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// Sandboxes in sandboxes, and in those of others.

func init() {
	callers["outer"] = func() error { return callNested("outer", "middle", nesting()) }
	callers["middle"] = func() error { return callNested("middle", "inner", nesting()) }
	callers["inner"] = callInnermost
	callers["in the default"] = func() error { return callNested("in the default", "probe", Spec{}) }
	callers["in one without a proc"] = func() error { return callNested("in one without a proc", "probe", Spec{Seccomp: nesting().Seccomp}) }
}

// nesting is a Spec in which sandboxes can be made: the filter allows it, and there is a /proc of which nothing is
// covered, without which the kernel gives no new one.
func nesting() Spec {
	return Spec{Seccomp: &seccomp.Policy{Default: seccomp.Allow}, Mounts: []Mount{{Type: Proc, Target: "/proc", Writable: true}}}
}

// callNested starts this binary as another caller in a sandbox.
func callNested(name, next string, spec Spec) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	const path = "/nested"
	spec.Args, spec.Env = []string{path}, append(os.Environ(), callerEnv+"="+next)
	spec.Mounts = append(spec.Mounts, Mount{Source: self, Target: path})
	spec.Stdout, spec.Stderr = os.Stdout, os.Stderr
	r, err := Run(context.Background(), spec)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return r.Err()
}

// callInnermost runs the zero Spec, a Spec with limits and a tree, and commands in a sandbox that lives and in a pool.
func callInnermost() error {
	const script = `grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp_filters):' /proc/self/status | tr '\n\t' ' :'; hostname
		[ "$(ls /proc | grep -c '^[0-9]')" -le 8 ] && ! [ -e /nested ] && ! touch /x 2>/dev/null && echo confined; exit 3`
	ctx := context.Background()
	run := func(do func(Spec) (*Result, error)) error {
		var out bytes.Buffer
		r, err := do(Spec{Args: []string{"sh", "-c", script}, Stdout: &out, Stderr: &out})
		if err != nil {
			return fmt.Errorf("%w: %s", err, out.Bytes())
		}
		fmt.Printf("%v: %s", r, out.Bytes())
		return nil
	}
	s, err := New(ctx, Spec{})
	if err != nil {
		return err
	}
	p, err := NewPool(ctx, Spec{}, PoolOptions{Size: 1})
	if err != nil {
		return errors.Join(err, s.Close())
	}
	return errors.Join(
		run(func(spec Spec) (*Result, error) { return Run(ctx, spec) }),
		run(func(spec Spec) (*Result, error) { return s.Run(ctx, spec) }),
		run(func(spec Spec) (*Result, error) { return p.Run(ctx, spec) }),
		s.Close(), p.Close())
}

// confinedRuns checks what callInnermost has told, in so many PID namespaces and under so many filters.
func confinedRuns(t *testing.T, out []byte, filters int) {
	t.Helper()
	want := fmt.Sprintf("CapEff::0000000000000000 CapBnd::0000000000000000 NoNewPrivs::1 Seccomp_filters::%d sandbox\nconfined\n", filters)
	if n := strings.Count(string(out), want); n != 3 || strings.Count(string(out), "exit status 3: ") != 3 {
		t.Errorf("%d runs of 3 have %q:\n%s", n, want, out)
	}
}

// A sandbox in a sandbox in a sandbox, where the Specs of the outer two allow it, is one like any other. Its command
// is under the filters of all three.
func TestSandboxInASandboxInASandbox(t *testing.T) {
	t.Parallel()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	confinedRuns(t, output(t, caller(t, "outer")), 3)
}

// Where it is not allowed, the inner one says why, and what the outer one's Spec lacks.
func TestSandboxInASandboxThatDoesNotAllowItSaysWhy(t *testing.T) {
	t.Parallel()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	for _, tt := range []struct {
		caller  string
		feature Feature
		remedy  string
	}{
		{"in the default", UserNamespace, "seccomp filter"},
		{"in one without a proc", NewProc, `Mount{Type: Proc, Target: "/proc", Writable: true}`},
	} {
		var all map[Feature]probedState
		if out := output(t, caller(t, tt.caller)); json.Unmarshal(out, &all) != nil {
			t.Fatalf("%s: %s", tt.caller, out)
		}
		if s := all[tt.feature]; s.State != Missing || !s.Unsupported || !strings.Contains(s.Remedy, tt.remedy) || all[""].Cause == "" {
			t.Errorf("%s: %s is %+v; the zero Spec: %+v", tt.caller, tt.feature, s, all[""])
		}
	}
}

// inBubblewrap returns a caller in bubblewrap, with the options that its users have.
func inBubblewrap(t *testing.T, kind string, options ...string) *exec.Cmd {
	t.Helper()
	sandboxtest.Need(t, sandboxtest.UserNamespaces(), sandboxtest.Program("bwrap"))
	cmd := caller(t, kind)
	cmd.Args = append(append([]string{"bwrap"}, options...), "--ro-bind", cmd.Path, "/mnt/caller", "/mnt/caller")
	var err error
	if cmd.Path, err = exec.LookPath("bwrap"); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// In bubblewrap everything works, with all of its namespaces and the whole host read-only, or with a root of its own.
func TestSandboxInBubblewrap(t *testing.T) {
	t.Parallel()
	whole := []string{"--ro-bind", "/", "/", "--tmpfs", "/mnt", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--unshare-all", "--die-with-parent", "--new-session", "--chdir", "/"}
	small := []string{"--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64",
		"--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--unshare-all", "--cap-drop", "ALL", "--chdir", "/"}
	for _, options := range [][]string{whole, small} {
		confinedRuns(t, output(t, inBubblewrap(t, "inner", options...)), 1)
	}
	// What it forbids is told: user namespaces, and a /proc that is a part of the host's.
	for feature, options := range map[Feature][]string{
		UserNamespace: {"--unshare-user", "--disable-userns"},
		NewProc:       {"--ro-bind", "/sys", "/proc/sys"},
	} {
		var all map[Feature]probedState
		if out := output(t, inBubblewrap(t, "probe", append(whole, options...)...)); json.Unmarshal(out, &all) != nil {
			t.Fatalf("%s", out)
		}
		if s := all[feature]; s.State != Missing || !s.Unsupported || s.Remedy == "" {
			t.Errorf("%q: %s is %+v; the zero Spec: %+v", options, feature, s, all[""])
		}
	}
}
