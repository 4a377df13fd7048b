package sandbox

import (
	"strings"
	"testing"
)

// Facts about the kernel's surface: that the filter is on, and which sockets and keys it leaves. Which
// calls it refuses is in facts_abi_linux_test.go.

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
