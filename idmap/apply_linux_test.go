package idmap_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/ringfence-go/ringfence/idmap"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }

// inNewNamespace starts a process in a user namespace without maps and returns its ID.
func inNewNamespace(t *testing.T) int {
	t.Helper()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	cmd := exec.Command("cat")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	return cmd.Process.Pid
}

func read(t *testing.T, pid int, file string) string {
	t.Helper()
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/" + file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(data)), " ")
}

func TestApplyMapsTheCallersOwnID(t *testing.T) {
	pid := inNewNamespace(t)
	uids, gids := idmap.Single(7, os.Getuid()), idmap.Single(8, os.Getgid())
	if err := idmap.Apply(pid, uids, gids, true); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"uid_map":   "7 " + strconv.Itoa(os.Getuid()) + " 1",
		"gid_map":   "8 " + strconv.Itoa(os.Getgid()) + " 1",
		"setgroups": "deny",
	} {
		if got := read(t, pid, file); got != want {
			t.Errorf("%s holds %q, want %q", file, got, want)
		}
	}
	// The control: what was written once cannot be written again.
	err := idmap.Apply(pid, uids, nil, false)
	var failed *idmap.ApplyError
	if !errors.As(err, &failed) || !errors.Is(err, fs.ErrPermission) || !strings.HasSuffix(failed.File, "/uid_map") || failed.Remedy == "" {
		t.Errorf("written twice: %v", err)
	}
}

func TestApplyCannotMapTheIDsOfOthers(t *testing.T) {
	if os.Getuid() == 0 {
		t.Fatal("sandboxtest.Main runs this test unprivileged")
	}
	pid := inNewNamespace(t)
	if err := idmap.Apply(pid, idmap.Single(0, 0), nil, false); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("mapped the host's root: %v", err)
	}
	if err := idmap.Apply(pid, nil, idmap.Single(0, os.Getgid()), false); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("mapped a group without denying setgroups: %v", err)
	}
	if got := read(t, pid, "uid_map") + read(t, pid, "gid_map"); got != "" {
		t.Errorf("maps hold %q", got)
	}
}

func TestApplyWritesNothingForAFaultyMap(t *testing.T) {
	pid := inNewNamespace(t)
	if err := idmap.Apply(pid, idmap.Single(0, os.Getuid()), idmap.Single(-1, 0), true); err == nil {
		t.Fatal("no error")
	}
	if got := read(t, pid, "uid_map") + read(t, pid, "setgroups"); got != "allow" {
		t.Errorf("maps hold %q", got)
	}
}

func TestApplyExplainsAMapThatIsTooLong(t *testing.T) {
	pid := inNewNamespace(t)
	var m idmap.Map
	for i := range idmap.MaxRanges {
		m = append(m, idmap.Range{ContainerID: 1e9 + 2*i, HostID: 1e9 + 2*i, Size: 1})
	}
	err := idmap.Apply(pid, m, nil, false)
	if len(m.String()) < os.Getpagesize() {
		sandboxtest.Skip(t, "small-pages", "the longest map fits a page here")
	}
	if err == nil || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("%v", err)
	}
}

func TestApplyToNoProcess(t *testing.T) {
	for _, pid := range []int{-1, 0, 1 << 30} {
		err := idmap.Apply(pid, idmap.Single(0, 1), nil, false)
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("process %d: %v", pid, err)
		}
	}
}

func TestRootMapsWhatItLikes(t *testing.T) {
	pid := inNewNamespace(t)
	m := idmap.Map{{ContainerID: 0, HostID: 100000, Size: 65536}, {ContainerID: 65536, HostID: 1000, Size: 1}}
	if err := idmap.Apply(pid, m, m, false); err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, pid, "gid_map"), strings.Join(strings.Fields(m.String()), " "); got != want {
		t.Errorf("gid_map holds %q, want %q", got, want)
	}
	if got := read(t, pid, "setgroups"); got != "allow" {
		t.Errorf("setgroups holds %q", got)
	}
}

func TestRootIsToldOfAFileSystemThatIsNotProc(t *testing.T) {
	// A bind mount over one file of /proc, in a mount namespace that only the shell's children see.
	out, err := exec.Command("unshare", "--mount", "sh", "-c",
		`f=$(mktemp) && mount --bind "$f" /proc/$$/uid_map && RINGFENCE_IDMAP_PID=$$ "$0" -test.run='^TestRootInnerApply$' -test.v; s=$?; echo; echo "written: $(cat "$f")"; rm "$f"; exit $s`,
		os.Args[0]).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "not on a process file system") || !strings.HasSuffix(string(out), "written: \n") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestRootInnerApply is a part of the test above.
func TestRootInnerApply(t *testing.T) {
	pid, err := strconv.Atoi(os.Getenv("RINGFENCE_IDMAP_PID"))
	if err != nil {
		return
	}
	t.Log(idmap.Apply(pid, idmap.Single(0, 1000), nil, false))
}

// A process in a new user namespace waits until its IDs are there.
func ExampleApply() {
	cmd := exec.Command("sh", "-c", "read go && id")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return
	}
	if err := cmd.Start(); err != nil {
		return
	}
	err = idmap.Apply(cmd.Process.Pid, idmap.Single(0, os.Getuid()), idmap.Single(0, os.Getgid()), true)
	if err == nil {
		_, _ = stdin.Write([]byte("go\n")) // it may have ended
	}
	stdin.Close()
	_ = cmd.Wait() // nobody looks at how it ends
}
