package probe

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// host makes the root of a host: "name/" is a directory, "name -> target" a link, "name = text" a file.
func host(t *testing.T, entries ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, e := range append([]string{
		"proc/self/uid_map =          0          0 4294967295\n", "proc/self/gid_map =          0          0 4294967295\n",
		"proc/self/setgroups = allow\n", "proc/self/mountinfo = 1 0 0:1 / / rw - ext4 x rw\n",
	}, entries...) {
		name, text, isFile := strings.Cut(e, " = ")
		name, target, isLink := strings.Cut(name, " -> ")
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch {
		case isLink:
			err = os.Symlink(target, path)
		case isFile:
			err = os.WriteFile(path, []byte(text), 0o644)
		default:
			err = os.MkdirAll(path, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func read(t *testing.T, entries ...string) *Facts {
	t.Helper()
	f, err := Read(host(t, entries...))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestHostWithMergedUsr(t *testing.T) {
	f := read(t, "usr/", "bin -> usr/bin", "lib -> usr/lib", "lib64 -> /usr/lib64", "usr/lib64/", "sbin -> nowhere-absolute")
	want := []Entry{{Path: "/usr", Dir: true}, {Path: "/bin", Link: "usr/bin"}, {Path: "/sbin", Link: "nowhere-absolute"}, {Path: "/lib", Link: "usr/lib"}}
	for _, e := range want {
		if !slices.Contains(f.System, e) {
			t.Errorf("no %+v in %+v", e, f.System)
		}
	}
}

func TestHostWithoutMergedUsr(t *testing.T) {
	f := read(t, "usr/", "bin/", "lib/", "sbin/")
	want := []Entry{{Path: "/usr", Dir: true}, {Path: "/bin", Dir: true}, {Path: "/sbin", Dir: true}, {Path: "/lib", Dir: true}}
	if !reflect.DeepEqual(f.System, want) {
		t.Errorf("%+v, want %+v", f.System, want)
	}
}

func TestConfigIsLookedThrough(t *testing.T) {
	f := read(t, "etc/ld.so.cache = x", "etc/java-17-openjdk/", "etc/java-21/", "etc/zone = x", "etc/localtime -> zone", "etc/ssl/certs/", "etc/ssl/private/", "etc/passwd = x", "etc/alternatives -> missing")
	want := []Entry{{Path: "/etc/java-17-openjdk", Dir: true}, {Path: "/etc/java-21", Dir: true}, {Path: "/etc/ld.so.cache"}, {Path: "/etc/localtime"}, {Path: "/etc/ssl/certs", Dir: true}}
	if !reflect.DeepEqual(f.Config, want) {
		t.Errorf("%+v, want %+v", f.Config, want)
	}
}

func TestDevicesMustBeDevices(t *testing.T) {
	f := read(t, "dev/null = x", "dev/zero/", "dev/full -> /dev/full", "dev/tty -> missing")
	if !reflect.DeepEqual(f.Devices, []string{"full"}) {
		t.Errorf("%q, want full alone, which is a link to the real one", f.Devices)
	}
}

func TestProcEntriesAreThoseThatExist(t *testing.T) {
	f := read(t, "proc/kcore = x", "proc/acpi/", "proc/sys/", "proc/sysrq-trigger = x", "proc/cpuinfo = x")
	if want := []Entry{{Path: "/proc/acpi", Dir: true}, {Path: "/proc/kcore"}}; !reflect.DeepEqual(f.ProcMasked, want) {
		t.Errorf("masked %+v, want %+v", f.ProcMasked, want)
	}
	if want := []Entry{{Path: "/proc/sys", Dir: true}, {Path: "/proc/sysrq-trigger"}}; !reflect.DeepEqual(f.ProcReadOnly, want) {
		t.Errorf("read-only %+v, want %+v", f.ProcReadOnly, want)
	}
}

func TestMountsBelowProcAreFound(t *testing.T) {
	f := read(t, "proc/self/mountinfo = 1 0 0:1 / / rw - ext4 x rw\n2 1 0:2 / /proc rw - proc proc rw\n3 2 0:3 / /proc/kcore ro shared:1 - tmpfs tmpfs rw\n"+
		// What systemd makes on most hosts: the kernel does not mind.
		"5 2 0:5 / /proc/sys/fs/binfmt_misc rw shared:2 - autofs systemd-1 rw\n6 2 0:6 / /proc/fs/nfsd rw - nfsd nfsd rw\n"+
		"4 1 0:4 / /processes rw - tmpfs x rw\nshort line\n")
	if !reflect.DeepEqual(f.ProcCovered, []string{"/proc/kcore"}) {
		t.Errorf("%q", f.ProcCovered)
	}
}

func TestNamespacesAndCapabilities(t *testing.T) {
	f := read(t, "proc/self/ns/user = x", "proc/self/ns/mnt = x", "proc/sys/kernel/cap_last_cap = 39\n")
	if !reflect.DeepEqual(f.Namespaces, []string{"mnt", "user"}) || f.LastCap != 39 {
		t.Errorf("%q, %d", f.Namespaces, f.LastCap)
	}
	for _, text := range []string{"", "x", "99999999999999999999"} {
		if f := read(t, "proc/sys/kernel/cap_last_cap = "+text); f.LastCap < 37 || f.LastCap > 63 {
			t.Errorf("%q: %d", text, f.LastCap)
		}
	}
}

func TestResolvMayBeADanglingLink(t *testing.T) {
	if read(t, "etc/resolv.conf -> /run/missing/resolv.conf").Resolv {
		t.Error("a link that leads nowhere counts")
	}
	if !read(t, "etc/resolv.conf = nameserver 192.0.2.1").Resolv {
		t.Error("a file does not count")
	}
}

func TestHostWithoutProcIsAnError(t *testing.T) {
	if f, err := Read(t.TempDir()); err == nil {
		t.Errorf("%+v", f)
	}
}

func TestThisHost(t *testing.T) {
	f, err := Read("/")
	if err != nil {
		t.Fatal(err)
	}
	if f.Major < 5 || f.Caller.UID != os.Geteuid() || f.Caller.GID != os.Getegid() || f.Caller.SetID || !slices.Contains(f.Namespaces, "user") {
		t.Errorf("%+v", f)
	}
}

func TestParseRelease(t *testing.T) {
	for text, want := range map[string][2]int{
		"6.1.0-13-amd64": {6, 1}, "5.15": {5, 15}, "6.18-rc1": {6, 18}, "7.2.3+": {7, 2}, "": {0, 0}, "x.y": {0, 0}, "6": {6, 0},
	} {
		if major, minor := parseRelease(text); major != want[0] || minor != want[1] {
			t.Errorf("%q: %d.%d", text, major, minor)
		}
	}
}

// The caller's own user namespace may have less than the host: in a sandbox it has a quarter.
func TestInotifyIsWhatTheCallerMayHave(t *testing.T) {
	const fs, user = "proc/sys/fs/inotify/max_user_", "proc/sys/user/max_inotify_"
	for _, tt := range []struct {
		files              []string
		instances, watches int
	}{
		{[]string{fs + "instances = 128\n", user + "instances = 128\n", fs + "watches = 65536\n", user + "watches = 65536\n"}, 128, 65536},
		{[]string{fs + "instances = 128\n", user + "instances = 32\n", fs + "watches = 65536\n", user + "watches = 4096\n"}, 32, 4096},
		{[]string{fs + "instances = 16\n", user + "instances = 2147483647\n", fs + "watches = 1\n", user + "watches = 2147483647\n"}, 16, 1},
		{[]string{fs + "instances = 0\n", user + "instances = 1\n", fs + "watches = -5\n", user + "watches = 7\n"}, 1, 1},
		// Files that the caller may not read exist: these cannot be read by anybody.
		{[]string{user + "instances/", user + "watches/"}, 128, 8192},
		{[]string{fs + "instances = 64\n", user + "instances/", fs + "watches = 99999999999\n", user + "watches/"}, 64, math.MaxInt32},
		// A kernel without CONFIG_INOTIFY_USER.
		{nil, 0, 0},
		{[]string{fs + "instances = 128\n", fs + "watches = 65536\n"}, 0, 0},
	} {
		if f := read(t, tt.files...); f.InotifyInstances != tt.instances || f.InotifyWatches != tt.watches {
			t.Errorf("%q: %d instances and %d watches, want %d and %d", tt.files, f.InotifyInstances, f.InotifyWatches, tt.instances, tt.watches)
		}
	}
}
