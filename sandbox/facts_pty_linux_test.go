package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/idmap"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// Facts about the terminal that a Spec gives.

func withTerminal(s *Spec) { s.Terminal = &Terminal{} }

func TestTerminalIsTheSandboxesOwn(t *testing.T) {
	t.Parallel()
	acts := []string{"readlink:/proc/self/fd/0", "readlink:/proc/self/fd/1", "readlink:/proc/self/fd/2", "list:/dev/pts", "stat:/dev/pts/0", "open:/dev/pts/1", "ioctl:0,TIOCGWINSZ"}
	got := inside(t, withTerminal, acts...)
	for _, act := range acts[:3] {
		if o := got.of(act); o.Detail != "/dev/pts/0" {
			t.Errorf("%s: %v, want /dev/pts/0", act, o)
		}
	}
	if o := got.of("list:/dev/pts"); o.Detail != "0 ptmx" {
		t.Errorf("%v, want the one terminal", o)
	}
	got.want("open:/dev/pts/1", "ENOENT")
	got.want("ioctl:0,TIOCGWINSZ", "ok")
	control := inside(t, nil, "readlink:/proc/self/fd/0", "list:/dev/pts", "ioctl:0,TIOCGWINSZ")
	control.want("ioctl:0,TIOCGWINSZ", "ENOTTY")
	if o := control.of("list:/dev/pts"); o.Detail != "ptmx" {
		t.Errorf("without a Terminal: %v", o)
	}
}

// Whatever the Spec puts on /dev/pts, or a tree has there: the terminal is of the devpts that the set-up made.
func TestTerminalIsOfNoOtherDevpts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Symlink("/dev/null", filepath.Join(dir, "ptmx")); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Spec){
		"a directory": func(s *Spec) { s.Mounts = append(s.Mounts, Mount{Source: dir, Target: "/dev/pts"}) },
		"the host's":  func(s *Spec) { s.Mounts = append(s.Mounts, Mount{Source: "/dev/pts", Target: "/dev/pts"}) },
		"a tree":      inTree(tree(t, "dev/ptmx", "dev/pts -> /tmp")),
	} {
		got := inside(t, func(s *Spec) { withTerminal(s); change(s) }, "ioctl:0,TIOCGWINSZ", "open:/dev/tty")
		for act := range got.all {
			if o := got.of(act); !o.OK() {
				t.Errorf("%s: %s: %v", name, act, o)
			}
		}
	}
}

func TestTerminalControlsTheSession(t *testing.T) {
	t.Parallel()
	const script = "read -r x; cut -d' ' -f 5-8 /proc/self/stat; cat /proc/$$/stat | cut -d' ' -f 1,5-8; : >/dev/tty && echo open"
	var out bytes.Buffer
	spec := Spec{Args: []string{"sh", "-c", script}, Terminal: &Terminal{}, Stdin: strings.NewReader("go\n"), Stdout: &out}
	if r := run(t, spec); r.Err() != nil {
		t.Fatalf("%v: %s", r, out.Bytes())
	}
	// Process group, session, terminal (136 and up is a pty), foreground group.
	want := regexp.MustCompile(`^go\r\n2 2 34816 2\r\n2 2 2 34816 2\r\nopen\r\n$`)
	if !want.Match(out.Bytes()) {
		t.Errorf("%q, want %v", out.Bytes(), want)
	}
	out.Reset()
	spec.Terminal = nil
	if r := run(t, spec); r.Err() == nil || !strings.HasPrefix(out.String(), "2 2 0 -1\n") {
		t.Errorf("the control: %v, %q", r, out.Bytes())
	}
}

func TestCallersEndOfTheTerminalIsNowhereInside(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Spec){
		"usual": withTerminal,
		"beside other descriptors that are sent": func(s *Spec) {
			withTerminal(s)
			s.Limits.CPUTime = 1 << 40
			s.Env = []string{"GODEBUG=containermaxprocs=0"} // the victim's runtime opens a file of its cgroup
			s.Collect = []Collect{{Path: "/tmp", Tar: io.Discard}}
			s.ExtraFiles = []*os.File{nil, os.Stderr}
		},
		"without a witness": func(s *Spec) { withTerminal(s); noFilter(s) },
	} {
		got := inside(t, change, "fds")
		if o := got.of("fds"); o.Detail != "0 1 2" && !strings.HasPrefix(name, "beside") || strings.HasPrefix(name, "beside") && o.Detail != "0 1 2 4" {
			t.Errorf("%s: %v", name, o)
		}
	}
	// Nor in PID 1, where it would keep the caller's end from being the last.
	spec := Spec{Args: []string{"sleep", "1000"}, Terminal: &Terminal{}}
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	c := Command(t.Context(), spec)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	// The hang-up says that nobody else has it: the kernel sends it when the last one closes.
	if err := c.master().Close(); err != nil {
		t.Error(err)
	}
	if r, err := c.Wait(); err != nil || r.Ended != Signaled || r.Signal != syscall.SIGHUP {
		t.Errorf("%v, %v, want the hang-up", r, err)
	}
}

func TestRootTerminalBelongsToTheUser(t *testing.T) {
	m := idmap.Map{{ContainerID: 0, HostID: 100000, Size: 100}}
	got := inside(t, func(s *Spec) {
		withTerminal(s)
		s.UIDs, s.GIDs, s.User = m, m, &User{UID: 33, GID: 34}
	}, "stat:/dev/pts/0", "open:/dev/pts/0", "open:/dev/tty")
	if o := got.of("stat:/dev/pts/0"); !strings.HasPrefix(o.Detail, "20600 33:34 ") {
		t.Error(o)
	}
	got.want("open:/dev/pts/0", "ok")
	got.want("open:/dev/tty", "ok")
}

// A caller with a terminal gives the command another one: it can neither open nor type at the caller's.
func TestPayloadCannotReachTheCallersTerminalFromItsOwn(t *testing.T) {
	t.Parallel()
	_, pts := openTerminal(t)
	cmd := caller(t, "pty")
	cmd.Stdin = pts
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	out := strings.Fields(string(output(t, cmd)))
	var st unix.Stat_t
	if err := unix.Fstat(int(pts.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", pts.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if len(out) != 2 || out[0] != name || out[1] != "/dev/pts/0" {
		t.Errorf("the terminals of caller and command: %q, want %s and the sandbox's first", out, name)
	}
	acts := []string{"ioctl:0,TIOCSTI", "ioctl:0,TIOCSTI+2^32", "ioctl:0,TIOCLINUX", "ioctl:0,TIOCLINUX+2^32", "ioctl:0,TIOCCONS", "ioctl:0,TIOCSETD", "ioctl:0,TIOCSETD+2^32"}
	got := inside(t, withTerminal, acts...)
	for _, act := range acts {
		got.want(act, "EPERM")
	}
	// Without the filter it may type at its own, where the kernel lets anybody do that at all.
	if off, err := os.ReadFile("/proc/sys/dev/tty/legacy_tiocsti"); err == nil && string(off) == "0\n" {
		return
	}
	var typed bytes.Buffer
	spec := victimSpec(t, acts[0])
	withTerminal(&spec)
	noFilter(&spec)
	spec.Stdout = &typed
	if run(t, spec); !strings.HasPrefix(typed.String(), "x{") {
		t.Errorf("the control: %q, want what is typed to be shown", typed.Bytes())
	}
}

// callPTY prints the caller's controlling terminal and what the command's is.
func callPTY() error {
	name, err := os.Readlink("/proc/self/fd/0")
	if err != nil {
		return err
	}
	fmt.Println(name)
	var out bytes.Buffer
	_, err = Run(context.Background(), Spec{Args: []string{"tty"}, Terminal: &Terminal{}, Stdout: &out})
	fmt.Println(strings.TrimSpace(out.String()))
	return err
}
