package sandbox

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/idmap"
)

// Facts about identity: IDs, environment, names.

const uidMap, gidMap = "read:/proc/self/uid_map", "read:/proc/self/gid_map"

func mapOf(inside, outside int) string { return fmt.Sprintf("%10d %10d %10d\n", inside, outside, 1) }

func TestOnlyTheCallersOwnIDExistsInside(t *testing.T) {
	t.Parallel()
	uid, gid := os.Geteuid(), os.Getegid()
	got := inside(t, nil, "ids", uidMap, gidMap, "read:/proc/self/setgroups", "stat:/usr")
	if o := got.of("ids"); !strings.HasPrefix(o.Detail, fmt.Sprintf("uid %d %d %d gid %d %d %d ", uid, uid, uid, gid, gid, gid)) {
		t.Errorf("%v, want user %d, group %d", o, uid, gid)
	}
	if m := got.of(uidMap).Detail; m != mapOf(uid, uid) {
		t.Errorf("uid_map %q", m)
	}
	if m := got.of(gidMap).Detail; m != mapOf(gid, gid) {
		t.Errorf("gid_map %q", m)
	}
	if o := got.of("read:/proc/self/setgroups"); o.Detail != "deny\n" {
		t.Errorf("setgroups: %v", o)
	}
	if o := got.of("stat:/usr"); !strings.Contains(o.Detail, " 65534:65534 ") {
		t.Errorf("the host's root shows as %v", o)
	}
}

func TestIDsInsideMayHaveOtherNumbers(t *testing.T) {
	t.Parallel()
	got := inside(t, func(s *Spec) {
		s.UIDs, s.GIDs = idmap.Single(0, os.Geteuid()), idmap.Single(7, os.Getegid())
	}, "ids", uidMap, "mknod:/tmp/x", "setgroups:7")
	if o := got.of("ids"); !strings.HasPrefix(o.Detail, "uid 0 0 0 gid 7 7 7 ") {
		t.Error(o)
	}
	got.want("mknod:/tmp/x", "EPERM") // root inside has no power
	got.want("setgroups:7", "EPERM")
}

func TestRootCallerRunsAsSomebodyElse(t *testing.T) {
	got := inside(t, nil, "ids", uidMap, gidMap, "openw:/proc/sys/kernel/hostname", "kill:1,0")
	if o := got.of("ids"); o.Detail != "uid 1000 1000 1000 gid 1000 1000 1000 groups []" {
		t.Error(o)
	}
	for _, act := range []string{uidMap, gidMap} {
		if f := strings.Fields(got.of(act).Detail); len(f) != 3 || f[0] != "1000" || f[1] == "0" || f[2] != "1" {
			t.Errorf("%s: %v", act, f)
		}
	}
	if os.Geteuid() != 0 {
		t.Error("the control: the caller is not root")
	}
}

func TestRootCallerMapsIDZeroOnlyIfItIsWritten(t *testing.T) {
	got := inside(t, func(s *Spec) {
		s.UIDs, s.GIDs = idmap.Map{{ContainerID: 0, HostID: 100000, Size: 65536}}, idmap.Map{{ContainerID: 0, HostID: 100000, Size: 65536}}
		s.User = &User{UID: 33, GID: 34, Groups: []int{40, 41}}
	}, "ids", uidMap, "setuid:0")
	if o := got.of("ids"); o.Detail != "uid 33 33 33 gid 34 34 34 groups [40 41]" {
		t.Error(o)
	}
	got.want("setuid:0", "EPERM")
	zero := inside(t, func(s *Spec) { s.UIDs, s.GIDs = idmap.Single(5, 0), idmap.Single(5, 0) }, uidMap)
	if f := strings.Fields(zero.of(uidMap).Detail); len(f) != 3 || f[1] != "0" {
		t.Errorf("the control: %v", f)
	}
}

func TestEnvironmentIsNeverInherited(t *testing.T) {
	t.Setenv("RINGFENCE_SECRET", "s3cret")
	acts := []string{"environ", "read:/proc/self/environ"}
	got := inside(t, nil, acts...)
	if o := got.of("environ"); o.Detail != "PATH="+defaultPath+"\nHOME="+baseHome+"\nLANG=C.UTF-8" {
		t.Errorf("%q", o.Detail)
	}
	for _, act := range acts {
		if strings.Contains(got.of(act).Detail, "s3cret") {
			t.Errorf("%s shows it", act)
		}
	}
	if o := outside(t, "environ").of("environ"); !strings.Contains(o.Detail, "s3cret") {
		t.Error("the control: it is not inherited outside either")
	}
	if o := inside(t, func(s *Spec) { s.Env = []string{} }, "environ").of("environ"); o.Detail != "" {
		t.Errorf("an empty Env: %q", o.Detail)
	}
	if o := inside(t, func(s *Spec) { s.Env = []string{"A=1", "B=2", "A=3"} }, "environ").of("environ"); o.Detail != "B=2\nA=3" {
		t.Errorf("Env with a key twice: %q", o.Detail)
	}
}

func TestFileModeMaskIsTheUsualOne(t *testing.T) {
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	if o := inside(t, nil, "umask").of("umask"); o.Detail != "0022" {
		t.Error(o)
	}
	if o := outside(t, "umask").of("umask"); o.Detail != "0077" {
		t.Errorf("the control: %v", o)
	}
}

func TestEtcKnowsTheSandboxAndNobodyElse(t *testing.T) {
	t.Parallel()
	host := func(s *Spec) { s.Hostname = "some-box" }
	got := inside(t, host, "hostname", "read:/etc/passwd", "read:/etc/group", "read:/etc/hosts", "read:/etc/hostname", "read:/etc/resolv.conf", "read:/etc/shadow", "list:/etc")
	if o := got.of("hostname"); o.Detail != "some-box" {
		t.Error(o)
	}
	if o := got.of("read:/etc/hostname"); o.Detail != "some-box\n" {
		t.Error(o)
	}
	if o := got.of("read:/etc/passwd"); strings.Count(o.Detail, "\n") != 3 || !strings.Contains(o.Detail, fmt.Sprintf("sandbox:x:%d:%d:", os.Geteuid(), os.Getegid())) {
		t.Errorf("/etc/passwd %q", o.Detail)
	}
	if o := got.of("read:/etc/hosts"); !strings.Contains(o.Detail, "127.0.0.1 localhost some-box") {
		t.Error(o)
	}
	got.want("read:/etc/shadow", "ENOENT")
	if o := shell(t, nil, "id -un; id -gn; hostname; echo ~"); o != "sandbox\nsandbox\nsandbox\n/home/sandbox\n" {
		t.Errorf("%q", o)
	}
	if name, err := os.Hostname(); err != nil || name == "some-box" {
		t.Errorf("the host's name is %q, %v", name, err)
	}
}
