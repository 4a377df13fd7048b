package probe

import (
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Restrictions is what may keep this program from making a sandbox: the settings by which the causes of a
// refusal are told apart. They are hints for a remedy; whether something works is for a try to say.
type Restrictions struct {
	Major, Minor int    // of the kernel's release
	Program      string // the absolute path of this program; "" is not known
	// MaxNamespaces has the sysctls user.max_*_namespaces (namespaces(7)) of the caller's user namespace, by
	// the names in /proc/self/ns. Those of the namespaces above hold too, and cannot be seen.
	MaxNamespaces map[string]int
	// UsernsClone, AppArmorUserns and MemfdNoexec are sysctls: kernel.unprivileged_userns_clone,
	// kernel.apparmor_restrict_unprivileged_userns and vm.memfd_noexec; Unset is that there is no such sysctl.
	UsernsClone, AppArmorUserns, MemfdNoexec int
	AppArmor                                 string    // the profile that confines this program; "" is none
	Filtered                                 bool      // this program is under a seccomp filter
	Container                                Container // that it runs in
	Unit                                     string    // the service of systemd that it runs in; "" is none
	UserUnit                                 bool      // it is one of the user's systemd, and not of the system's
	CgroupV1                                 bool      // controllers are in hierarchies of version 1 (cgroups(7)), where nobody can delegate them
	OS                                       []string  // ID and ID_LIKE of os-release(5): what it is, and then what it is like
	ProcCovered                              []string  // mounts below /proc
	ProcReadOnly                             bool      // /proc itself is read-only
	ProcTimes                                bool      // /proc does not have the time stamps of a new mount (relatime)
}

// Unset is the value of a sysctl that does not exist.
const Unset = -1

// Container is who made the container that a program runs in.
type Container string

// The containers that are told apart.
const (
	NoContainer    Container = ""
	Kubernetes     Container = "kubernetes"
	Docker         Container = "docker"
	Podman         Container = "podman"
	LXC            Container = "lxc"
	OtherContainer Container = "other"
)

// ReadRestrictions reads those of the host whose file system is at root; "/" is this one. What cannot be
// read is left out: a host that hides something is no reason to say nothing.
func ReadRestrictions(root string, lookup func(key string) (string, bool)) *Restrictions {
	r := &Restrictions{MaxNamespaces: map[string]int{}}
	r.Major, r.Minor, _ = release()   // 0.0 is not known
	r.Program, _ = os.Executable()    // "" is not known
	sysctl := func(name string) int { // by its path
		return readInt(filepath.Join(root, "/proc/sys", name), Unset)
	}
	for _, kind := range namespaceKinds {
		if n := maxNamespaces(root, kind); n != Unset {
			r.MaxNamespaces[kind] = n
		}
	}
	r.UsernsClone = sysctl("kernel/unprivileged_userns_clone")
	r.AppArmorUserns = sysctl("kernel/apparmor_restrict_unprivileged_userns")
	r.MemfdNoexec = sysctl("vm/memfd_noexec")
	r.AppArmor = confinement(readText(root, "/proc/self/attr/apparmor/current"))
	r.Filtered = strings.Contains(readText(root, "/proc/self/status"), "\nSeccomp:\t2\n")
	r.Container = container(root, lookup)
	r.Unit, r.UserUnit = unit(readText(root, "/proc/self/cgroup"))
	r.OS = osIDs(readText(root, "/etc/os-release"))
	mountinfo := filepath.Join(root, "/proc/self/mountinfo")
	r.ProcCovered, _ = covered(mountinfo)
	mounts := readText(root, "/proc/self/mountinfo")
	r.ProcReadOnly, r.CgroupV1 = procReadOnlyIn(mounts), controllersInV1(mounts)
	options, found := procOptions(mounts)
	r.ProcTimes = found && !strings.Contains(options, ",relatime,")
	return r
}

func readText(root, name string) string {
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		return ""
	}
	return string(b)
}

// confinement returns the name of the profile in a file of /proc/PID/attr, such as "docker-default
// (enforce)"; "" for none. A profile in the mode unconfined is held by the sysctl as none is.
func confinement(current string) string {
	name, mode, _ := strings.Cut(strings.TrimSpace(strings.TrimRight(current, "\x00\n")), " (")
	if name == "unconfined" || strings.HasPrefix(mode, "unconfined") {
		return ""
	}
	return name
}

// container goes by what the makers of containers leave for programs inside.
func container(root string, lookup func(string) (string, bool)) Container {
	exists := func(name string) bool {
		_, err := os.Stat(filepath.Join(root, name))
		return err == nil
	}
	name, _ := lookup("container") // https://systemd.io/CONTAINER_INTERFACE
	if _, ok := lookup("KUBERNETES_SERVICE_HOST"); ok || exists("/var/run/secrets/kubernetes.io") {
		return Kubernetes
	}
	switch {
	case exists("/run/.containerenv"), name == "podman":
		return Podman
	case exists("/.dockerenv"), name == "docker":
		return Docker
	case strings.HasPrefix(name, "lxc"), exists("/dev/lxd"), exists("/dev/incus"):
		return LXC
	case name != "":
		return OtherContainer
	}
	return NoContainer
}

// unit returns the service of systemd in a /proc/PID/cgroup file (cgroups(7)). What runs below the user's
// systemd has a unit of that; the service user@.service is not its own.
func unit(cgroups string) (name string, user bool) {
	for line := range strings.Lines(cgroups) {
		name := path.Base(strings.TrimSpace(line))
		if strings.HasSuffix(name, ".service") && !strings.HasPrefix(name, "user@") {
			return name, strings.Contains(line, "/user@")
		}
	}
	return "", false
}

func osIDs(release string) []string {
	var first, like []string
	for line := range strings.Lines(release) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch value = strings.Trim(value, `"'`); key {
		case "ID":
			first = strings.Fields(value)
		case "ID_LIKE":
			like = strings.Fields(value)
		}
	}
	return append(first, like...)
}

// procReadOnlyIn reports whether the mount of /proc in a mountinfo file is read-only: then so must be a new
// one (mnt_already_visible in fs/namespace.c).
func procReadOnlyIn(mountinfo string) bool {
	options, _ := procOptions(mountinfo)
	return strings.HasPrefix(options, ",ro,")
}

// procOptions returns the options of the mount of /proc in a mountinfo file, between commas.
func procOptions(mountinfo string) (options string, found bool) {
	for line := range strings.Lines(mountinfo) {
		fields := strings.Fields(line)
		const mountPoint, mountOptions = 4, 5
		if len(fields) > mountOptions && fields[mountPoint] == "/proc" {
			options, found = ","+fields[mountOptions]+",", true // the last one is on top
		}
	}
	return options, found
}

// controllersInV1 reports whether a mountinfo file has hierarchies of version 1 other than those with a name
// alone, such as the one of systemd on hybrid hosts.
func controllersInV1(mountinfo string) bool {
	for line := range strings.Lines(mountinfo) {
		_, rest, _ := strings.Cut(line, " - ")
		const fsType, superOptions = 0, 2
		fields := strings.Fields(rest)
		if len(fields) > superOptions && fields[fsType] == "cgroup" && !strings.Contains(fields[superOptions], "name=") {
			return true
		}
	}
	return false
}
