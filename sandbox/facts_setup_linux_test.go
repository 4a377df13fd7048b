package sandbox

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// Facts about the set-up on a root tree that somebody hostile has made: nothing of it leads to the host.

func TestDevAndProcOfATreeMustBeDirectories(t *testing.T) { rootTreesDevAndProc(t) }

func rootTreesDevAndProc(t *testing.T) {
	host := t.TempDir()
	for _, link := range []string{"dev -> " + host, "dev -> /tmp", "proc -> " + host, "proc -> /tmp", "proc -> dev"} {
		spec := victimSpec(t, "nothing")
		inTree(tree(t, link))(&spec)
		r, err := Run(t.Context(), spec)
		var op *OpError
		if !errors.As(err, &op) || !errors.Is(err, syscall.ELOOP) && !errors.Is(err, syscall.ENOTDIR) && !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s: %v, %v, want an *OpError", link, r, err)
		}
		if left, _ := os.ReadDir(host); len(left) > 0 {
			t.Errorf("%s: the set-up made %s", link, left[0].Name())
		}
	}
	inside(t, inTree(tree(t)), "nothing").want("nothing", "ok")
}

func TestDevIsTheSandboxesOwn(t *testing.T) {
	t.Parallel()
	host, _ := hostSecret(t)
	// What the tree has below dev, and what a CVE made of it, is covered.
	root := tree(t, "dev/null -> "+host, "dev/pts -> /tmp", "dev/console", "dev/shm -> /usr", "proc/kcore -> "+host)
	acts := []string{"list:/dev", "stat:/dev/null", "stat:/dev/pts", "stat:/dev/shm", "read:/dev/null"}
	got := inside(t, inTree(root), acts...)
	for name := range strings.FieldsSeq(got.of("list:/dev").Detail) {
		if !strings.Contains(" fd full null ptmx pts random shm stderr stdin stdout tty urandom zero ", " "+name+" ") {
			t.Errorf("/dev holds %s", name)
		}
	}
	if o := got.of("stat:/dev/null"); !strings.HasPrefix(o.Detail, "20666") || !strings.HasSuffix(o.Detail, "rdev 1:3") {
		t.Errorf("/dev/null: %v", o)
	}
	for _, dir := range []string{"stat:/dev/pts", "stat:/dev/shm"} {
		if o := got.of(dir); !strings.HasPrefix(o.Detail, "4") {
			t.Errorf("%s: %v, want a directory", dir, o)
		}
	}
	if o := got.of("read:/dev/null"); !o.OK() || o.Detail != "" {
		t.Errorf("/dev/null reads %v", o)
	}
}

// Others may change the tree while it is set up. Whatever the moment: the run fails, or it works inside,
// and the host has nothing of it. Where the host's tree stays mounted and openat2 has no bounds, it has.
func TestSetUpOnATreeThatIsBeingSwappedStaysInside(t *testing.T) {
	host := t.TempDir()
	// Where the host's tree is left on top of the root, ".." leads to it, and an absolute path does not.
	root := tree(t, "a/b/", "evil -> "+strings.Repeat("../", 30)+host[1:])
	spec := victimSpec(t, "nothing")
	inTree(root)(&spec)
	spec.Root.Writable = true
	spec.Mounts = append(spec.Mounts, Mount{Type: File, Target: "/a/b/file", Data: []byte("x")}, Mount{Type: Tmpfs, Target: "/a/b/c/d"})
	var stop atomic.Bool
	var swaps atomic.Int64
	var swapper sync.WaitGroup
	swapper.Go(func() {
		for !stop.Load() {
			if unix.Renameat2(unix.AT_FDCWD, root+"/a", unix.AT_FDCWD, root+"/evil", unix.RENAME_EXCHANGE) == nil {
				swaps.Add(1)
			}
		}
	})
	worked, failed := 0, 0
	for range 60 {
		if r, err := Run(t.Context(), spec); err != nil {
			failed++
		} else if r.ExitCode != 0 {
			t.Error(r)
		} else {
			worked++
		}
	}
	stop.Store(true)
	swapper.Wait()
	if left, _ := os.ReadDir(host); len(left) > 0 {
		t.Errorf("the set-up made %s on the host", left[0].Name())
	}
	t.Logf("%d runs worked, %d failed, %d swaps", worked, failed, swaps.Load())
	if swaps.Load() == 0 {
		t.Error("nothing was swapped: this test proves nothing")
	}
}

func TestTreeIsReadOnlyAndNosuid(t *testing.T) {
	t.Parallel()
	root := tree(t, "data/")
	got := inside(t, inTree(root), "create:/data/x", "create:/x")
	got.want("create:/data/x", "EROFS")
	got.want("create:/x", "EROFS")
	inside(t, func(s *Spec) { inTree(root)(s); s.Root.Writable = true }, "create:/data/x").want("create:/data/x", "ok")
	if _, err := os.Stat(filepath.Join(root, "data/x")); err != nil {
		t.Error(err)
	}
}

func TestTargetInAReadOnlyTreeMustExist(t *testing.T) {
	t.Parallel()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	spec := Spec{Args: []string{"true"}, Mounts: []Mount{{Type: Tmpfs, Target: "/missing"}}}
	inTree(tree(t))(&spec)
	_, err := Run(t.Context(), spec)
	var op *OpError
	if !errors.As(err, &op) || !errors.Is(err, syscall.EROFS) || op.Remedy == "" {
		t.Errorf("%v, want an *OpError with EROFS and a remedy", err)
	}
}
