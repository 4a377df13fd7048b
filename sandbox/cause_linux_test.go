package sandbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ringfence-go/ringfence/idmap"
	"github.com/ringfence-go/ringfence/internal/cgroup"
	"github.com/ringfence-go/ringfence/internal/launch"
	"github.com/ringfence-go/ringfence/internal/probe"
)

// plainHost has none of the restrictions.
func plainHost() probe.Restrictions {
	return probe.Restrictions{Major: 6, Minor: 8, Program: "/srv/judge", UsernsClone: probe.Unset, AppArmorUserns: probe.Unset, MemfdNoexec: 0,
		MaxNamespaces: map[string]int{"user": 100, "mnt": 100, "pid": 100, "net": 100, "ipc": 100, "uts": 100, "cgroup": 100}}
}

// refusalAt is the error of a Run that got errno at a step of the zero Spec.
func refusalAt(t *testing.T, label string, errno syscall.Errno) error {
	t.Helper()
	p, err := Compile(Spec{Args: []string{"true"}}, pretendHost("amd64", 1000))
	if err != nil {
		t.Fatal(err)
	}
	return p.startError(context.Background(), &launch.FailedError{Index: stepIndex(t, p, label), Result: -int64(errno)})
}

// Each row is a situation that users meet: what Run says there, what the host is like, and words of the remedy.
func TestRemediesAreExact(t *testing.T) {
	const clone = "start PID 1 in namespaces of its own"
	helper := func(cause error, remedy string) error {
		return mapError(&idmap.ApplyError{File: "/proc/7/uid_map", Helper: "newuidmap", Remedy: remedy, Err: cause})
	}
	undelegated := placement{cause: &cgroup.FindError{Attempts: []cgroup.Attempt{{Way: cgroup.Own, Err: cgroup.ErrNotDelegated}}, Remedy: "systemd-run --user"}}
	for _, tt := range []struct {
		name string
		err  error
		host func(*probe.Restrictions)
		who  Feature
		want []string
	}{
		{"user.max_user_namespaces=0", refusalAt(t, clone, syscall.ENOSPC), func(r *probe.Restrictions) { r.MaxNamespaces["user"] = 0 },
			UserNamespace, []string{"sysctl -w user.max_user_namespaces=15000", "/etc/sysctl.d/"}},
		{"user.max_net_namespaces=0", refusalAt(t, clone, syscall.ENOSPC), func(r *probe.Restrictions) { r.MaxNamespaces["net"] = 0 },
			NetworkNamespace, []string{"sysctl -w user.max_net_namespaces=15000"}},
		{"used up", refusalAt(t, clone, syscall.ENOSPC), nil, UserNamespace, []string{"user.max_*_namespaces", "nested 32 deep"}},
		{"kernel.unprivileged_userns_clone=0", refusalAt(t, clone, syscall.EPERM), func(r *probe.Restrictions) { r.UsernsClone = 0 },
			UserNamespace, []string{"sysctl -w kernel.unprivileged_userns_clone=1"}},
		{"Ubuntu: uid_map", refusalAt(t, stepPrivate, syscall.EACCES), func(r *probe.Restrictions) { r.AppArmorUserns = 1 },
			UserNamespace, []string{"/etc/apparmor.d/ringfence-judge", "abi <abi/4.0>,", "\n    profile ringfence-judge \"/srv/judge\" flags=(unconfined) {\n      userns,\n", "apparmor_parser -r", "kernel.apparmor_restrict_unprivileged_userns=0"}},
		{"Docker: clone3 is ENOSYS", refusalAt(t, clone, syscall.ENOSYS), func(r *probe.Restrictions) { r.Container, r.Filtered = probe.Docker, true },
			UserNamespace, []string{"docker run --security-opt seccomp=unconfined", "apparmor=unconfined", "mount_setattr"}},
		{"Docker: CLONE_NEWUSER is EPERM", refusalAt(t, clone, syscall.EPERM), func(r *probe.Restrictions) {
			r.Container, r.Filtered, r.AppArmor, r.AppArmorUserns = probe.Docker, true, "docker-default", 1
		}, UserNamespace, []string{"--security-opt seccomp=unconfined --security-opt apparmor=unconfined"}},
		{"Podman", refusalAt(t, clone, syscall.EPERM), func(r *probe.Restrictions) { r.Container, r.Filtered = probe.Podman, true },
			UserNamespace, []string{"podman run --security-opt seccomp=unconfined"}},
		{"Kubernetes", refusalAt(t, clone, syscall.EPERM), func(r *probe.Restrictions) { r.Container = probe.Kubernetes },
			UserNamespace, []string{"hostUsers: false", "procMount: Unmasked", "seccompProfile: {type: Unconfined}"}},
		{"LXC", refusalAt(t, clone, syscall.EPERM), func(r *probe.Restrictions) { r.Container = probe.LXC },
			UserNamespace, []string{"security.nesting=true"}},
		{"a service", refusalAt(t, clone, syscall.EPERM), func(r *probe.Restrictions) { r.Unit, r.Filtered = "judge.service", true },
			UserNamespace, []string{"/etc/systemd/system/judge.service.d/", "\n    [Service]\n    RestrictNamespaces=no\n", "systemctl restart judge.service"}},
		{"a service of the user's", refusalAt(t, clone, syscall.EPERM), func(r *probe.Restrictions) { r.Unit, r.UserUnit, r.Filtered = "judge.service", true, true },
			UserNamespace, []string{"~/.config/systemd/user/judge.service.d/", "systemctl --user restart judge.service"}},
		{"a profile", refusalAt(t, clone, syscall.EACCES), func(r *probe.Restrictions) { r.AppArmor = "mine" },
			UserNamespace, []string{"AppArmor profile mine"}},
		{"a filter", refusalAt(t, clone, syscall.EPERM), func(r *probe.Restrictions) { r.Filtered = true },
			UserNamespace, []string{"seccomp filter", "CLONE_NEWUSER"}},
		{"two at once", refusalAt(t, clone, syscall.EPERM), func(r *probe.Restrictions) { r.UsernsClone, r.Container = 0, probe.Docker },
			UserNamespace, []string{"unprivileged_userns_clone=1", "docker run"}},
		{"a kernel that is too old", refusalAt(t, stepMakeProc, syscall.ENOSYS), func(r *probe.Restrictions) { r.Major, r.Minor = 5, 10 },
			MountNamespace, []string{"Linux 5.15 or later; this is 5.10"}},
		{"a masked /proc in Docker", refusalAt(t, stepMakeProc, syscall.EPERM), func(r *probe.Restrictions) { r.Container = probe.Docker },
			NewProc, []string{"docker run --security-opt systempaths=unconfined"}},
		{"a masked /proc in Podman", refusalAt(t, stepMakeProc, syscall.EPERM), func(r *probe.Restrictions) { r.Container = probe.Podman },
			NewProc, []string{"podman run --security-opt unmask=ALL"}},
		{"a masked /proc in Kubernetes", refusalAt(t, stepMakeProc, syscall.EPERM), func(r *probe.Restrictions) { r.Container = probe.Kubernetes },
			NewProc, []string{"hostUsers: false", "procMount: Unmasked"}},
		{"a masked /proc of a service", refusalAt(t, stepMakeProc, syscall.EPERM), func(r *probe.Restrictions) { r.Unit = "judge.service" },
			NewProc, []string{"judge.service.d/", "ProtectKernelTunables=no"}},
		{"a masked /proc by hand", refusalAt(t, stepMakeProc, syscall.EPERM), func(r *probe.Restrictions) { r.ProcCovered = []string{"/proc/sys", "/proc/kcore"} },
			NewProc, []string{"umount /proc/sys /proc/kcore", "systempaths=unconfined"}},
		{"a read-only /proc", refusalAt(t, stepMakeProc, syscall.EPERM), func(r *probe.Restrictions) { r.ProcReadOnly = true },
			NewProc, []string{"mount -o remount,bind,rw /proc"}},
		{"a /proc with other time stamps", refusalAt(t, stepMakeProc, syscall.EPERM), func(r *probe.Restrictions) { r.ProcTimes = true },
			NewProc, []string{"mount -o remount,bind,relatime /proc"}},
		{"vm.memfd_noexec=2", zeroPlan(t).startError(t.Context(), launch.ErrImageRefused), func(r *probe.Restrictions) { r.MemfdNoexec = 2 },
			MemfdExec, []string{"sysctl -w vm.memfd_noexec=1", "TMPDIR"}},
		{"memfd refused by a policy", zeroPlan(t).startError(t.Context(), launch.ErrImageRefused), nil, MemfdExec, []string{"TMPDIR"}},
		{"no newuidmap on Debian", helper(idmap.ErrNoHelper, "install it"), func(r *probe.Restrictions) { r.OS = []string{"mint", "ubuntu", "debian"} },
			IDMap, []string{"as root: apt-get install uidmap"}},
		{"no newuidmap on Rocky", helper(idmap.ErrNoHelper, "install it"), func(r *probe.Restrictions) { r.OS = []string{"rocky", "rhel", "fedora"} },
			IDMap, []string{"as root: dnf install shadow-utils"}},
		{"no newuidmap elsewhere", helper(idmap.ErrNoHelper, "install it"), nil, IDMap, []string{"install it"}},
		{"newuidmap without its bit", helper(fmt.Errorf("%w: no bit", idmap.ErrNoPrivilege), "chmod u+s /usr/bin/newuidmap"), nil,
			IDMap, []string{"chmod u+s /usr/bin/newuidmap"}},
		{"no entry in /etc/subuid", helper(idmap.ErrNoSubordinate, "usermod --add-subuids 1-2 me"), nil, IDMap, []string{"usermod --add-subuids 1-2 me"}},
		{"no delegation to a service", undelegated.unplaced(Cgroup, ""), func(r *probe.Restrictions) { r.Unit = "judge.service" },
			Cgroup, []string{"judge.service.d/", "Delegate=yes"}},
		{"cgroup v1, or a hybrid", undelegated.unplaced(MemoryLimit, cgroup.Memory), func(r *probe.Restrictions) { r.CgroupV1, r.Unit = true, "judge.service" },
			MemoryLimit, []string{"systemd.unified_cgroup_hierarchy=1 cgroup_no_v1=all"}},
		{"no delegation to a shell", undelegated.unplaced(MemoryLimit, cgroup.Memory), nil, MemoryLimit, []string{"systemd-run --user"}},
		{"a filter with a listener", refusalAt(t, stepLoadFilter, syscall.EBUSY), nil, SeccompNotify, []string{"listener"}},
	} {
		r := plainHost()
		if tt.host != nil {
			tt.host(&r)
		}
		all := unsupportedIn(tt.err)
		if len(all) != 1 || culprit(all[0], &r) != tt.who {
			t.Errorf("%s: %v is not about %s", tt.name, tt.err, tt.who)
		}
		got := exactRemedy(tt.err, &r)
		for _, want := range tt.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: the remedy lacks %q:\n%s", tt.name, want, got)
			}
		}
	}
}

func TestRemediesOfOtherErrors(t *testing.T) {
	r := plainHost()
	if got := exactRemedy(nil, &r); got != "" {
		t.Error(got)
	}
	if got := exactRemedy(context.DeadlineExceeded, &r); got != "" {
		t.Error(got)
	}
	exhausted := refusalAt(t, "start PID 1 in namespaces of its own", syscall.EAGAIN)
	if got := exactRemedy(exhausted, &r); !strings.Contains(got, "RLIMIT_NPROC") || len(unsupportedIn(exhausted)) != 0 {
		t.Errorf("%q of %v", got, exhausted)
	}
	two := errors.Join(&UnsupportedError{Feature: UTSNamespace, Remedy: "a"}, &UnsupportedError{Feature: IPCNamespace, Remedy: "b"}, &UnsupportedError{Feature: PIDNamespace, Remedy: "b"})
	if got := exactRemedy(two, &r); got != "a\nb" {
		t.Errorf("%q", got)
	}
}

// A profile for a path holds for this path alone, whatever is in it.
func TestProfilesQuoteThePath(t *testing.T) {
	text := appArmorRemedy(`/srv/my judges/*{a,b}"@x`)
	if !strings.Contains(text, `profile ringfence---a-b---x "/srv/my judges/\*\{a\,b\}\"@x" flags=(unconfined) {`) {
		t.Error(text)
	}
}

// What a container's profile has to let through is what the set-up calls.
func TestGatedCallsAreThoseOfThePlan(t *testing.T) {
	// Of the default profile of Docker: what it has for CAP_SYS_ADMIN alone, and pivot_root, which it does not have.
	docker := strings.Fields(`bpf clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr
		move_mount open_tree perf_event_open quotactl setdomainname sethostname setns syslog umount umount2 unshare pivot_root`)
	var called []string
	spec := Spec{Args: []string{"true"}, Terminal: &Terminal{}, Mounts: []Mount{{Source: "/srv", Target: "/srv"}, {Type: Tmpfs, Target: "/t"}}}
	p, err := Compile(spec, pretendHost("amd64", 1000))
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range p.program.Ops {
		if name := op.Call.Name; slices.Contains(docker, name) && !slices.Contains(called, name) {
			called = append(called, name)
		}
	}
	slices.Sort(called)
	if !slices.Equal(called, gatedCalls[:]) {
		t.Errorf("the plan calls %q, the remedies name %q", called, gatedCalls)
	}
}
