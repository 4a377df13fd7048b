package probe

import (
	"strings"
	"testing"
)

// FuzzHostFiles reads files of a host, which may be anything in a container: nothing panics, and every answer is a
// piece of what was read.
func FuzzHostFiles(f *testing.F) {
	for _, s := range []string{
		"6.1.0-13-amd64", "5", "99999999999999999999.1", "-1.-1",
		"docker-default (enforce)\n", "unconfined\n", "a (unconfined)\x00",
		"0::/system.slice/app.service\n", "0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.service\n",
		"ID=debian\nID_LIKE=\"a b\"\nID='x\n=",
		"1 0 0:2 / /proc ro,nosuid - proc proc rw\n2 1 0:3 / /proc/sys rw - proc proc rw\n",
		"29 23 0:26 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n30 23 0:27 / /x rw - cgroup c rw,name=systemd\n", " - - -\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if major, minor := parseRelease(text); minor < 0 {
			t.Errorf("%d.%d", major, minor)
		}
		answers := append(osIDs(text), confinement(text))
		name, _ := unit(text)
		answers = append(answers, name)
		mounts := coveredIn(text)
		for _, m := range mounts {
			if !strings.HasPrefix(m, "/proc/") || emptyInProc(m) {
				t.Errorf("%q is covered", m)
			}
		}
		for _, a := range append(answers, mounts...) {
			if !strings.Contains(text, a) {
				t.Errorf("%q is nowhere in %q", a, text)
			}
		}
		_, _ = procReadOnlyIn(text), controllersInV1(text)
	})
}
