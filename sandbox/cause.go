//go:build linux

package sandbox

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/ringfence-go/ringfence/idmap"
	"github.com/ringfence-go/ringfence/internal/cgroup"
	"github.com/ringfence-go/ringfence/internal/probe"
)

// What is here turns an error of Run and what the host is like into the remedy for this very host. Nothing
// touches the system: hosts are tables in the tests.

// The oldest kernel that can set a sandbox up.
const oldestMajor, oldestMinor = 5, 15

// culprit returns the feature that a refusal is about. clone3(2) refuses all kinds of namespaces with one errno,
// and the sysctls tell which kind it was.
func culprit(u *UnsupportedError, r *probe.Restrictions) Feature {
	if u.Feature == MountNamespace && errors.Is(u, syscall.EACCES) && r.AppArmorUserns > 0 && r.AppArmor == "" {
		return UserNamespace // which Ubuntu lets everybody make, and nobody use
	}
	if u.Feature != UserNamespace || !usedUp(u) {
		return u.Feature
	}
	for _, ns := range namespaces {
		if n, ok := r.MaxNamespaces[ns.name]; ok && n == 0 {
			return ns.feature
		}
	}
	return u.Feature
}

// usedUp reports whether there are as many namespaces as there may be. Before Linux 4.9 it was EUSERS.
func usedUp(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EUSERS)
}

// exactRemedy says what can be done on a host about an error of Run. Where nothing is known of the host that
// says more, it is the error's own remedy.
func exactRemedy(err error, r *probe.Restrictions) string {
	all := unsupportedIn(err)
	if len(all) == 0 {
		var op *OpError
		if errors.As(err, &op) {
			return op.Remedy
		}
		return ""
	}
	var texts []string
	for _, u := range all {
		if text := unsupportedRemedy(u, r); text != "" && !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return strings.Join(texts, "\n")
}

func unsupportedRemedy(u *UnsupportedError, r *probe.Restrictions) string {
	var find *cgroup.FindError
	refused := errors.Is(u, syscall.EPERM) || errors.Is(u, syscall.EACCES)
	switch {
	case errors.Is(u, syscall.ENOSYS) && r.Major > 0 && (r.Major < oldestMajor || r.Major == oldestMajor && r.Minor < oldestMinor):
		return fmt.Sprintf("boot Linux %d.%d or later; this is %d.%d", oldestMajor, oldestMinor, r.Major, r.Minor)
	case usedUp(u) && slices.ContainsFunc(namespaces[:], func(ns namespaceKind) bool { return ns.feature == u.Feature }):
		return usedUpRemedy(r)
	case errors.Is(u, syscall.ENOSYS):
		return orElse(filterRemedy(r), u.Remedy)
	case (u.Feature == UserNamespace || u.Feature == MountNamespace || u.Feature == UTSNamespace) && refused:
		return refusedRemedy(u, r)
	case u.Feature == NewProc:
		return procRemedy(u, r)
	case u.Feature == MemfdExec && r.MemfdNoexec >= memfdNoexecEnforced:
		return sysctlRemedy("vm.memfd_noexec", 1) + "\nor set TMPDIR to a directory of a file system that is writable and not noexec"
	case errors.Is(u, idmap.ErrNoHelper):
		return orElse(packageRemedy(r), u.Remedy)
	case u.Feature == SeccompNotify && errors.Is(u, syscall.EBUSY):
		return "start the program outside of the sandbox whose filter has the listener, or give that one a policy without Notify"
	case errors.As(u, &find) && r.CgroupV1:
		return "boot the host with systemd.unified_cgroup_hierarchy=1 cgroup_no_v1=all on the kernel's command line: its controllers are in cgroup v1, of which nothing can be delegated"
	case errors.Is(u, cgroup.ErrNotDelegated) && r.Unit != "":
		return dropIn(r, "Delegate=yes")
	}
	return u.Remedy
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// sysctlRemedy sets a sysctl now and for later (sysctl.d(5)).
func sysctlRemedy(name string, value int) string {
	return fmt.Sprintf("as root: sysctl -w %[1]s=%[2]d\nto keep it: echo '%[1]s = %[2]d' >>/etc/sysctl.d/90-ringfence.conf", name, value)
}

// manyNamespaces is what a kernel gives a machine of 4 GB: half of its threads-max.
const manyNamespaces = 15000

func usedUpRemedy(r *probe.Restrictions) string {
	var texts []string
	for _, ns := range namespaces {
		if n, ok := r.MaxNamespaces[ns.name]; ok && n == 0 {
			texts = append(texts, sysctlRemedy("user.max_"+ns.name+"_namespaces", manyNamespaces))
		}
	}
	if texts == nil {
		return "all namespaces that the user may have are in use, or user namespaces are nested 32 deep: raise the sysctls user.max_*_namespaces, also on the host of a container, or end what holds them (lsns lists it)"
	}
	return strings.Join(texts, "\n")
}

// refusedRemedy is for hosts that do not let this user make user namespaces, or use them. Several may do so at
// once, and then each remedy is needed.
func refusedRemedy(u *UnsupportedError, r *probe.Restrictions) string {
	var texts []string
	if r.UsernsClone == 0 {
		texts = append(texts, sysctlRemedy("kernel.unprivileged_userns_clone", 1))
	}
	if r.AppArmorUserns > 0 && r.AppArmor == "" {
		texts = append(texts, appArmorRemedy(r.Program))
	}
	if r.Filtered || r.AppArmor != "" || r.Container != probe.NoContainer {
		texts = append(texts, filterRemedy(r))
	}
	if texts == nil {
		return orElse(u.Remedy, "the program must not be in a chroot(2), and no policy such as one of SELinux may forbid user namespaces")
	}
	return strings.Join(texts, "\n")
}

// appArmorRemedy is a profile that confines nothing and permits user namespaces: what Ubuntu ships for programs
// that need them. What the program executes without a profile of its own keeps that of the program, and so does the
// set-up image, which has no path that a profile could name.
func appArmorRemedy(program string) string {
	const otherwise = "or for every program, " // which is what the restriction is against
	if program == "" {
		program = "/path/to/the/program"
	}
	name := profileName(program)
	return fmt.Sprintf(`as root: put this into /etc/apparmor.d/%[1]s
    abi <abi/4.0>,
    include <tunables/global>

    profile %[1]s %[2]s flags=(unconfined) {
      userns,
      include if exists <local/%[1]s>
    }
and load it: apparmor_parser -r /etc/apparmor.d/%[1]s
%[3]s%[4]s`, name, profilePath(program), otherwise, sysctlRemedy("kernel.apparmor_restrict_unprivileged_userns", 0))
}

// profileName is the name of a profile and of its file for a program.
func profileName(program string) string {
	plain := func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			return c
		}
		return '-'
	}
	return "ringfence-" + strings.Map(plain, path.Base(program))
}

// profilePath writes a path as apparmor.d(5) has it: in quotes, for the sake of blanks, and with every
// character that would match another behind a backslash.
func profilePath(program string) string {
	var b strings.Builder
	for i := range len(program) { // by bytes: a path need not be UTF-8
		if strings.IndexByte(`\"*?[]{}^,`, program[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(program[i])
	}
	return `"` + b.String() + `"`
}

// gatedCalls are the system calls of the set-up that the default profile of Docker keeps for CAP_SYS_ADMIN, or
// does not have. A test holds them against the plan.
var gatedCalls = [...]string{"clone3", "fsconfig", "fsmount", "fsopen", "mount", "mount_setattr", "move_mount", "open_tree", "pivot_root", "sethostname", "umount2"}

// kubernetesRemedy is all that a pod needs: user namespaces are not refused to it, nor a /proc of its own.
const kubernetesRemedy = `in the pod (procMount needs hostUsers: false, from Kubernetes 1.33 on by default):
    spec:
      hostUsers: false
      containers:
      - name: NAME
        securityContext:
          procMount: Unmasked
          seccompProfile: {type: Unconfined}
          appArmorProfile: {type: Unconfined}`

// filterRemedy is for what a container or a service forbids by a filter or a profile.
func filterRemedy(r *probe.Restrictions) string {
	narrower := "in place of seccomp=unconfined a profile does that lets everybody call clone with CLONE_NEWUSER, and " + strings.Join(gatedCalls[:], ", ")
	switch {
	case r.Container == probe.Kubernetes:
		return kubernetesRemedy
	case r.Container == probe.Docker:
		return "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined IMAGE\n" + narrower
	case r.Container == probe.Podman:
		return "podman run --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt unmask=ALL IMAGE\n" + narrower
	case r.Container == probe.LXC:
		return lxcRemedy
	case r.Unit != "" && r.Container == probe.NoContainer:
		return dropIn(r, "RestrictNamespaces=no", "SystemCallFilter=", "AppArmorProfile=")
	case r.AppArmor != "":
		return "add the rules userns, mount, umount and pivot_root to the AppArmor profile " + r.AppArmor + ", or start the program outside of it: aa-exec -p unconfined PROGRAM"
	case r.Filtered:
		return "start the program without the seccomp filter that it is under, or with one that lets it call clone with CLONE_NEWUSER, and " + strings.Join(gatedCalls[:], ", ")
	}
	return ""
}

const lxcRemedy = "lxc config set CONTAINER security.nesting=true, and restart it; in a file of LXC: lxc.include = /usr/share/lxc/config/nesting.conf"

// dropIn changes a service of systemd's (systemd.unit(5)).
func dropIn(r *probe.Restrictions, settings ...string) string {
	dir, manager := "/etc/systemd/system/", "systemctl"
	if r.UserUnit {
		dir, manager = "~/.config/systemd/user/", "systemctl --user"
	}
	text := "put this into " + dir + r.Unit + ".d/ringfence.conf\n    [Service]"
	if !r.UserUnit {
		text = "as root: " + text
	}
	for _, s := range settings {
		text += "\n    " + s
	}
	return text + "\nand restart it: " + manager + " daemon-reload && " + manager + " restart " + r.Unit
}

// procRemedy is for a /proc of which something is covered, so that the kernel gives no new one.
func procRemedy(u *UnsupportedError, r *probe.Restrictions) string {
	switch r.Container {
	case probe.Kubernetes:
		return kubernetesRemedy
	case probe.Docker:
		return "docker run --security-opt systempaths=unconfined IMAGE"
	case probe.Podman:
		return "podman run --security-opt unmask=ALL IMAGE"
	case probe.LXC:
		return lxcRemedy
	}
	switch {
	case r.Unit != "" && r.Container == probe.NoContainer:
		return dropIn(r, "ProtectKernelTunables=no", "ProtectKernelLogs=no", "ProtectProc=default", "ProcSubset=all")
	case len(r.ProcCovered) > 0:
		text := "as root of the user namespace that has mounted them: umount " + strings.Join(r.ProcCovered, " ")
		return text + "\nin a container: " + u.Remedy + "\nin a sandbox of this library: give its Spec the Mount{Type: Proc, Target: \"/proc\", Writable: true}"
	case r.ProcReadOnly:
		return "as root of the user namespace that has mounted it: mount -o remount,bind,rw /proc"
	case r.ProcTimes:
		return "as root of the user namespace that has mounted it: mount -o remount,bind,relatime /proc"
	}
	return u.Remedy
}

// packages have newuidmap and newgidmap, by the ID or ID_LIKE of os-release(5).
var packages = []struct{ id, command string }{
	{"debian", "apt-get install uidmap"},
	{"ubuntu", "apt-get install uidmap"},
	{"fedora", "dnf install shadow-utils"},
	{"rhel", "dnf install shadow-utils"},
	{"arch", "pacman -S shadow"},
	{"suse", "zypper install shadow"},
	{"opensuse", "zypper install shadow"},
	{"alpine", "apk add shadow-uidmap"},
}

// packageRemedy installs the helpers; "" where it is not known how.
func packageRemedy(r *probe.Restrictions) string {
	for _, id := range r.OS {
		for _, p := range packages {
			if p.id == id {
				return "as root: " + p.command
			}
		}
	}
	return ""
}
