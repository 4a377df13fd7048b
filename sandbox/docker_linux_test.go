package sandbox

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	docker "github.com/moby/profiles/seccomp"
	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/seccomp"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// Callers under a filter of somebody else's: Docker's own, and such as refuse a part.

// filterEnv says under which filter a caller is to go on: "docker", "docker and" calls that are allowed beside, or the
// calls that it refuses.
const filterEnv = "RINGFENCE_TEST_FILTER"

func init() {
	callers["filtered"] = func() error { return behindFilter("lacking") }
	callers["filtered probe"] = func() error { return behindFilter("probe") }
}

// behindFilter loads the filter for this whole program, and goes on as another caller.
func behindFilter(kind string) error {
	raw, err := foreignFilter(os.Getenv(filterEnv))
	if err != nil {
		return err
	}
	runtime.LockOSThread() // whose no_new_privs the others get with the filter
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if err := setRawFilter(raw); err != nil {
		return fmt.Errorf("load the filter: %w", err)
	}
	return callers[kind]()
}

func foreignFilter(which string) ([]byte, error) {
	more := strings.TrimPrefix(which, "docker and ")
	if which != "docker" && more == which {
		p := &seccomp.Policy{Default: seccomp.Allow, Unknown: seccomp.Errno(unix.ENOSYS), Rules: []seccomp.Rule{
			// As Docker's does: for any other error a C library makes no thread, and the caller may want one.
			{Names: []string{"clone3"}, Action: refuseIf(strings.Contains(which, "clone3"), unix.ENOSYS)},
			{Names: strings.Fields(which), Action: seccomp.Errno(unix.EPERM)},
		}}
		f, err := p.Compile(runtime.GOARCH)
		if err != nil {
			return nil, err
		}
		return f.Raw(), nil
	}
	// As dockerd hands it to runc, for a container without --privileged and --cap-add, on this kernel.
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil, err
	}
	text, err := json.Marshal(docker.DefaultProfile())
	if err != nil {
		return nil, err
	}
	profile, err := seccomp.ReadOCI(text, seccomp.OCIHost{Arch: runtime.GOARCH, Kernel: unix.ByteSliceToString(u.Release[:])})
	if err != nil {
		return nil, err
	}
	if more != which {
		allow := seccomp.Rule{Names: strings.Fields(more), Action: seccomp.Allow}
		profile.Policy.Rules = append([]seccomp.Rule{allow}, profile.Policy.Rules...)
	}
	f, err := profile.Policy.Compile(profile.Archs...)
	if err != nil {
		return nil, err
	}
	return f.Raw(), nil
}

func refuseIf(refused bool, errno unix.Errno) seccomp.Action {
	if refused {
		return seccomp.Errno(errno)
	}
	return seccomp.Allow
}

// behind runs a caller under a filter.
func behind(t *testing.T, kind, filter string, run lackingRun, env ...string) []byte {
	t.Helper()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	text, err := json.Marshal(run)
	if err != nil {
		t.Fatal(err)
	}
	cmd := caller(t, kind)
	cmd.Env = append(append(cmd.Env, filterEnv+"="+filter, lackingEnv+"="+string(text)), env...)
	return output(t, cmd)
}

// In a container of Docker's with its own profile, an error and what Probe says have the options by which it goes. The
// control is the same caller without the filter.
func TestDockersOwnProfileIsToldWithItsOptions(t *testing.T) {
	t.Parallel()
	for _, allow := range [][]Feature{nil, {NewProc, NetworkNamespace, IPCNamespace, UTSNamespace, CgroupNamespace}} {
		var r lackingResult
		if out := behind(t, "filtered", "docker", lackingRun{Acts: []string{"nothing"}, Allow: allow}); json.Unmarshal(out, &r) != nil {
			t.Fatalf("%s", out)
		}
		remedy, ok := r.Refused[UserNamespace]
		if !ok || len(r.Refused) != 1 {
			t.Errorf("allowing %q: %q, refused %q", allow, r.Err, r.Refused)
		}
		for _, want := range []string{"clone3", "CLONE_NEWUSER", "docker or podman: --security-opt seccomp=unconfined", "kubernetes: hostUsers: false, seccompProfile"} {
			if !strings.Contains(remedy, want) {
				t.Errorf("allowing %q: the remedy lacks %q: %s", allow, want, remedy)
			}
		}
	}
	for env, want := range map[string]string{
		"container=docker":                "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined",
		"container=podman":                "podman run --security-opt seccomp=unconfined",
		"KUBERNETES_SERVICE_HOST=192.0.2": "seccompProfile: {type: Unconfined}",
	} {
		var all map[Feature]probedState
		if out := behind(t, "filtered probe", "docker", lackingRun{}, env); json.Unmarshal(out, &all) != nil {
			t.Fatalf("%s", out)
		}
		if s := all[UserNamespace]; s.State != Missing || !s.Unsupported || !strings.Contains(s.Remedy, want) || all[""].Cause == "" {
			t.Errorf("%s: %+v, and the zero Spec: %+v", env, s, all[""])
		}
		for _, f := range []Feature{MountNamespace, MemoryLimit, TerminalPTY} {
			// A filter stands also without user namespaces, for those who list them in AllowMissing.
			if s := all[f]; s.State == Works {
				t.Errorf("%s: %s works", env, f)
			}
		}
	}
	if r := lackingAs(t, []string{"env"}, lackingRun{Acts: []string{"nothing"}}); r.Err != "" {
		t.Errorf("the control: %s", r.Err)
	}
}

// A filter that lets namespaces be made and refuses a call of those that set them up is told by the right feature, with
// a remedy that names the call: before gated was there to tell, all but clone3 and mount were an *OpError. The profile that the remedies ask for, Docker's with these calls, is enough.
func TestFilterOfACallOfTheSetUpIsTold(t *testing.T) {
	t.Parallel()
	for _, call := range gatedCalls {
		feature := MountNamespace
		switch call {
		case "clone3":
			feature = UserNamespace
		case "sethostname":
			feature = UTSNamespace
		}
		var all map[Feature]probedState
		if out := behind(t, "filtered probe", call, lackingRun{}, "container=docker"); json.Unmarshal(out, &all) != nil {
			t.Fatalf("%s", out)
		}
		s := all[feature]
		if s.State != Missing || !s.Unsupported || !strings.Contains(s.Remedy, call) || !strings.Contains(s.Remedy, "docker run --security-opt seccomp=unconfined") {
			t.Errorf("%s: %s is %+v; the zero Spec: %+v", call, feature, s, all[""])
		}
	}
	var r lackingResult
	enough := "docker and clone " + strings.Join(gatedCalls[:], " ")
	if out := behind(t, "filtered", enough, lackingRun{Acts: []string{"nothing"}}); json.Unmarshal(out, &r) != nil || r.Err != "" {
		t.Errorf("with %s: %s", enough, out)
	}
}
