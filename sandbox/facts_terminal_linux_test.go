package sandbox

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/idmap"
	"github.com/ringfence-go/ringfence/testing/victim"
)

// Facts about terminals and about executing files that give privilege.

// openTerminal returns both ends of a new pseudo terminal.
func openTerminal(t *testing.T) (ptmx, pts *os.File) {
	t.Helper()
	ptmx, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ptmx.Close() })
	if err := unix.IoctlSetPointerInt(int(ptmx.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(ptmx.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	pts, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pts.Close() })
	return ptmx, pts
}

// The Spec hands in a terminal of the caller's, which is the worst case.
func TestPayloadCannotTypeIntoATerminal(t *testing.T) {
	t.Parallel()
	_, pts := openTerminal(t)
	refused := []string{"ioctl:0,TIOCSTI", "ioctl:0,TIOCSTI+2^32", "ioctl:0,TIOCLINUX", "ioctl:0,TIOCLINUX+2^32", "ioctl:0,TIOCCONS", "ioctl:0,TIOCSETD", "ioctl:0,TIOCSETD+2^32"}
	acts := append(refused, "ioctl:0,TIOCGWINSZ", "open:/dev/tty")
	got := inside(t, func(s *Spec) { s.Stdin = pts }, acts...)
	for _, act := range refused {
		got.want(act, "EPERM")
	}
	got.want("ioctl:0,TIOCGWINSZ", "ok")
	got.want("open:/dev/tty", "ENXIO") // no controlling terminal
	// Without the filter the kernel still says no to TIOCSTI where the terminal is not the controlling one, so
	// that the filter shows in the other requests; a filter of all 64 bits lets those with 2^32 pass.
	control := inside(t, func(s *Spec) { s.Stdin = pts; noFilter(s) }, acts...)
	for _, act := range []string{"ioctl:0,TIOCLINUX", "ioctl:0,TIOCLINUX+2^32", "ioctl:0,TIOCSETD+2^32"} {
		if control.of(act).Err == "EPERM" {
			t.Errorf("%s gives EPERM without the filter too", act)
		}
	}
}

// A process that has a terminal starts a sandbox: the command has none.
func TestCommandHasNoControllingTerminal(t *testing.T) {
	t.Parallel()
	_, pts := openTerminal(t)
	cmd := caller(t, "terminal")
	cmd.Stdin = pts
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	out := strings.Fields(string(output(t, cmd)))
	if len(out) != 2 || out[0] != "ok" || out[1] != "ENXIO" {
		t.Errorf("the caller and the command open /dev/tty: %q, want ok and ENXIO", out)
	}
}

func callTerminal() error {
	fd, err := unix.Open("/dev/tty", unix.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	fmt.Println("ok")
	self, err := os.Executable()
	if err != nil {
		return err
	}
	out, err := Output(context.Background(), Spec{Args: []string{victim.Path, "open:/dev/tty"}, Mounts: []Mount{{Source: self, Target: victim.Path}}, Stdin: os.Stdin})
	if err != nil {
		return err
	}
	all, err := victim.Parse(out)
	fmt.Println(all["open:/dev/tty"])
	return err
}

func TestRootSetuidFilesGiveNothingInside(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	copyFile(t, self, filepath.Join(dir, "suid"))
	if err := os.Chown(filepath.Join(dir, "suid"), 1, 1); err != nil {
		t.Fatal(err)
	}
	if err := unix.Chmod(filepath.Join(dir, "suid"), 0o6755); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// Even where the owner exists inside.
	got := inside(t, func(s *Spec) {
		s.UIDs, s.GIDs, s.User = idmap.Map{{ContainerID: 0, HostID: 0, Size: 65536}}, idmap.Map{{ContainerID: 0, HostID: 0, Size: 65536}}, &User{UID: 33, GID: 33}
		s.Mounts = append(s.Mounts, Mount{Source: dir, Target: "/b"})
	}, "runas:/b/suid,ids")
	if o := got.of("runas:/b/suid,ids"); !strings.Contains(o.Detail, "uid 33 33 33 gid 33 33 33") {
		t.Errorf("%v, want user 33 still", o)
	}
	cmd := exec.Command(filepath.Join(dir, "suid"), "ids")
	cmd.Args[0] = victim.Path
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 33, Gid: 33}}
	if o := told(t, output(t, cmd)).of("ids"); !strings.Contains(o.Detail, "uid 33 1 1") {
		t.Errorf("outside: %v, want effective user 1: this test proves nothing", o)
	}
}

func TestRootSetuidCallerIsRefused(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for mode, want := range map[os.FileMode]string{0o755: "started", 0o4755: "refused", 0o2755: "refused"} {
		file := filepath.Join(dir, fmt.Sprintf("caller%o", mode))
		copyFile(t, self, file)
		if err := os.Chown(file, 12345, 12345); err != nil {
			t.Fatal(err)
		}
		if err := unix.Chmod(file, uint32(mode)); err != nil {
			t.Fatal(err)
		}
		cmd := caller(t, "setuid")
		cmd.Path = file
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12344, Gid: 12344}}
		if out := strings.TrimSpace(string(output(t, cmd))); out != want {
			t.Errorf("mode %o: %s, want %s", mode, out, want)
		}
	}
}

func callSetuid() error {
	_, err := Run(context.Background(), Spec{Args: []string{"true"}})
	switch {
	case err == nil:
		fmt.Println("started")
	case strings.Contains(err.Error(), "saved IDs are equal"):
		fmt.Println("refused")
	default:
		return err
	}
	return nil
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	r, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	w, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, r); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}
