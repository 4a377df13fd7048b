package cgroup

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
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

func TestCgroupIsFound(t *testing.T) {
	tree := findTree(t, Memory, Pids)
	t.Logf("%v, %s, by %v", tree.Way(), tree.Path(), tree.Entry())
	leaf := newLeaf(t, tree, Limits{PidsMax: 10, MemoryMax: 50 * mib})
	p := start(t, leaf, "wait")
	_, path, _ := strings.Cut(readFile(t, fmt.Sprintf("/proc/%d/cgroup", p.Process.Pid)), "0::")
	if !strings.HasSuffix(path, "/"+leaf.Name()) {
		t.Errorf("the process is in %s, not in %s", path, leaf.Path())
	}
	if tree.Way() == UserManager {
		return // a unit is the one program's
	}
	again, err := Find(t.Context(), Options{Path: tree.Path(), Need: []Controller{Memory}})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close(t.Context())
	if again.Way() != Given {
		t.Errorf("a given path was found by %v", again.Way())
	}
	if got := leaves(t, again); !slices.Contains(got, leaf.Path()) {
		t.Errorf("the cgroup of a caller that lives was removed: %q are left", got)
	}
}

func TestCgroupNotFoundSaysWhy(t *testing.T) {
	findTree(t) // or there is nothing to be found
	for _, test := range []struct {
		options Options
		want    error
		text    string
	}{
		{Options{Path: "/sys/fs/cgroup"}, ErrNotDelegated, "the given cgroup: make cgroups in /sys/fs/cgroup: not delegated"},
		{Options{Path: "/proc"}, nil, "the given cgroup"},
		{Options{Path: "/sys/fs/cgroup/none"}, os.ErrNotExist, "/sys/fs/cgroup/none"},
		{Options{Need: []Controller{"none"}, Move: true}, ErrNoController, "it lacks the controller none"},
	} {
		tree, err := Find(t.Context(), test.options)
		if tree != nil {
			tree.Close(t.Context())
			t.Errorf("%+v: found %s", test.options, tree.Path())
			continue
		}
		var e *FindError
		if !errors.As(err, &e) || !errors.Is(err, errors.ErrUnsupported) || test.want != nil && !errors.Is(err, test.want) ||
			!strings.Contains(err.Error(), test.text) {
			t.Errorf("%+v: %v", test.options, err)
		}
		t.Log(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if tree, err := Find(ctx, Options{Need: []Controller{"none"}}); tree != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestCgroupsOfDeadCallersAreRemoved(t *testing.T) {
	tree := findTree(t, Memory, Pids)
	if tree.Entry() != EnterByClone {
		sandboxtest.Skip(t, "cgroup-v2", "a child cannot find its way by itself: "+tree.Entry().String())
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	run := func() (*program, string, int) {
		p := beside(t, "caller "+tree.Path())
		f := strings.Fields(p.says(t))
		if len(f) != 3 {
			t.Fatal(f)
		}
		pid, err := strconv.Atoi(f[2])
		if err != nil {
			t.Fatal(err)
		}
		return p, f[1], pid
	}
	dead, deadLeaf, orphan := run()
	_, livingLeaf, _ := run()
	fd, err := unix.PidfdOpen(orphan, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	dead.end()
	if got := leaves(t, tree); !slices.Contains(got, deadLeaf) {
		t.Errorf("%s of a dead caller is not among %q", deadLeaf, got)
	}

	for range 3 { // others that come at the same time
		again, err := Find(ctx, Options{Path: tree.Path(), Need: []Controller{Pids}})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(again.Stale(), again.Close(ctx)); err != nil {
			t.Error(err)
		}
	}
	got := leaves(t, tree)
	if slices.Contains(got, deadLeaf) {
		t.Errorf("%s of a dead caller is still there", deadLeaf)
	}
	if !slices.Contains(got, livingLeaf) {
		t.Errorf("%s of a living caller is not among %q", livingLeaf, got)
	}
	if err := awaitEnd(ctx, fd); err != nil {
		t.Errorf("the process of a dead caller: %v", err)
	}
}

// beside runs a program in the cgroup of the test.
func beside(t *testing.T, words string) *program {
	t.Helper()
	p := &program{Cmd: exec.Command("/proc/self/exe")}
	p.Env = []string{helperEnv + "=" + words}
	for _, name := range []string{"XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"} {
		if value, ok := os.LookupEnv(name); ok {
			p.Env = append(p.Env, name+"="+value)
		}
	}
	in, err := p.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.Stdout, p.Stderr, p.out = w, os.Stderr, r
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() { in.Close(); r.Close(); p.end() })
	return p
}

// awaitEnd waits until a descriptor is ready: that of a process which is not a child, at its end.
func awaitEnd(ctx context.Context, fd int) error {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 100)
		switch {
		case n > 0:
			return nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
}

// What the user's systemd gives is asked for even where the caller's own cgroup would do.
func TestCgroupOfTheUserManager(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.UnifiedCgroups(), sandboxtest.UserManager())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	f := &finder{host: thisHost(ctx), wants: wants{need: []Controller{Memory, Pids}}}
	var err error
	if f.place, err = locate(f.host); err != nil {
		t.Fatal(err)
	}
	own := f.own
	began := time.Now()
	tree, err := f.managed(ctx, UserManager)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s, by %v, after %v", tree.Path(), tree.Entry(), time.Since(began))
	if again, err := locate(f.host); err != nil || again.own != own {
		t.Errorf("the caller was moved from %s to %s (%v)", own, again.own, err)
	}
	leaf := newLeaf(t, tree, Limits{MemoryMax: 30 * mib, PidsMax: 20})
	bomb := start(t, leaf, "memory 100")
	if err := leaf.AwaitOOM(ctx); err != nil {
		t.Error(err)
	}
	if s := stats(t, leaf); s.OOMKilled() != OOMByLimit {
		t.Errorf("%+v", s.Memory)
	}
	_ = bomb.Wait() // killed
	// The unit outlives the end of a sandbox.
	next := newLeaf(t, tree, Limits{PidsMax: 20})
	start(t, next, "memory 1").says(t)
	if err := tree.Close(ctx); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(tree.Path()); !os.IsNotExist(err) {
		t.Errorf("the unit's cgroup after Close: %v", err)
	}
	if _, err := tree.New(ctx, Limits{}); !errors.Is(err, ErrRemoved) {
		t.Errorf("a cgroup in a closed tree: %v", err)
	}
}

// The unit ends with its caller, whatever ends that, and leaves no cgroup.
func TestCgroupOfTheUserManagerEndsWithTheCaller(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.UnifiedCgroups(), sandboxtest.UserManager())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p := beside(t, "unit")
	dir := p.says(t)
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.InotifyAddWatch(fd, filepath.Dir(dir), unix.IN_DELETE); err != nil {
		t.Fatal(dir, err)
	}
	p.end()
	for _, err := os.Stat(dir); !os.IsNotExist(err); _, err = os.Stat(dir) {
		if err := awaitEnd(ctx, fd); err != nil {
			t.Fatalf("%s: %v", dir, err)
		}
		var events [4096]byte
		if _, err := unix.Read(fd, events[:]); err != nil {
			t.Fatal(err)
		}
	}
}

// In a container the root of the caller's cgroup namespace is what can be written to.
func TestCgroupOfAContainer(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	tree := findTree(t, Memory, Pids)
	leaf := newLeaf(t, tree, Limits{PidsMax: 50})
	p := startWith(t, leaf, "container", syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
	})
	if got, want := p.says(t), "the container's cgroup /sys/fs/cgroup clone3(CLONE_INTO_CGROUP)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if err := leaf.Remove(t.Context()); err != nil { // with the cgroups that were made in it
		t.Error(err)
	}
	if got := leaves(t, tree); len(got) != 0 {
		t.Errorf("%q are left", got)
	}
}

// A root caller has the ways of its own: the system's manager, and a directory beside other cgroups.
func TestRootCgroupIsFound(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.UnifiedCgroups())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	f := &finder{host: thisHost(ctx), wants: wants{need: []Controller{Memory, Pids}}}
	var err error
	if f.place, err = locate(f.host); err != nil {
		t.Fatal(err)
	}
	try := func() (*Tree, error) { return f.managed(ctx, SystemManager) }
	want := SystemManager
	if !f.exists("/run/systemd/system") {
		f.own, want = f.mount, OwnDirectory // as if it were at the top
		try = func() (*Tree, error) { return f.chosen(ctx)(chooseOwn(f.host, f.place, f.wants)) }
	}
	tree, err := try()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v: %s, by %v", tree.Way(), tree.Path(), tree.Entry())
	if tree.Way() != want {
		t.Errorf("found by %v, want %v", tree.Way(), want)
	}
	start(t, newLeaf(t, tree, Limits{MemoryMax: 50 * mib, PidsMax: 20}), "memory 5").says(t)
	if err := tree.Close(ctx); err != nil {
		t.Error(err)
	}
}
