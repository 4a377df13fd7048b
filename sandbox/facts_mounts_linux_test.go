package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/idmap"
)

// Facts about mounts: their flags, and that none goes from the host to the sandbox or back.

// mountLine is a line of proc_pid_mountinfo(5), as far as the tests look at it.
type mountLine struct {
	target  string
	options string // ",ro,nosuid,"
	fields  []string
	fstype  string
}

func (m mountLine) has(option string) bool { return strings.Contains(m.options, ","+option+",") }

func mountLines(t *testing.T, mountinfo string) []mountLine {
	t.Helper()
	var all []mountLine
	for line := range strings.Lines(mountinfo) {
		f := strings.Fields(line)
		if len(f) < 8 {
			t.Fatalf("mountinfo: %q", line)
		}
		m := mountLine{target: f[4], options: "," + f[5] + ",", fields: f}
		for i, field := range f {
			if field == "-" {
				m.fstype = f[i+1]
				break
			}
			if i > 5 {
				m.options += field + ","
			}
		}
		all = append(all, m)
	}
	return all
}

const mountInfo = "read:/proc/self/mountinfo"

func TestProcTellsNothingOfTheHost(t *testing.T) {
	t.Parallel()
	procTellsNothing(t, nil, "/proc")
}

// Any other /proc of the Spec's once did: there a command that was the host's root, which a Spec can say, could
// open sysrq-trigger and sys/kernel/core_pattern to write.
func TestProcOfMountsTellsNothingOfTheHost(t *testing.T) {
	t.Parallel()
	procTellsNothing(t, mountProc, "/a/p")
}

func TestRootProcIsReadOnlyForTheHostsRoot(t *testing.T) {
	root := func(s *Spec) { s.UIDs, s.GIDs = idmap.Single(0, 0), idmap.Single(0, 0) }
	procTellsNothing(t, root, "/proc")
	procTellsNothing(t, func(s *Spec) { root(s); mountProc(s) }, "/a/p")
}

// A whole /proc is the kernel's: before it was refused, this command could write to the host's core_pattern.
func TestRootWholeProcIsNotForTheHostsRoot(t *testing.T) {
	whole := Spec{Args: []string{"test", "-w", "/proc/sys/kernel/core_pattern"}, Mounts: []Mount{{Type: Proc, Target: "/proc", Writable: true}}}
	if r := run(t, whole); r.ExitCode != 1 {
		t.Errorf("without the host's root: %+v", r)
	}
	for _, ids := range []idmap.Map{idmap.Single(0, 0), {{ContainerID: 5, HostID: 0, Size: 1}, {ContainerID: 0, HostID: 7, Size: 1}}} {
		whole.UIDs, whole.GIDs = ids, idmap.Single(0, 7)
		var fault *SpecError
		if r, err := Run(context.Background(), whole); !errors.As(err, &fault) || fault.Field != "Mounts[0].Writable" {
			t.Errorf("%v: %+v, %v", ids, r, err)
		}
	}
}

// The host's root may have another ID where the caller is.
func TestRootWholeProcIsNotForTheHostsRootByAnotherID(t *testing.T) {
	cmd := caller(t, "whole proc")
	cmd.Args = append([]string{"unshare", "-U", "--map-user=1000", "--map-group=1000", cmd.Path}, cmd.Args[1:]...)
	var err error
	if cmd.Path, err = exec.LookPath("unshare"); err != nil {
		t.Fatal(err)
	}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "Mounts[0].Writable") {
		t.Errorf("%v, %s", err, out)
	}
}

func init() {
	callers["whole proc"] = func() error {
		r, err := Run(context.Background(), Spec{Args: []string{"true"}, Mounts: []Mount{{Type: Proc, Target: "/proc", Writable: true}}})
		fmt.Println(r, err)
		return nil
	}
}

func mountProc(s *Spec) { s.Mounts = append(s.Mounts, Mount{Type: Proc, Target: "/a/p"}) }

// procTellsNothing holds a /proc to what it may show and take.
func procTellsNothing(t *testing.T, change func(*Spec), proc string) {
	t.Helper()
	masked := []string{"kcore", "keys", "timer_list", "sched_debug", "interrupts", "acpi", "scsi", "latency_stats"}
	readOnly := []string{"/sys/kernel/hostname", "/sys/kernel/core_pattern", "/sysrq-trigger", "/irq/default_smp_affinity"}
	var acts []string
	for _, name := range masked {
		acts = append(acts, "read:"+proc+"/"+name, "list:"+proc+"/"+name)
	}
	for _, name := range readOnly {
		acts = append(acts, "openw:"+proc+name)
	}
	got := inside(t, change, acts...)
	for _, name := range masked {
		if o := got.of("read:" + proc + "/" + name); o.OK() && o.Detail != "" {
			t.Errorf("%s/%s holds %.80q", proc, name, o.Detail)
		}
		if o := got.of("list:" + proc + "/" + name); o.OK() && o.Detail != "" {
			t.Errorf("%s/%s holds %.80q", proc, name, o.Detail)
		}
	}
	for _, name := range readOnly {
		got.want("openw:"+proc+name, "EROFS", "EACCES", "ENOENT")
	}
	if o := outside(t, "read:/proc/timer_list", "read:/proc/keys").of("read:/proc/keys"); o.Err == "ENOENT" {
		t.Logf("the control: this kernel has no /proc/keys")
	}
}

// The /dev that covers a tree's is the sandbox's own, and takes what the Spec puts there: once it was made
// read-only before.
func TestMountsGoBelowTheDevOfATree(t *testing.T) {
	t.Parallel()
	got := inside(t, func(s *Spec) {
		inTree(tree(t))(s)
		s.Mounts = append(s.Mounts, Mount{Type: Mqueue, Target: "/dev/mqueue"}, Mount{Type: File, Target: "/dev/a/b", Data: []byte("data")})
	}, "list:/dev/mqueue", "read:/dev/a/b", "create:/dev/x")
	got.want("list:/dev/mqueue", "ok")
	if o := got.of("read:/dev/a/b"); o.Detail != "data" {
		t.Error(o)
	}
	got.want("create:/dev/x", "EROFS")
}

func TestRootSubmountsOfABindAreReadOnlyToo(t *testing.T) {
	inNamespace(t, "submounts")
}

func TestRootNoMountGoesFromTheHostIntoTheSandboxOrBack(t *testing.T) {
	inNamespace(t, "propagation")
}

// inNamespace runs a part of a test in a mount namespace of its own, in a process of its own, where it
// may mount as it likes.
func inNamespace(t *testing.T, part string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRootPartInNamespace$", "-test.v")
	cmd.Env = append(os.Environ(), partEnv+"="+part, partDirEnv+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("%v\n%s", err, out)
	}
}

const (
	partEnv    = "RINGFENCE_TEST_PART"
	partDirEnv = "RINGFENCE_TEST_DIR"
)

func TestRootPartInNamespace(t *testing.T) {
	dir := os.Getenv(partDirEnv)
	switch os.Getenv(partEnv) {
	case "submounts":
		partSubmounts(t, dir)
	case "propagation":
		partPropagation(t, dir)
	}
}

func partMount(t *testing.T, target, fstype string, flags uintptr) {
	t.Helper()
	if fstype != "" {
		if err := os.MkdirAll(target, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mount("none", target, fstype, flags, ""); err != nil {
		t.Fatal(err)
	}
	if fstype != "" {
		t.Cleanup(func() { _ = unix.Unmount(target, unix.MNT_DETACH) })
	}
}

func partSubmounts(t *testing.T, dir string) {
	partMount(t, dir+"/top", "tmpfs", 0)
	partMount(t, dir+"/top/sub", "tmpfs", 0)
	partMount(t, dir+"/top/sub/deep", "tmpfs", 0)
	acts := []string{"create:/data/x", "create:/data/sub/x", "create:/data/sub/deep/x", mountInfo}
	bind := func(writable bool) func(*Spec) {
		return func(s *Spec) {
			s.Mounts = append(s.Mounts, Mount{Source: dir + "/top", Target: "/data", Writable: writable})
		}
	}
	got := inside(t, bind(false), acts...)
	for _, act := range acts[:3] {
		got.want(act, "EROFS")
	}
	n := 0
	for _, m := range mountLines(t, got.of(mountInfo).Detail) {
		if strings.HasPrefix(m.target, "/data") {
			n++
			if !m.has("ro") || !m.has("nosuid") || !m.has("nodev") {
				t.Errorf("%s: %s", m.target, m.options)
			}
		}
	}
	if n != 3 {
		t.Errorf("%d mounts at /data, want 3", n)
	}
	inside(t, bind(true), acts...).want(acts[2], "ok")
}

func partPropagation(t *testing.T, dir string) {
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		t.Fatal(err)
	}
	partMount(t, dir+"/top", "tmpfs", 0)
	if err := os.Mkdir(dir+"/top/later", 0o777); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	spec := victimSpec(t, "print:ready", "await", "list:/data/later")
	spec.Mounts = append(spec.Mounts, Mount{Source: dir + "/top", Target: "/data"})
	c := Command(t.Context(), spec)
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := newLines(stdout)
	lines.next(t)
	// Out of the sandbox nothing came; into it goes nothing.
	now, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if string(now) != string(before) {
		t.Errorf("the host's mounts were\n%s, are\n%s", before, now)
	}
	partMount(t, dir+"/top/later", "tmpfs", 0)
	if err := os.WriteFile(filepath.Join(dir, "top/later/new"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	stdin.Close()
	lines.next(t)
	if o := lines.next(t); !o.OK() || o.Detail != "" {
		t.Errorf("a mount of the host came in: %v", o)
	}
	if r, err := c.Wait(); err != nil || r.ExitCode != 0 {
		t.Error(r, err)
	}
}
