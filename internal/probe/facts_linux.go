package probe

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Facts is what a host is like.
type Facts struct {
	Arch         string // GOARCH
	Major, Minor int    // of the kernel's release
	Caller       Caller
	Namespaces   []string // the kinds that the kernel has: names in /proc/self/ns
	Forbidden    []string // the kinds of which the user may have none: the sysctl is 0 (namespaces(7))
	LastCap      int      // the highest capability that the kernel knows

	System  []Entry // of the top level: /usr and what leads into it
	Config  []Entry // of /etc: what programs in /usr need of it, and says nothing about the host's users
	Resolv  bool    // there is an /etc/resolv.conf
	Devices []string
	// ProcMasked are the entries of /proc that tell of the host beyond the namespaces, ProcReadOnly
	// those that change it.
	ProcMasked, ProcReadOnly []Entry
	// ProcCovered are mounts below the host's /proc. Where there is one, as in most containers, the
	// kernel refuses a new /proc (mount_too_revealing in fs/namespace.c).
	ProcCovered []string

	// What the caller may have of inotify(7): the host's limit for each user, or that of the caller's own user
	// namespace if it is lower. 0 is that the kernel knows no limits of user namespaces.
	InotifyInstances, InotifyWatches int

	// Landlock is the version of the kernel's Landlock (landlock(7), "ABI versions"); 0 is none, for the
	// reason in LandlockErrno.
	Landlock      int
	LandlockErrno unix.Errno
}

// maxCap is the highest capability that a set has room for (capabilities(7)).
const maxCap = 63

// Entry is a file of the host.
type Entry struct {
	Path string // absolute
	Dir  bool   // a directory, or a link to one
	Link string // where it leads, if it is a symbolic link that is to be made anew
}

// Caller is whom this program runs as.
type Caller struct {
	UID, GID             int    // effective
	SetID                bool   // real, effective and saved IDs differ: the program is setuid or setgid
	UIDRanges, GIDRanges string // the maps of the caller's own user namespace, as uid_map(5) has them
	Setgroups            bool   // its user namespace lets it set groups (user_namespaces(7)), if it has the privilege
}

// The entries that are looked for.
var (
	topLevel = [...]string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}
	config   = [...]string{
		"/etc/alternatives", "/etc/java-*", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d",
		"/etc/localtime", "/etc/pki/ca-trust", "/etc/pki/tls/certs", "/etc/ssl/certs",
	}
	devices    = [...]string{"null", "zero", "full", "random", "urandom", "tty"}
	procMasked = [...]string{"acpi", "asound", "interrupts", "kcore", "keys", "latency_stats", "sched_debug", "scsi", "timer_list", "timer_stats"}
	// pressure is there for what psi_trigger_create of kernel/sched/psi.c makes for anybody who writes: work for
	// the whole system.
	procReadOnly = [...]string{"bus", "fs", "irq", "pressure", "sys", "sysrq-trigger"}
)

// AtLeast reports whether the kernel's release is major.minor or later.
func (f *Facts) AtLeast(major, minor int) bool {
	return f.Major > major || f.Major == major && f.Minor >= minor
}

// Read reads the facts of the host whose file system is at root; "/" is this one.
func Read(root string) (*Facts, error) {
	f := &Facts{Arch: runtime.GOARCH}
	var err error
	if f.Major, f.Minor, err = release(); err != nil {
		return nil, err
	}
	if f.Caller, err = caller(root); err != nil {
		return nil, err
	}
	f.LastCap = min(max(readInt(filepath.Join(root, "/proc/sys/kernel/cap_last_cap"), unix.CAP_LAST_CAP), 0), maxCap)
	f.Namespaces = names(filepath.Join(root, "/proc/self/ns"))
	for _, kind := range namespaceKinds {
		if maxNamespaces(root, kind) == 0 {
			f.Forbidden = append(f.Forbidden, kind)
		}
	}
	for _, path := range topLevel {
		f.System = appendEntry(f.System, root, path, true)
	}
	for _, pattern := range config {
		for _, path := range glob(root, pattern) {
			f.Config = appendEntry(f.Config, root, path, false)
		}
	}
	_, err = os.Stat(filepath.Join(root, "/etc/resolv.conf"))
	f.Resolv = err == nil
	for _, name := range devices {
		if isDevice(filepath.Join(root, "/dev", name)) {
			f.Devices = append(f.Devices, name)
		}
	}
	for _, name := range procMasked {
		f.ProcMasked = appendEntry(f.ProcMasked, root, "/proc/"+name, false)
	}
	for _, name := range procReadOnly {
		f.ProcReadOnly = appendEntry(f.ProcReadOnly, root, "/proc/"+name, false)
	}
	// The defaults of Linux; of watches 5.11 and later has more.
	f.InotifyInstances = inotify(root, "instances", 128)
	f.InotifyWatches = inotify(root, "watches", 8192)
	f.Landlock, f.LandlockErrno = landlock()
	f.ProcCovered, err = covered(filepath.Join(root, "/proc/self/mountinfo"))
	return f, err
}

func release() (major, minor int, err error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return 0, 0, os.NewSyscallError("uname", err)
	}
	major, minor = parseRelease(unix.ByteSliceToString(u.Release[:]))
	return major, minor, nil
}

// parseRelease reads the first two numbers of a release such as "6.1.0-13-amd64".
func parseRelease(s string) (major, minor int) {
	first, rest, _ := strings.Cut(s, ".")
	major, _ = strconv.Atoi(first)
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end >= 0 {
		rest = rest[:end]
	}
	minor, _ = strconv.Atoi(rest)
	return major, minor
}

// callerIDs returns a Caller without its maps.
func callerIDs() Caller {
	ruid, euid, suid := unix.Getresuid()
	rgid, egid, sgid := unix.Getresgid()
	return Caller{UID: euid, GID: egid, SetID: ruid != euid || suid != euid || rgid != egid || sgid != egid}
}

// Current reports whether this program still runs as c. A process with several threads cannot change
// its user namespace (setns(2)), so that the maps stay.
func (c Caller) Current() bool {
	now := callerIDs()
	return now.UID == c.UID && now.GID == c.GID && now.SetID == c.SetID
}

func caller(root string) (Caller, error) {
	c := callerIDs()
	uids, err := os.ReadFile(filepath.Join(root, "/proc/self/uid_map"))
	if err != nil {
		return c, err
	}
	gids, err := os.ReadFile(filepath.Join(root, "/proc/self/gid_map"))
	c.UIDRanges, c.GIDRanges = string(uids), string(gids)
	if err != nil {
		return c, err
	}
	setgroups, err := os.ReadFile(filepath.Join(root, "/proc/self/setgroups"))
	c.Setgroups = strings.TrimSpace(string(setgroups)) == "allow"
	return c, err
}

// namespaceKinds are the kinds of namespaces, as sysctls and /proc/self/ns name them.
var namespaceKinds = [...]string{"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"}

// maxNamespaces returns how many of a kind the user may have, as far as the user's own namespace says.
func maxNamespaces(root, kind string) int {
	return readInt(filepath.Join(root, "/proc/sys/user/max_"+kind+"_namespaces"), Unset)
}

// inotify returns how many of a thing of inotify(7) the caller may have, at least 1; 0 if its user namespace has no
// limit of it. A limit that cannot be read is taken for the one given.
func inotify(root, thing string, otherwise int) int {
	own := filepath.Join(root, "/proc/sys/user/max_inotify_"+thing)
	if _, err := os.Lstat(own); errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	all := readInt(filepath.Join(root, "/proc/sys/fs/inotify/max_user_"+thing), otherwise)
	return max(min(all, readInt(own, all), math.MaxInt32), 1)
}

func readInt(path string, otherwise int) int {
	b, err := os.ReadFile(path)
	if err != nil {
		return otherwise
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return otherwise
	}
	return n
}

func names(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	all := make([]string, len(entries))
	for i, e := range entries {
		all[i] = e.Name()
	}
	return all
}

func glob(root, pattern string) []string {
	if !strings.Contains(pattern, "*") {
		return []string{pattern}
	}
	matches, err := filepath.Glob(filepath.Join(root, pattern))
	if err != nil {
		return nil // only a bad pattern can fail, and these are constants
	}
	for i, m := range matches {
		rel, err := filepath.Rel(root, m)
		if err != nil {
			return nil
		}
		matches[i] = "/" + rel
	}
	return matches
}

// appendEntry appends what path is, if it exists. Links are kept as links if keep is true and they lead
// to a relative place, as /bin does to usr/bin; else they are looked through.
func appendEntry(list []Entry, root, path string, keep bool) []Entry {
	full := filepath.Join(root, path)
	info, err := os.Lstat(full)
	if err != nil {
		return list
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		if target, err := os.Readlink(full); keep && err == nil && !filepath.IsAbs(target) {
			return append(list, Entry{Path: path, Link: target})
		}
		if info, err = os.Stat(full); err != nil {
			return list
		}
	}
	return append(list, Entry{Path: path, Dir: info.IsDir()})
}

func isDevice(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&fs.ModeCharDevice != 0
}

// emptyInProc reports whether a directory of /proc is one that is always empty, to be mounted on. The
// kernel does not mind mounts there (mnt_already_visible in fs/namespace.c); systemd makes one.
func emptyInProc(path string) bool {
	return path == "/proc/sys/fs/binfmt_misc" || path == "/proc/fs/nfsd" || strings.HasPrefix(path, "/proc/fs/nfsd/")
}

// covered lists the mounts below /proc in a mountinfo file (proc_pid_mountinfo(5)).
func covered(mountinfo string) ([]string, error) {
	b, err := os.ReadFile(mountinfo)
	if err != nil {
		return nil, err
	}
	return coveredIn(string(b)), nil
}

func coveredIn(mountinfo string) []string {
	var list []string
	for line := range strings.Lines(mountinfo) {
		const mountPoint = 4
		fields := strings.Fields(line)
		if len(fields) > mountPoint && strings.HasPrefix(fields[mountPoint], "/proc/") && !emptyInProc(fields[mountPoint]) {
			list = append(list, fields[mountPoint])
		}
	}
	return list
}
