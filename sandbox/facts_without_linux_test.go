package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/ringfence-go/ringfence/seccomp"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
	"github.com/ringfence-go/ringfence/testing/victim"
)

// Facts about hosts that lack something, where the Spec allows that. What is lacking is taken away for real: a
// script prepares the host for a caller, who runs the victim there and tells what came of it.

// lackingEnv holds what such a caller is to run.
const lackingEnv = "RINGFENCE_TEST_LACKING"

// lackingRun is what a caller on a host that lacks something is to run: the victim with these acts.
type lackingRun struct {
	Allow       []Feature
	Acts        []string
	HostNetwork bool
	OpenPolicy  bool // the Spec's own, which refuses nothing
	Lives       bool // the victim joins a sandbox
	Mounts      []Mount
}

// lackingResult is what it tells.
type lackingResult struct {
	Err       string // of the start
	Refused   map[Feature]string
	Missing   []Feature
	Enforced  []Enforcement
	Out       []byte
	Remedies  string // what Probe would say of the error
	ExitError string
}

func init() { callers["lacking"] = callLacking }

func callLacking() error {
	var run lackingRun
	if err := json.Unmarshal([]byte(os.Getenv(lackingEnv)), &run); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var out strings.Builder
	spec := Spec{AllowMissing: run.Allow, Mounts: append(run.Mounts, Mount{Source: self, Target: victim.Path})}
	if run.HostNetwork {
		spec.Network = HostNetwork{}
	}
	if run.OpenPolicy {
		spec.Seccomp = &seccomp.Policy{Default: seccomp.Allow}
	}
	command := Spec{Args: append([]string{victim.Path}, run.Acts...), Stdout: &out, Stderr: os.Stderr}
	r, err := runEither(context.Background(), run.Lives, spec, command)
	told := lackingResult{Refused: map[Feature]string{}}
	if err != nil {
		told.Err = err.Error()
		for _, u := range unsupportedIn(err) {
			told.Refused[u.Feature] = u.Remedy
		}
	}
	if r != nil {
		told.Missing, told.Enforced, told.Out = r.Missing, r.Enforced, []byte(out.String())
		if err := r.Err(); err != nil {
			told.ExitError = err.Error()
		}
	}
	return json.NewEncoder(os.Stdout).Encode(told)
}

// runEither runs a command in a sandbox of its own, or in one that lives.
func runEither(ctx context.Context, lives bool, spec, command Spec) (*Result, error) {
	if !lives {
		spec.Args, spec.Stdout, spec.Stderr = command.Args, command.Stdout, command.Stderr
		return Run(ctx, spec)
	}
	s, err := New(ctx, spec)
	if err != nil {
		return nil, err
	}
	r, err := s.Run(ctx, command)
	return r, errors.Join(err, s.Close())
}

// lacking starts a caller by a script that prepares its host and ends in exec "$0".
func lacking(t testing.TB, script string, run lackingRun) lackingResult {
	t.Helper()
	return lackingAs(t, []string{"unshare", "-Urm", "sh", "-c", script}, run)
}

func lackingAs(t testing.TB, prepare []string, run lackingRun) lackingResult {
	t.Helper()
	sandboxtest.Need(t, sandboxtest.UserNamespaces(), sandboxtest.Program(prepare[0]))
	text, err := json.Marshal(run)
	if err != nil {
		t.Fatal(err)
	}
	cmd := caller(t, "lacking")
	cmd.Env = append(cmd.Env, lackingEnv+"="+string(text))
	cmd.Args = append(slices.Clone(prepare), cmd.Path)
	if cmd.Path, err = exec.LookPath(prepare[0]); err != nil {
		t.Fatal(err)
	}
	var r lackingResult
	if out := output(t, cmd); json.Unmarshal(out, &r) != nil {
		t.Fatalf("%s", out)
	}
	if r.ExitError != "" {
		t.Fatalf("the victim: %s\n%s", r.ExitError, r.Out)
	}
	return r
}

// none is the script that takes a kind of namespace away.
func none(kind string) string {
	return "echo 0 >/proc/sys/user/max_" + kind + `_namespaces && exec "$0"`
}

// ran returns what the victim told, once it has run without a feature and the Result says so.
func (r lackingResult) ran(t testing.TB, missing ...Feature) outcomes {
	t.Helper()
	if r.Err != "" {
		t.Fatal(r.Err)
	}
	if !slices.Equal(r.Missing, missing) {
		t.Errorf("missing %q, want %q", r.Missing, missing)
	}
	for _, e := range r.Enforced {
		if slices.Contains(missing, e.Feature) {
			t.Errorf("%v is enforced, and missing", e)
		}
	}
	return told(t, r.Out)
}

// filter is what the Result says of the filter.
func (r lackingResult) filter() string {
	for _, e := range r.Enforced {
		if e.Feature == SeccompBPF {
			return e.By
		}
	}
	return ""
}

// Without what the Spec allows to be missing, each kind is an error that names it and its sysctl.
func TestNamespacesThatMayNotBeMadeAreNamed(t *testing.T) {
	t.Parallel()
	for _, ns := range namespaces {
		r := lacking(t, none(ns.name), lackingRun{Acts: []string{"nothing"}})
		if remedy := r.Refused[ns.feature]; len(r.Refused) != 1 || !strings.Contains(remedy, "user.max_"+ns.name+"_namespaces") {
			t.Errorf("%s: %q, refused %q", ns.feature, r.Err, r.Refused)
		}
		// No permission builds a sandbox without these.
		if ns.essential() {
			r := lacking(t, none(ns.name), lackingRun{Acts: []string{"nothing"}, Allow: features[:]})
			if _, ok := r.Refused[ns.feature]; !ok && ns.feature != UserNamespace {
				t.Errorf("%s, which may be missing: %q, refused %q", ns.feature, r.Err, r.Refused)
			}
		}
	}
}

// Where there is no network namespace, the command is in the host's, and gets no socket to reach it by: of no family,
// by no policy of the Spec's, and in a sandbox that lives neither. The control is the same host with HostNetwork;
// with the rules taken out of stands every one of the acts succeeded.
func TestWithoutANetworkNamespaceNothingOfTheHostsIsReached(t *testing.T) {
	t.Parallel()
	name := fmt.Sprintf("@ringfence-without-%d", os.Getpid())
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	stream, err := net.Listen("unix", name+"-stream")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	datagrams, err := net.ListenPacket("unixgram", name)
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	acts := []string{"dial:tcp," + tcp.Addr().String(), "dial:unix," + name + "-stream", "listen:tcp,127.0.0.1:0", "listen:unix," + name + "-new",
		"shout:" + name, "squat:" + name + "-squat", "sockets", "pairs", "callpair", "call:io_uring_setup", "call:io_uring_enter", "call:io_uring_register"}
	for _, run := range []lackingRun{{}, {OpenPolicy: true}, {Lives: true}, {Lives: true, OpenPolicy: true}} {
		run.Allow, run.Acts = []Feature{NetworkNamespace}, acts
		r := lacking(t, none("net"), run)
		got := r.ran(t, NetworkNamespace)
		for _, act := range acts[:4] {
			got.want(act, "EAFNOSUPPORT")
		}
		got.want(acts[4], "EAFNOSUPPORT") // of the last type that was tried, a datagram's
		got.want(acts[5], "EAFNOSUPPORT")
		if all := got.of("sockets").Detail; all != "" {
			t.Errorf("%+v: sockets of the family and type %s", run, all)
		}
		if all := got.of("pairs").Detail; all != "1/1 1/5" {
			t.Errorf("%+v: pairs of the family and type %s", run, all)
		}
		got.want("callpair", "ok")
		for _, act := range acts[9:] {
			got.want(act, "ENOSYS", "EPERM")
		}
		if !strings.Contains(r.filter(), "refuse sockets") {
			t.Errorf("%+v: the Result says %q of the filter", run, r.filter())
		}
	}
	control := lacking(t, none("net"), lackingRun{Acts: acts, HostNetwork: true, OpenPolicy: true}).ran(t)
	for _, act := range acts[:7] {
		control.want(act, "ok")
	}
	if shouts := control.of(acts[4]).Detail; shouts != "2 3" {
		t.Errorf("the control reaches the host's socket from pairs of the types %s", shouts)
	}
}

// Without an IPC namespace the keys are the host's. The control is the host itself, and the same run with a
// namespace; with the rules taken out of stands every kind was made, on the host.
func TestWithoutAnIPCNamespaceNoChannelOfTheHostsIsReached(t *testing.T) {
	t.Parallel()
	act := fmt.Sprintf("sysv:%d", 0x72670000|os.Getpid()&0xffff)
	for _, run := range []lackingRun{{}, {OpenPolicy: true}, {Lives: true}} {
		run.Allow, run.Acts = []Feature{IPCNamespace}, []string{act}
		r := lacking(t, none("ipc"), run)
		if got := r.ran(t, IPCNamespace).of(act); !got.OK() || got.Detail != "" {
			t.Errorf("%+v: %v", run, got)
		}
		if !strings.Contains(r.filter(), "refuse System V IPC") {
			t.Errorf("%+v: the Result says %q of the filter", run, r.filter())
		}
	}
	for where, got := range map[string]outcomes{"outside": outside(t, act), "inside": inside(t, noFilter, act)} {
		if o := got.of(act); o.Detail != "shm sem msg mq" {
			t.Errorf("the control, %s: %v", where, o)
		}
	}
	r := lacking(t, none("ipc"), lackingRun{Allow: []Feature{IPCNamespace}, Acts: []string{"nothing"}, Mounts: []Mount{{Type: Mqueue, Target: "/dev/mqueue"}}})
	if _, ok := r.Refused[IPCNamespace]; !ok {
		t.Errorf("the host's queues are mounted: %+v", r)
	}
}

// The host's name stays, and what the sandbox says of its cgroup is the host's path.
func TestWithoutOtherNamespacesTheHostsNamesAreSeen(t *testing.T) {
	t.Parallel()
	const cgroup = "read:/proc/self/cgroup"
	acts := []string{"hostname", "call:sethostname", cgroup}
	r := lacking(t, "echo 0 >/proc/sys/user/max_cgroup_namespaces && "+none("uts"), lackingRun{Allow: []Feature{UTSNamespace, CgroupNamespace}, Acts: acts, OpenPolicy: true})
	got, control, host := r.ran(t, UTSNamespace, CgroupNamespace), inside(t, noFilter, acts...), outside(t, acts...)
	if got.of("hostname").Detail != host.of("hostname").Detail || control.of("hostname").Detail != defaultHostname {
		t.Errorf("%v, with a namespace %v, outside %v", got.of("hostname"), control.of("hostname"), host.of("hostname"))
	}
	got.want("call:sethostname", "EPERM")
	if got.of(cgroup).Detail != host.of(cgroup).Detail {
		t.Errorf("%q, outside %q", got.of(cgroup).Detail, host.of(cgroup).Detail)
	}
}
