package idmap_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/idmap"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// fakeHelpers puts scripts in the place of newuidmap and newgidmap, and returns the directory, in which they
// are to leave what they were told.
func fakeHelpers(t *testing.T, script string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"newuidmap", "newgidmap"} {
		text := "#!/bin/sh\nname=" + name + "\ncd " + dir + " || exit 9\n" + script + "\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	return dir
}

func TestHelpersAreToldTheMaps(t *testing.T) {
	t.Setenv("RINGFENCE_SECRET", "s3cret")
	dir := fakeHelpers(t, `echo "$name $*" >>told; /usr/bin/env >>env`)
	uids := idmap.Map{{ContainerID: 0, HostID: 100000, Size: 1000}, {ContainerID: 1000, HostID: 1000, Size: 1}}
	if err := idmap.ApplyByHelper(t.Context(), 77, uids, idmap.Single(5, 6)); err != nil {
		t.Fatal(err)
	}
	// A nil Map is not written.
	if err := idmap.ApplyByHelper(t.Context(), 78, nil, idmap.Single(7, 8)); err != nil {
		t.Fatal(err)
	}
	told, err := os.ReadFile(filepath.Join(dir, "told"))
	lines := slices.Sorted(strings.Lines(string(told)))
	if want := []string{"newgidmap 77 5 6 1\n", "newgidmap 78 7 8 1\n", "newuidmap 77 0 100000 1000 1000 1000 1\n"}; err != nil || !slices.Equal(lines, want) {
		t.Errorf("%q, %v, want %q", lines, err, want)
	}
	env, err := os.ReadFile(filepath.Join(dir, "env"))
	if err != nil || strings.Contains(string(env), "s3cret") || strings.Contains(string(env), "HOME=") {
		t.Errorf("the environment: %q, %v", env, err)
	}
	if err := idmap.ApplyByHelper(t.Context(), 79, idmap.Single(-1, 0), nil); err == nil {
		t.Error("a map that is none")
	}
	if now, _ := os.ReadFile(filepath.Join(dir, "told")); string(now) != string(told) {
		t.Errorf("a helper was run for a map that is none: %q", now)
	}
}

func TestHelperThatFailsIsReported(t *testing.T) {
	dir := fakeHelpers(t, `[ $name = newuidmap ] || { echo "$name: write to gid_map failed: Operation not permitted" >&2; exit 1; }`)
	err := idmap.ApplyByHelper(t.Context(), 77, idmap.Single(0, 1), idmap.Single(0, 1))
	var failed *idmap.ApplyError
	if !errors.As(err, &failed) || !errors.Is(err, idmap.ErrNoPrivilege) || failed.File != "/proc/77/gid_map" ||
		failed.Helper != filepath.Join(dir, "newgidmap") || !strings.Contains(failed.Remedy, "chmod u+s") {
		t.Errorf("%v", err)
	}
	fakeHelpers(t, "kill -KILL $$")
	if err := idmap.ApplyByHelper(t.Context(), 77, idmap.Single(0, 1), nil); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("%v", err)
	}
	fakeHelpers(t, `while echo 0123456789012345678901234567890123456789012345678901234567890123456789 >&2; do n=x$n; [ ${#n} -lt 1000 ] || exit 1; done`)
	if err := idmap.ApplyByHelper(t.Context(), 77, idmap.Single(0, 1), nil); err == nil || len(err.Error()) > 4096 {
		t.Errorf("%d bytes of error", len(err.Error()))
	}
}

func TestHelperEndsWithItsContext(t *testing.T) {
	dir := fakeHelpers(t, "echo >>ready; exec /bin/sleep 1000")
	if err := unix.Mkfifo(filepath.Join(dir, "ready"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- idmap.ApplyByHelper(ctx, 77, idmap.Single(0, 1), nil) }()
	if _, err := os.ReadFile(filepath.Join(dir, "ready")); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestHelperIsNotTakenFromARelativeDirectory(t *testing.T) {
	t.Chdir(fakeHelpers(t, "exit 0"))
	t.Setenv("PATH", ".")
	err := idmap.ApplyByHelper(t.Context(), 0, idmap.Single(0, 1), nil)
	if err == nil || strings.Contains(err.Error(), "./newuidmap") {
		t.Errorf("%v", err)
	}
}

// ranges returns two ranges of n IDs each that are set aside for this user.
func ranges(t *testing.T, of []idmap.Subrange, n int) idmap.Map {
	t.Helper()
	if len(of) == 0 || of[0].Size < 2*n {
		t.Fatalf("%v are too few", of)
	}
	return idmap.Map{{ContainerID: 0, HostID: of[0].HostID + n, Size: n}, {ContainerID: 5000, HostID: of[0].HostID, Size: n}}
}

func TestHelpersMapSubordinateIDs(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.SubordinateIDs())
	pid := inNewNamespace(t)
	subuids, subgids, err := idmap.OfCaller()
	if err != nil {
		t.Fatal(err)
	}
	uids := append(ranges(t, subuids, 100), idmap.Range{ContainerID: 200, HostID: os.Getuid(), Size: 1})
	gids := append(ranges(t, subgids, 70), idmap.Range{ContainerID: 200, HostID: os.Getgid(), Size: 1})
	if err := idmap.ApplyByHelper(t.Context(), pid, uids, gids); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"uid_map": uids.String(), "gid_map": gids.String(), "setgroups": "allow"} {
		if got := read(t, pid, file); got != strings.Join(strings.Fields(want), " ") {
			t.Errorf("%s holds %q, want %q", file, got, want)
		}
	}
	// The control: without the programs the kernel takes no such map.
	if err := idmap.Apply(inNewNamespace(t), uids, nil, false); err == nil {
		t.Error("an unprivileged write")
	}
}

func TestHelpersMapNoIDsOfOthers(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.SubordinateIDs())
	subuids, _, err := idmap.OfCaller()
	if err != nil {
		t.Fatal(err)
	}
	last := subuids[0]
	for _, r := range subuids {
		if r.HostID > last.HostID {
			last = r
		}
	}
	for name, m := range map[string]idmap.Map{
		"the host's root": idmap.Single(0, 0),
		"one beyond":      {{ContainerID: 0, HostID: last.HostID, Size: last.Size + 1}},
		"one of two":      {{ContainerID: 0, HostID: last.HostID, Size: 1}, {ContainerID: 1, HostID: 1, Size: 1}},
	} {
		pid := inNewNamespace(t)
		err := idmap.ApplyByHelper(t.Context(), pid, m, nil)
		var failed *idmap.ApplyError
		if !errors.As(err, &failed) || !errors.Is(err, idmap.ErrNotSubordinate) || !strings.Contains(failed.Remedy, fmt.Sprint(last.HostID)) {
			t.Errorf("%s: %v", name, err)
		}
		if got := read(t, pid, "uid_map"); got != "" {
			t.Errorf("%s: uid_map holds %q", name, got)
		}
	}
}

func TestGroupsAreDeniedWithTheOwnGroupAlone(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.SubordinateIDs())
	pid := inNewNamespace(t)
	if err := idmap.ApplyByHelper(t.Context(), pid, nil, idmap.Single(0, os.Getgid())); err != nil {
		t.Fatal(err)
	}
	if got := read(t, pid, "setgroups"); got != "deny" {
		t.Errorf("setgroups holds %q", got)
	}
}

// hosts are the hosts on which newuidmap does not work, and two on which it does. Each is made by a script in
// a mount namespace of its own, that root runs, before the test below runs there as the user.
var hosts = []struct {
	name, script, setpriv string
	want                  string // what is in the error; "" is none
	is                    error
}{
	{"setuid", "chmod u+s bin/*", "", "", nil},
	{"capabilities", "setcap cap_setuid+ep bin/newuidmap; setcap cap_setgid+ep bin/newgidmap", "", "", nil},
	{"absent", "rm bin/*; mount -t tmpfs none /usr/bin", "", "package uidmap", idmap.ErrNoHelper},
	{"no bit", "", "", "chmod u+s", idmap.ErrNoPrivilege},
	{"another capability", "setcap cap_setgid+ep bin/newuidmap", "", "setcap cap_setuid+ep", idmap.ErrNoPrivilege},
	{"nosuid", "chmod u+s bin/*; mount --bind bin bin; mount -o remount,bind,nosuid bin", "", "without nosuid", idmap.ErrNoPrivilege},
	{"no_new_privs", "chmod u+s bin/*", "--no-new-privs", "NoNewPrivileges=", idmap.ErrNoPrivilege},
	{"bounded", "chmod u+s bin/*", "--bounding-set=-setuid", "bounding set lacks cap_setuid", idmap.ErrNoPrivilege},
	{"no entry", "chmod u+s bin/*; : >etc/subuid", "", "usermod --add-subuids 165536-231071 --add-subgids 165536-231071 someone", idmap.ErrNoSubordinate},
	{"no account", "chmod u+s bin/*; : >etc/passwd", "", "entry in /etc/passwd", idmap.ErrNoSubordinate},
	{"another's entry", "chmod u+s bin/*; echo other:300000:65536 >etc/subuid", "", "365536", idmap.ErrNoSubordinate},
	{"another range", "chmod u+s bin/*; echo someone:300000:65536 >etc/subuid", "", "300000-365535", idmap.ErrNotSubordinate},
}

func TestRootIsToldWhyNewuidmapDoesNotWork(t *testing.T) {
	sandboxtest.Need(t, program("newuidmap"), program("unshare"), program("setpriv"), program("setcap"))
	for _, h := range hosts {
		t.Run(h.name, func(t *testing.T) {
			dir, err := os.MkdirTemp("/var/tmp", "idmap-") // where the user can look, too
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			script := `set -e; cd "$1"; chmod 755 .; mkdir bin etc
				for p in newuidmap newgidmap; do cp "$(command -v $p)" bin; chmod 755 bin/$p; done
				cp "$2" idmap.test; chmod 755 idmap.test
				id=` + strconv.Itoa(sandboxtest.UID) + `
				echo "someone:x:$id:$id::/:/bin/sh" >etc/passwd; echo someone:100000:65536 | tee etc/subuid >etc/subgid
				for f in passwd subuid subgid; do touch etc/$f; mount --bind etc/$f /etc/$f; done
				PRIV=$(command -v setpriv)
				cp "$PRIV" setpriv
				` + h.script + `
				cd /
				PATH=$1/bin RINGFENCE_IDMAP_HELPER=1 GORACE=atexit_sleep_ms=0 exec "$1/setpriv" --reuid=$id --regid=$id --clear-groups ` + h.setpriv + ` "$1/idmap.test" -test.run='^TestInnerHelper$' -test.v`
			out, err := exec.Command("unshare", "--mount", "sh", "-c", script, "sh", dir, os.Args[0]).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			text := string(out)
			if h.is == nil {
				if !strings.Contains(text, "mapped 0 100000 1000 / 0 100000 1000\n") {
					t.Errorf("%s", text)
				}
				return
			}
			if !strings.Contains(text, h.want) || !strings.Contains(text, "cause: "+h.is.Error()+"\n") || strings.Contains(text, "mapped") {
				t.Errorf("want %q and %q in:\n%s", h.want, h.is, text)
			}
		})
	}
}

// TestInnerHelper is a part of the test above.
func TestInnerHelper(t *testing.T) {
	if os.Getenv("RINGFENCE_IDMAP_HELPER") == "" {
		return
	}
	// Not inNewNamespace: on some of these hosts there are no programs.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^TestInnerWait$")
	cmd.Env, cmd.Stdin = []string{"RINGFENCE_IDMAP_WAIT=1", "GORACE=atexit_sleep_ms=0"}, r
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	m := idmap.Map{{ContainerID: 0, HostID: 100000, Size: 1000}}
	err = idmap.ApplyByHelper(t.Context(), cmd.Process.Pid, m, m)
	if err == nil {
		fmt.Printf("mapped %s / %s\n", read(t, cmd.Process.Pid, "uid_map"), read(t, cmd.Process.Pid, "gid_map"))
	} else {
		fmt.Println(err)
	}
	for _, cause := range []error{idmap.ErrNoHelper, idmap.ErrNoPrivilege, idmap.ErrNoSubordinate, idmap.ErrNotSubordinate} {
		if errors.Is(err, cause) {
			fmt.Println("cause:", cause)
		}
	}
	w.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestInnerWait is what the test above starts.
func TestInnerWait(t *testing.T) {
	if os.Getenv("RINGFENCE_IDMAP_WAIT") == "1" {
		_, _ = os.Stdin.Read(make([]byte, 1)) // until the end
	}
}

func program(name string) sandboxtest.Requirement {
	return sandboxtest.Requirement{Name: name, Check: func() error { _, err := exec.LookPath(name); return err }}
}
