package sandbox

import (
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Facts about files: what of the host can be reached, by path, by descriptor and by link.

func TestPayloadCannotReadHostHome(t *testing.T) {
	t.Parallel()
	home := t.TempDir() // stands for any directory of the caller's
	file := filepath.Join(home, "id_ed25519")
	if err := os.WriteFile(file, []byte("private"), 0o644); err != nil {
		t.Fatal(err)
	}
	acts := []string{"read:" + file, "read:/proc/self/root" + file, "read:/proc/1/root" + file, "read:/proc/1/cwd" + file}
	outside(t, acts[0]).want(acts[0], "ok")
	got := inside(t, nil, acts...)
	got.want(acts[0], "ENOENT")
	got.want(acts[1], "ENOENT")
	got.want(acts[2], "EACCES", "ENOENT")
	got.want(acts[3], "EACCES", "ENOENT")
	bound := inside(t, func(s *Spec) { s.Mounts = append(s.Mounts, Mount{Source: home, Target: home}) }, acts...)
	bound.want(acts[0], "ok") // the control for the test itself: a bind brings it back
}

func TestBaseSystemHoldsNothingElseOfTheHost(t *testing.T) {
	t.Parallel()
	got := inside(t, nil, "list:/", "list:/home", "list:/var", "list:/run", "list:/tmp", "list:/root", "list:/sys")
	known := " bin dev etc home lib lib32 lib64 libx32 proc run sbin tmp usr var victim "
	for name := range strings.FieldsSeq(got.of("list:/").Detail) {
		if !strings.Contains(known, " "+name+" ") {
			t.Errorf("/ holds %s", name)
		}
	}
	for act, want := range map[string]string{"list:/home": "sandbox", "list:/var": "run tmp", "list:/run": "", "list:/tmp": ""} {
		if o := got.of(act); !o.OK() || o.Detail != want {
			t.Errorf("%s: %v, want %q", act, o, want)
		}
	}
	got.want("list:/root", "ENOENT")
	got.want("list:/sys", "ENOENT")
	outside(t, "list:/sys").want("list:/sys", "ok")
}

func TestPayloadCannotOverwriteTheCallersBinary(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	before := hash(t, self)
	// The one who is in the file right now gets ETXTBSY; init's own file is sealed, and out of reach.
	acts := []string{"openw:/proc/self/exe", "openw:/proc/1/exe", "openw:/victim", "open:/proc/1/exe", "readlink:/proc/1/exe"}
	got := inside(t, nil, acts...)
	got.want("openw:/proc/self/exe", "EROFS", "ETXTBSY", "EACCES")
	for _, act := range acts[1:] {
		if got.of(act).OK() {
			t.Errorf("%s: %v", act, got.of(act))
		}
	}
	got.want("openw:/victim", "EROFS", "ETXTBSY", "EACCES")
	if hash(t, self) != before {
		t.Error("the binary has changed")
	}
	outside(t, "open:/proc/self/exe").want("open:/proc/self/exe", "ok")
	// A file of the caller's that nobody executes, bound read-only and writable.
	file, _ := hostSecret(t)
	bind := func(writable bool) func(*Spec) {
		return func(s *Spec) { s.Mounts = append(s.Mounts, Mount{Source: file, Target: "/f", Writable: writable}) }
	}
	inside(t, bind(false), "openw:/f").want("openw:/f", "EROFS")
	inside(t, bind(true), "openw:/f").want("openw:/f", "ok")
}

func hash(t *testing.T, path string) [sha256.Size]byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func TestPayloadInheritsNoDescriptor(t *testing.T) {
	dir, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY, 0) // without O_CLOEXEC
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dir)
	high, err := unix.FcntlInt(uintptr(dir), unix.F_DUPFD, 77)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(high)
	marker := filepath.Join(t.TempDir(), "marker")
	if err := os.WriteFile(marker, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	acts := []string{"fds", "walkfds:" + marker[1:]}
	got := inside(t, nil, acts...)
	if fds := got.of("fds").Detail; fds != "0 1 2" {
		t.Errorf("the payload's descriptors: %s", fds)
	}
	got.want(acts[1], "ENOENT")
	control := outside(t, acts...)
	if fds := " " + control.of("fds").Detail + " "; !strings.Contains(fds, " "+strconv.Itoa(high)+" ") {
		t.Errorf("outside, without a sandbox, it has %s and not %d: this test proves nothing", fds, high)
	}
	control.want(acts[1], "ok")
}

// A descriptor of a file can be opened again through /proc, for writing if its mode allows it. The command's
// are pipes and the null device.
func TestPayloadGetsNoDescriptorOfAFile(t *testing.T) {
	t.Parallel()
	got := inside(t, nil, "descriptors")
	if o := got.of("descriptors"); o.Detail != "0=chr 1=fifo 2=fifo" {
		t.Error(o)
	}
	file, _ := hostSecret(t)
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// The control: what the Spec hands in.
	if o := inside(t, func(s *Spec) { s.ExtraFiles = []*os.File{f} }, "descriptors").of("descriptors"); o.Detail != "0=chr 1=fifo 2=fifo 3=reg" {
		t.Error(o)
	}
}

func TestExtraFilesKeepTheirNumbersAndHolesStayClosed(t *testing.T) {
	t.Parallel()
	file, contents := hostSecret(t)
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := inside(t, func(s *Spec) { s.ExtraFiles = []*os.File{nil, f, nil, nil, f, nil} }, "fds", "read:/proc/self/fd/4")
	if fds := got.of("fds").Detail; fds != "0 1 2 4 7" {
		t.Errorf("descriptors %s, want 0 1 2 4 7", fds)
	}
	if o := got.of("read:/proc/self/fd/4"); o.Detail != contents {
		t.Errorf("descriptor 4: %v", o)
	}
}

func TestDirCannotBeADescriptorOfTheCaller(t *testing.T) {
	dir, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dir)
	root := tree(t, "link -> /proc/self/fd", "self -> /proc/self/cwd")
	for fd := range 20 {
		for _, dir := range []string{"/proc/self/fd/", "/proc/../proc/self/fd/", "/link/", "/proc/1/fd/"} {
			spec := victimSpec(t, "cwd")
			inTree(root)(&spec)
			spec.Dir = dir + strconv.Itoa(fd)
			if r, err := Run(t.Context(), spec); err == nil {
				t.Errorf("Dir %s: %v", spec.Dir, r)
			}
		}
	}
	spec := victimSpec(t, "cwd")
	inTree(root)(&spec)
	spec.Dir = "/self"
	if r, err := Run(t.Context(), spec); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("Dir through a link to /proc/self/cwd: %v, %v, want ELOOP", r, err)
	}
	good := inside(t, func(s *Spec) { inTree(root)(s); s.Dir = "/tmp" }, "cwd")
	if o := good.of("cwd"); o.Detail != "/tmp" {
		t.Errorf("Dir /tmp: %v", o)
	}
}

func TestBaseSystemIsReadOnlyOnceSetUp(t *testing.T) {
	t.Parallel()
	targets := []string{"create:/x", "create:/usr/x", "create:/etc/x", "create:/dev/x", "create:/run/x", "create:/home/x", "create:/proc/x", "mkdir:/dev/pts/x"}
	got := inside(t, nil, append(targets, "create:/tmp/x", "create:/home/sandbox/x", "create:/dev/shm/x", "create:/var/tmp/y")...)
	for _, act := range targets {
		got.want(act, "EROFS", "EACCES", "ENOENT", "EPERM")
	}
	for _, act := range []string{"create:/tmp/x", "create:/home/sandbox/x", "create:/dev/shm/x", "create:/var/tmp/y"} {
		got.want(act, "ok")
	}
}

func TestPayloadCannotMakeDevices(t *testing.T) {
	t.Parallel()
	inside(t, nil, "mknod:/tmp/null").want("mknod:/tmp/null", "EPERM")
	inside(t, noFilter, "mknod:/tmp/null").want("mknod:/tmp/null", "EPERM") // the kernel's own word, without CAP_MKNOD
}

func TestTmpfsIsBounded(t *testing.T) {
	t.Parallel()
	got := inside(t, func(s *Spec) { s.Mounts = append(s.Mounts, Mount{Type: Tmpfs, Target: "/small", Size: 1 << 20}) }, "fill:/small/f")
	if o := got.of("fill:/small/f"); o.Err != "ENOSPC" || o.Detail != "1048576" {
		t.Errorf("a tmpfs of 1 MiB takes %s bytes, then %s", o.Detail, o.Err)
	}
}

func TestBindIsReadOnlyUnlessWritable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bind := func(writable bool) func(*Spec) {
		return func(s *Spec) { s.Mounts = append(s.Mounts, Mount{Source: dir, Target: "/data", Writable: writable}) }
	}
	inside(t, bind(false), "create:/data/x").want("create:/data/x", "EROFS")
	inside(t, bind(true), "create:/data/x").want("create:/data/x", "ok")
	if data, err := os.ReadFile(filepath.Join(dir, "x")); err != nil || string(data) != "made by the victim" {
		t.Errorf("outside: %q, %v", data, err)
	}
}
