package sandbox

import (
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
	"github.com/ringfence-go/ringfence/testing/victim"
)

// Facts about the kernel's surface: which calls the default filter lets through, by every ABI, and that
// executing a file gives no privilege.

// onlyRoot are forbidden calls of which an unprivileged kernel says the same as the filter, so that
// there is nothing to see without it.
var onlyRoot = []string{
	"acct", "clock_settime", "delete_module", "fanotify_init", "finit_module", "fsmount", "fsopen", "fspick", "init_module",
	"kexec_load", "mount_setattr", "move_mount", "open_tree", "pivot_root", "quotactl", "reboot", "sethostname", "setdomainname",
	"swapoff", "swapon", "syslog", "umount2", "mount", "userfaultfd", "bpf", "memfd_secret", "open_by_handle_at", "perf_event_open",
	"process_mrelease", "kcmp", "modify_ldt", "io_uring_setup",
}

func TestDefaultFilterRefusesWhatNoProgramNeeds(t *testing.T) {
	t.Parallel()
	names := victim.ForbiddenCalls()
	acts := make([]string, len(names))
	for i, name := range names {
		acts[i] = "call:" + name
	}
	got, control := inside(t, nil, acts...), inside(t, noFilter, acts...)
	for i, name := range names {
		want := "EPERM"
		if name == "clone3" {
			want = "ENOSYS"
		}
		got.want(acts[i], want)
		if control.of(acts[i]).Err == want && !slices.Contains(onlyRoot, name) {
			t.Errorf("%s: %s without the filter too: this proves nothing", name, want)
		}
	}
}

func TestForeignABIsKill(t *testing.T) {
	t.Parallel()
	if !victim.ForeignABIs {
		sandboxtest.Skip(t, "foreign-abis", "this architecture has no other ABI")
	}
	var acts []string
	for _, name := range append(victim.ForbiddenCalls(), "getpid", "read", "execve") {
		acts = append(acts, "x32:"+name, "i386:"+name)
	}
	for _, act := range acts {
		abi, name, _ := strings.Cut(act, ":")
		r, o := forbidden(t, act)
		if o != nil && strings.Contains(o.Err, "no call") {
			continue // that ABI does not have it
		}
		if want := name + " (" + strings.TrimPrefix(abi, "i") + ")"; r.Ended != Forbidden || r.Syscall != want || r.Signal != syscall.SIGSYS {
			t.Errorf("%s: %v, want %s forbidden", act, r, want)
		}
	}
	// Outside neither is killed by a filter: the kernel has the ABI, or says ENOSYS or SIGSEGV.
	control := outside(t, "x32:getpid", "i386:getpid")
	for _, act := range []string{"x32:getpid", "i386:getpid"} {
		if victim.SplitKilled(control.of(act)) == "SIGSYS" {
			t.Errorf("%s outside: %v", act, control.of(act))
		}
	}
}

func TestNoNewPrivsAndFilterAreOn(t *testing.T) {
	t.Parallel()
	const status = "read:/proc/self/status"
	got, control := inside(t, nil, status), outside(t, status)
	for _, field := range []string{"NoNewPrivs:\t1", "Seccomp:\t2", "Seccomp_filters:\t1"} {
		if !strings.Contains(got.of(status).Detail, field+"\n") {
			t.Errorf("no %q inside", field)
		}
		if strings.Contains(control.of(status).Detail, field+"\n") {
			t.Errorf("%q outside: this proves nothing", field)
		}
	}
}

func TestSocketsThatReachTheHypervisorOrTheKernelAreRefused(t *testing.T) {
	t.Parallel()
	const vsock, alg, packet, uevent, raw = "socket:40,1,0", "socket:38,5,0", "socket:17,3,0", "socket:16,3,15", "socket:2,3,255"
	all := []string{vsock, alg, packet, uevent, raw, "socket:1,1,0", "socket:2,1,0", "socket:10,2,0", "socket:16,3,0"}
	got := inside(t, nil, all...)
	got.want(vsock, "EAFNOSUPPORT")
	got.want(alg, "EAFNOSUPPORT")
	got.want(packet, "EAFNOSUPPORT")
	got.want(uevent, "EPROTONOSUPPORT")
	got.want(raw, "EPROTONOSUPPORT", "EPERM")
	for _, act := range all[5:] {
		got.want(act, "ok")
	}
	inside(t, noFilter, uevent).want(uevent, "ok")
}

func TestKeyringsAreOutOfReach(t *testing.T) {
	t.Parallel()
	got := inside(t, nil, "keyring", "addkey:x")
	got.want("keyring", "EPERM")
	got.want("addkey:x", "EPERM")
	control := outside(t, "keyring", "addkey:x")
	for _, act := range []string{"keyring", "addkey:x"} {
		if control.of(act).Err == "EPERM" {
			t.Errorf("%s outside: EPERM", act)
		}
	}
}
