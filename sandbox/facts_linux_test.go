package sandbox

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringfence-go/ringfence/seccomp"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
	"github.com/ringfence-go/ringfence/testing/victim"
)

// The facts_…_linux_test.go say what the sandbox establishes, one fact a test, by class: files,
// processes, kernel, network and channels, terminals, IDs, host. Each test has a control, the same act
// outside the sandbox or with the protection taken away, so that it can fail. This file holds what they
// share.

// outcomes are what a victim told of its acts.
type outcomes struct {
	t   testing.TB
	all map[string]victim.Outcome
}

// of returns the outcome of an act that the victim must have come to.
func (o outcomes) of(act string) victim.Outcome {
	o.t.Helper()
	outcome, ok := o.all[act]
	if !ok {
		o.t.Fatalf("the victim did not come to %q: %v", act, o.all)
	}
	return outcome
}

// want checks the outcome of an act: "ok", or an error's name.
func (o outcomes) want(act string, want ...string) {
	o.t.Helper()
	got := o.of(act)
	for _, w := range want {
		if got.Err == w || got.OK() && w == "ok" {
			return
		}
	}
	o.t.Errorf("%s: %v, want %s", act, got, strings.Join(want, " or "))
}

// victimSpec returns a Spec that runs the victim.
func victimSpec(t testing.TB, acts ...string) Spec {
	t.Helper()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Spec{Args: append([]string{victim.Path}, acts...), Mounts: []Mount{{Source: self, Target: victim.Path}}}
}

// inside runs acts in a sandbox; change, if not nil, changes its Spec.
func inside(t testing.TB, change func(*Spec), acts ...string) outcomes {
	t.Helper()
	spec := victimSpec(t, acts...)
	if change != nil {
		change(&spec)
	}
	var out, errs bytes.Buffer
	if spec.Stdout == nil {
		spec.Stdout = &out
	}
	if spec.Stderr == nil && spec.Terminal == nil {
		spec.Stderr = &errs
	}
	r, err := Run(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Err(); err != nil {
		t.Fatalf("the victim: %v: %s%s", err, errs.Bytes(), out.Bytes())
	}
	return told(t, out.Bytes())
}

// outside runs acts without a sandbox.
func outside(t testing.TB, acts ...string) outcomes {
	t.Helper()
	cmd, err := victim.Outside(acts...)
	if err != nil {
		t.Fatal(err)
	}
	return told(t, output(t, cmd))
}

func output(t testing.TB, cmd *exec.Cmd) []byte {
	t.Helper()
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v: %s%s", cmd, err, errs.Bytes(), out)
	}
	return out
}

func told(t testing.TB, out []byte) outcomes {
	t.Helper()
	all, err := victim.Parse(out)
	if err != nil {
		t.Fatal(err)
	}
	return outcomes{t, all}
}

// shell runs a script inside and returns its standard output.
func shell(t testing.TB, change func(*Spec), script string) string {
	t.Helper()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	spec := Spec{Args: []string{"sh", "-c", script}}
	if change != nil {
		change(&spec)
	}
	out, err := Output(t.Context(), spec)
	if err != nil {
		t.Fatalf("%v: %s%s", err, stderrOf(err), out)
	}
	return string(out)
}

func stderrOf(err error) []byte {
	var exit *ExitError
	if errors.As(err, &exit) {
		return exit.Stderr
	}
	return nil
}

// noFilter takes the seccomp filter away.
func noFilter(spec *Spec) { spec.Seccomp = &seccomp.Policy{Default: seccomp.Allow} }

// hostNetwork takes the network namespace away.
func hostNetwork(spec *Spec) { spec.Network = HostNetwork{} }

// tree makes a directory that can be a Root: it holds what the base system's programs need as mount
// points, and whatever else is named, "name/" for a directory and "name -> target" for a link.
func tree(t testing.TB, entries ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, e := range append([]string{"usr/", "proc/", "dev/", "tmp/", "victim"}, entries...) {
		addTo(t, root, e)
	}
	for _, name := range []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32"} {
		if target, err := os.Readlink("/" + name); err == nil {
			addTo(t, root, name+" -> "+target)
		} else if err := os.Mkdir(filepath.Join(root, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func addTo(t testing.TB, root, entry string) {
	t.Helper()
	var err error
	name, target, link := strings.Cut(entry, " -> ")
	p := filepath.Join(root, name)
	switch {
	case link:
		os.Remove(p)
		err = os.Symlink(target, p)
	case strings.HasSuffix(name, "/"):
		err = os.MkdirAll(p, 0o755)
	default:
		err = os.WriteFile(p, nil, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// inTree makes a Spec use root, with the host's programs in it.
func inTree(root string) func(*Spec) {
	return func(spec *Spec) {
		spec.Root = Root{Path: root}
		spec.Mounts = append([]Mount{{Source: "/usr", Target: "/usr"}}, spec.Mounts...)
	}
}

// hostSecret makes a file that only the caller knows.
func hostSecret(t testing.TB) (path, contents string) {
	t.Helper()
	contents = fmt.Sprintf("secret of %s %d", t.Name(), os.Getpid())
	path = filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(contents), 0o666); err != nil {
		t.Fatal(err)
	}
	return path, contents
}

// lines reads what a victim tells while it runs.
type lines struct{ r *bufio.Reader }

func newLines(r io.Reader) lines { return lines{bufio.NewReader(r)} }

// next waits for the next outcome.
func (l lines) next(t testing.TB) victim.Outcome {
	t.Helper()
	line, err := l.r.ReadBytes('\n')
	if err != nil {
		t.Fatalf("the victim ended: %q, %v", line, err)
	}
	var o victim.Outcome
	if err := json.Unmarshal(line, &o); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return o
}
