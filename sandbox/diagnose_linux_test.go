package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// probedState is what a probing program says about a feature.
type probedState struct {
	State               State
	By, Cause, Remedy   string
	Unsupported, Caused bool
}

func init() {
	callers["probe"] = callProbe
	callers["probe with one process"] = func() error {
		// The caller's own processes are more than that.
		if err := unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: 1, Max: 1}); err != nil {
			return err
		}
		return callProbe()
	}
	callers["probe under a filter"] = func() error {
		if err := refuseClone3(); err != nil {
			return err
		}
		return callProbe()
	}
}

// refuseClone3 makes clone3 unknown to this program and what it starts, as the filter of a container does.
func refuseClone3() error {
	runtime.LockOSThread() // whose no_new_privs the others get with the filter
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return setFilter([]unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // nr of struct seccomp_data
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_CLONE3, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: uint32(unix.SECCOMP_RET_ERRNO | unix.ENOSYS)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	})
}

// callProbe writes what it finds out about the host, and by no name how the zero Spec failed.
func callProbe() error {
	host, err := Probe(context.Background())
	if err != nil {
		return err
	}
	all := map[Feature]probedState{}
	for _, s := range host.Features() {
		all[s.Feature] = stateOf(s)
	}
	if err := host.Err(); err != nil {
		all[""] = probedState{Cause: err.Error()}
	}
	return json.NewEncoder(os.Stdout).Encode(all)
}

func stateOf(s FeatureState) probedState {
	one := probedState{State: s.State, By: s.By, Remedy: s.Remedy, Unsupported: errors.Is(s.Cause, errors.ErrUnsupported)}
	if s.Cause != nil {
		one.Caused, one.Cause = true, s.Cause.Error()
	}
	return one
}

// probed starts a caller that probes, where there is a shell by a script that prepares its host and ends in
// exec "$0".
func probed(t *testing.T, kind string, shell ...string) map[Feature]probedState {
	t.Helper()
	return probedAs(t, kind, func(cmd *exec.Cmd) {
		if len(shell) == 0 {
			return
		}
		path, err := exec.LookPath(shell[0])
		if err != nil {
			t.Fatal(err)
		}
		cmd.Args = append(shell, cmd.Path)
		cmd.Path = path
	})
}

// probedAs is probed of a program that is changed before it starts.
func probedAs(t *testing.T, kind string, change func(*exec.Cmd)) map[Feature]probedState {
	t.Helper()
	cmd := caller(t, kind)
	change(cmd)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, &stderr)
	}
	var all map[Feature]probedState
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	return all
}

// On a host that can run sandboxes, the zero Spec's features work, and for the others there is a cause. The
// control are the tests below, on hosts that lack something.
func TestProbeTellsOfEveryFeature(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	host, err := Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Err(); err != nil {
		t.Fatal(err)
	}
	all := host.Features()
	if len(all) != len(features) {
		t.Fatalf("%d features of %d", len(all), len(features))
	}
	always := []Feature{UserNamespace, MountNamespace, PIDNamespace, NetworkNamespace, IDMap, NewProc, NoNewPrivs, Capabilities, SeccompBPF,
		TerminalPTY, MemfdExec, WallTimeLimit, CPUTimeLimit, OutputLimit, Rlimits}
	for i, s := range all {
		if s.Feature != features[i] {
			t.Errorf("%d: %s, want %s", i, s.Feature, features[i])
		}
		if (s.State == Works) != (s.Cause == nil) || s.State == Works && (s.Remedy != "" || s.By == "") || s.State != Works && s.By != "" {
			t.Errorf("%+v: a cause if and only if it does not work", s)
		}
		if slices.Contains(always, s.Feature) && s.State != Works {
			t.Errorf("%s: %v: %v", s.Feature, s.State, s.Cause)
		}
		if s.State == Missing && !errors.Is(s.Cause, errors.ErrUnsupported) {
			t.Errorf("%s is missing for %v, which is no *UnsupportedError", s.Feature, s.Cause)
		}
	}
	all[0].State = Inconclusive
	if host.Features()[0].State != Works {
		t.Error("a Host can be written to")
	}
}

// Whether IDs can be mapped is what a Spec that maps some says.
func TestProbeTellsOfIDRanges(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.UserNamespaces(), sandboxtest.SubordinateIDs())
	if s := probed(t, "probe")[IDRanges]; s.State != Works || s.By == "" {
		t.Errorf("%+v", s)
	}
}

// A copy of newuidmap has neither the set-user-ID bit nor the file capability of the original.
func TestProbeTellsOfHelpersWithoutPrivilege(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.UserNamespaces(), sandboxtest.SubordinateIDs())
	all := probed(t, "probe", "sh", "-c", `cp /usr/bin/newuidmap /usr/bin/newgidmap "$1" && PATH=$1:$PATH exec "$2"`, "sh", t.TempDir())
	if s := all[IDRanges]; s.State != Missing || !s.Unsupported || !strings.Contains(s.Remedy, "chmod u+s") {
		t.Errorf("%+v", s)
	}
	if s := all[IDMap]; s.State != Works || all[""].Cause != "" {
		t.Errorf("the zero Spec needs no helper: %+v, %+v", s, all[""])
	}
}

func TestProbeTellsOfForbiddenUserNamespaces(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.UserNamespaces(), sandboxtest.Program("unshare"))
	all := probed(t, "probe", "unshare", "-Ur", "sh", "-c", `echo 0 >/proc/sys/user/max_user_namespaces && exec "$0"`)
	s := all[UserNamespace]
	if s.State != Missing || !s.Unsupported || !strings.Contains(s.Remedy, "sysctl -w user.max_user_namespaces=") || all[""].Cause == "" {
		t.Errorf("%+v, and the zero Spec: %+v", s, all[""])
	}
	for _, f := range []Feature{MountNamespace, SeccompBPF, MemoryLimit, TerminalPTY} {
		if s := all[f]; s.State != Inconclusive || !s.Caused {
			t.Errorf("%s, which cannot be tried: %+v", f, s)
		}
	}
}

// Where the kernel gives no user namespaces, and Landlock instead, that is what a Spec can have.
func TestProbeTellsOfWhatThereIsWithoutUserNamespaces(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	bareHost(t, 0)
	all := probedAs(t, "probe", withoutUserNamespaces)
	for _, f := range bareFeatures {
		if s := all[f]; s.State != Missing || !s.Unsupported {
			t.Errorf("%s: %+v", f, s)
		}
	}
	for _, f := range []Feature{Landlock, ProcessGroup, SeccompBPF, NoNewPrivs, Capabilities, Rlimits, WallTimeLimit, OutputLimit} {
		if s := all[f]; s.State != Works {
			t.Errorf("%s: %+v", f, s)
		}
	}
	for _, f := range []Feature{TerminalPTY, SeccompNotify} {
		if s := all[f]; s.State != Missing || !strings.Contains(s.Remedy, "user.max_user_namespaces") {
			t.Errorf("%s: %+v", f, s)
		}
	}
	if all[""].Cause == "" {
		t.Error("the zero Spec works")
	}
}

func TestProbeTellsWhichNamespaceIsForbidden(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.UserNamespaces(), sandboxtest.Program("unshare"))
	all := probed(t, "probe", "unshare", "-Ur", "sh", "-c", `echo 0 >/proc/sys/user/max_net_namespaces && exec "$0"`)
	if s := all[NetworkNamespace]; s.State != Missing || !strings.Contains(s.Remedy, "sysctl -w user.max_net_namespaces=") || all[""].Cause == "" {
		t.Errorf("%+v, and the zero Spec: %+v", s, all[""])
	}
	for _, f := range []Feature{UserNamespace, MountNamespace, SeccompBPF, NewProc, TerminalPTY} {
		if s := all[f]; s.State != Works {
			t.Errorf("%s, which can be had without: %+v", f, s)
		}
	}
}

func TestProbeTellsOfACoveredProc(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.UserNamespaces(), sandboxtest.Program("unshare"))
	all := probed(t, "probe", "unshare", "-Urm", "sh", "-c", `mount -t tmpfs none /proc/sys && exec "$0"`)
	if s := all[NewProc]; s.State != Missing || s.Remedy == "" || !strings.Contains(s.Cause, "/proc/sys is covered") {
		t.Errorf("%+v", s)
	}
	for _, f := range []Feature{UserNamespace, NetworkNamespace, PIDNamespace, SeccompBPF} {
		if s := all[f]; s.State != Works {
			t.Errorf("%s, which can be had without: %+v", f, s)
		}
	}
	if s := all[CPUTimeLimit]; s.State == Works && !strings.HasPrefix(s.By, "cgroup") {
		t.Errorf("%+v, and there is no /proc to sample", s)
	}
}

// That there is no room for a process says nothing about what the host can do.
func TestProbeWithoutRoomForProcessesIsInconclusive(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	if os.Geteuid() == 0 {
		t.Fatal("root has no such limit")
	}
	all := probed(t, "probe with one process")
	if s := all[UserNamespace]; s.State != Inconclusive || !strings.Contains(s.Cause, syscall.EAGAIN.Error()) || !strings.Contains(s.Remedy, "RLIMIT_NPROC") {
		t.Errorf("%+v", s)
	}
}

// A container's filter answers clone3 with ENOSYS. Where the tests are a service, it might be systemd's.
func TestProbeTellsOfAFilter(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	all := probed(t, "probe under a filter")
	if s := all[UserNamespace]; s.State != Missing || !strings.Contains(s.Cause, syscall.ENOSYS.Error()) ||
		!strings.Contains(s.Remedy, "CLONE_NEWUSER") && !strings.Contains(s.Remedy, "RestrictNamespaces=no") {
		t.Errorf("%+v", s)
	}
}

func TestProbeTellsOfCgroupLimits(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.UserNamespaces(), sandboxtest.CgroupV2())
	// What was found for one sandbox is there for all.
	if _, err := Run(t.Context(), Spec{Args: []string{"true"}, Cgroup: CgroupOptions{Always: true, MoveCaller: true}}); err != nil {
		t.Fatal(err)
	}
	host, err := Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range host.Features() {
		switch s.Feature {
		case Cgroup, MemoryLimit, PidsLimit: // which the requirement has tried
			if s.State != Works || s.By == "" {
				t.Errorf("%+v", s)
			}
		case CPUTimeLimit:
			if s.By != "cgroup cpu.stat" {
				t.Errorf("%+v, and there is a cgroup", s)
			}
		case CPULimit, CPUWeight, CPUSet, HugetlbLimit:
			if s.State == Inconclusive {
				t.Errorf("%+v", s)
			}
		}
		t.Logf("%s: %v: %s %v", s.Feature, s.State, s.By, s.Cause)
	}
}
