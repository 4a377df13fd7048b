package probe

import (
	"reflect"
	"slices"
	"testing"
)

func noVariables(string) (string, bool) { return "", false }

func TestRestrictionsAreRead(t *testing.T) {
	root := host(t,
		"proc/sys/user/max_user_namespaces = 0\n", "proc/sys/user/max_net_namespaces = 7\n",
		"proc/sys/kernel/unprivileged_userns_clone = 0\n", "proc/sys/kernel/apparmor_restrict_unprivileged_userns = 1\n",
		"proc/sys/vm/memfd_noexec = 2\n", "proc/self/attr/apparmor/current = docker-default (enforce)\n",
		"proc/self/status = Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n", "proc/self/cgroup = 0::/system.slice/judge.service\n",
		"etc/os-release = NAME=\"Some\"\nID=ubuntu\nID_LIKE=\"debian x\"\n", ".dockerenv = ",
		"proc/self/mountinfo = 1 0 0:1 / / rw - ext4 x rw\n2 1 0:2 / /proc rw,nosuid,noatime - proc p rw\n3 2 0:2 /sys /proc/sys ro - proc p rw\n",
	)
	r := ReadRestrictions(root, noVariables)
	if !reflect.DeepEqual(r.MaxNamespaces, map[string]int{"user": 0, "net": 7}) || r.UsernsClone != 0 || r.AppArmorUserns != 1 || r.MemfdNoexec != 2 ||
		r.AppArmor != "docker-default" || !r.Filtered || r.Container != Docker || r.Unit != "judge.service" || !slices.Equal(r.OS, []string{"ubuntu", "debian", "x"}) ||
		!slices.Equal(r.ProcCovered, []string{"/proc/sys"}) || r.ProcReadOnly || !r.ProcTimes || r.Program == "" || r.Major == 0 {
		t.Errorf("%+v", r)
	}
	r = ReadRestrictions(t.TempDir(), noVariables)
	if r.UsernsClone != Unset || r.AppArmorUserns != Unset || r.MemfdNoexec != Unset || r.AppArmor != "" || r.Filtered || r.Container != NoContainer || r.Unit != "" || r.ProcTimes {
		t.Errorf("a host that hides all: %+v", r)
	}
}

func TestContainersAreToldApart(t *testing.T) {
	for _, tt := range []struct {
		file, key, value string
		want             Container
	}{
		{"x", "", "", NoContainer},
		{".dockerenv = ", "", "", Docker},
		{".dockerenv = ", "KUBERNETES_SERVICE_HOST", "10.0.0.1", Kubernetes},
		{"var/run/secrets/kubernetes.io", "", "", Kubernetes},
		{"run/.containerenv = ", "", "", Podman},
		{"x", "container", "podman", Podman},
		{"x", "container", "lxc", LXC},
		{"dev/lxd", "", "", LXC},
		{"x", "container", "systemd-nspawn", OtherContainer},
	} {
		lookup := func(key string) (string, bool) { return tt.value, tt.key != "" && key == tt.key }
		if got := container(host(t, tt.file), lookup); got != tt.want {
			t.Errorf("%s and %s=%s: %q, want %q", tt.file, tt.key, tt.value, got, tt.want)
		}
	}
}

func TestConfinementsAndUnits(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "unconfined\n": "", "judge (unconfined)\n": "", "docker-default (enforce)\n": "docker-default", "x (complain)\x00": "x",
	} {
		if got := confinement(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"": "", "0::/user.slice/user-1000.slice/session-1.scope\n": "", "0::/system.slice/a.service\n": "a.service",
		"0::/user.slice/user-1.slice/user@1.service\n": "", "2:cpu:/\n0::/system.slice/b.service\n": "b.service",
	} {
		if got, user := unit(text); got != want || user {
			t.Errorf("%q: %q, %v, want %q", text, got, user, want)
		}
	}
	if name, user := unit("0::/user.slice/user-1.slice/user@1.service/app.slice/c.service\n"); name != "c.service" || !user {
		t.Errorf("%q, %v: it is a unit of the user's", name, user)
	}
	if !procReadOnlyIn("2 1 0:2 / /proc ro,nosuid - proc p rw\n") || procReadOnlyIn("2 1 0:2 / /proc rw,ro - proc p rw\n") {
		t.Error("a read-only /proc is not told")
	}
}

func TestControllersOfVersion1AreSeen(t *testing.T) {
	for line, want := range map[string]bool{
		"30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n":                  false,
		"31 23 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n":    false,
		"32 23 0:28 / /sys/fs/cgroup/memory rw,nosuid shared:3 - cgroup cgroup rw,memory\n": true,
	} {
		if controllersInV1(line) != want {
			t.Errorf("%q: want %v", line, want)
		}
	}
}
