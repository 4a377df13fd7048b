package sandbox

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// Hosts on which something is used up, or not there, each made for real: the error is typed, names its feature and the
// remedy, and Probe says the same.

// full is the script of a host where a user has as many user namespaces as may be. Another process holds the one.
const full = `echo 1 >/proc/sys/user/max_user_namespaces
	unshare -U sh -c 'while kill -0 $0; do sleep 0.05; done' $$ </dev/null >/dev/null 2>&1 &
	own=$(readlink /proc/self/ns/user); until other=$(readlink /proc/$!/ns/user) && [ "$other" != "$own" ]; do kill -0 $! || exit 1; done; exec "$0"`

// fullIPC is that of IPC namespaces.
var fullIPC = strings.NewReplacer("max_user", "max_ipc", "ns/user", "ns/ipc", "unshare -U", "unshare -i").Replace(full)

// deepest is the script of a host where user namespaces are nested as deep as the kernel lets them be.
const deepest = `export S='if unshare -U true 2>/dev/null; then exec unshare -Uc sh -c "$S" "$0"; fi; exec "$0"'; exec sh -c "$S" "$0"`

func TestQuotasThatAreUsedUpAreTold(t *testing.T) {
	t.Parallel()
	for name, host := range map[string][]string{
		"user namespaces":  {"unshare", "-Ur", "sh", "-c", full},
		"nested too often": {"sh", "-c", deepest},
	} {
		// What is used up may be there again in a moment: nothing is done without for that.
		r := lackingAs(t, host, lackingRun{Acts: []string{"nothing"}, Allow: []Feature{NetworkNamespace, IPCNamespace, UTSNamespace, CgroupNamespace, NewProc}})
		if remedy := r.Refused[UserNamespace]; len(r.Refused) != 1 || !strings.Contains(remedy, "raise sysctl user.max_user_namespaces and its siblings") {
			t.Errorf("%s: %q, refused %q", name, r.Err, r.Refused)
		}
		s := probed(t, "probe", host...)[UserNamespace]
		if s.State != Missing || !s.Unsupported || !strings.Contains(s.Remedy, "in use, or user namespaces are nested 32 deep") {
			t.Errorf("%s: Probe says %+v", name, s)
		}
	}
}

// Else anybody could bring about that others have a weaker sandbox. Seen to fail, unprivileged, when lacksUsers took
// every refusal for a want of user namespaces.
func TestQuotasThatAreUsedUpMakeNoSandboxWeaker(t *testing.T) {
	t.Parallel()
	bareHost(t, 0)
	sandboxtest.Need(t, sandboxtest.UserNamespaces(), sandboxtest.Program("unshare"))
	for name, script := range map[string]string{"user namespaces": full, "IPC namespaces": fullIPC} {
		cmd := caller(t, "bare")
		cmd.Env = append(cmd.Env, markerEnv+"=/nothing")
		cmd.Args = []string{"unshare", "-Uc", "--keep-caps", "sh", "-c", script, cmd.Path} // not -r: root has no other ID there
		cmd.Path, _ = exec.LookPath("unshare")                                             // it is there
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "no space left on device") {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
}

func TestHostWithoutAnyProcIsTold(t *testing.T) {
	t.Parallel()
	sandboxtest.Need(t, sandboxtest.UserNamespaces(), sandboxtest.Program("unshare"))
	cmd := caller(t, "probe")
	out, err := exec.CommandContext(t.Context(), "unshare", "-Urm", "sh", "-c", `mount -t tmpfs none /proc && `+callerEnv+`=probe exec "$0"`, cmd.Path).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "sandbox: look at the host: ") || !strings.Contains(string(out), "the host's /proc must be mounted") {
		t.Errorf("%v: %s", err, out)
	}
}

// vm.memfd_noexec is one of a PID namespace, and may be raised in a new one.
func TestRootHostThatExecutesNoImageIsTold(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.Program("unshare"), sandboxtest.Requirement{Name: "memfd-noexec", Check: func() error {
		_, err := os.Stat("/proc/sys/vm/memfd_noexec")
		return err
	}})
	const refuse = `set -e; echo 2 >/proc/sys/vm/memfd_noexec; [ "$(cat /proc/sys/vm/memfd_noexec)" = 2 ]; `
	host := func(then string) []string {
		return []string{"unshare", "-mpf", "--mount-proc", "sh", "-c", refuse + then + `exec "$0"`}
	}
	const noexec = `mount -t tmpfs -o noexec none /mnt; export TMPDIR=/mnt; `
	r := lackingAs(t, host(noexec), lackingRun{Acts: []string{"nothing"}})
	if remedy := r.Refused[MemfdExec]; len(r.Refused) != 1 || !strings.Contains(remedy, "vm.memfd_noexec") || !strings.Contains(remedy, "TMPDIR") {
		t.Errorf("%q, refused %q", r.Err, r.Refused)
	}
	s := probed(t, "probe", host(noexec)...)[MemfdExec]
	if s.State != Missing || !strings.Contains(s.Remedy, "sysctl -w vm.memfd_noexec=1") || !strings.Contains(s.Remedy, "TMPDIR") {
		t.Errorf("Probe says %+v", s)
	}
	// The control, and the other way: where files may be executed there, one is.
	lackingAs(t, host(`mount -t tmpfs none /mnt; export TMPDIR=/mnt; `), lackingRun{Acts: []string{"nothing"}}).ran(t)
}
