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
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// What comes of the lures and attacks of facts_trees_linux_test.go, of each pair.

// sourceDir is what attacks bind.
func sourceDir(t *testing.T) string {
	t.Helper()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	source := t.TempDir()
	if err := os.WriteFile(filepath.Join(source, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return source
}

// eachPair calls do for pairs of a lure and an attack: by default for one of three, so that each of either is met, and
// on slow machines for fewer.
func eachPair(all []lure, attacks []attack, do func(l lure, k attack)) {
	some := 3
	if sandboxtest.Slow(time.Second) > time.Second {
		some = 7
	}
	for i, l := range all {
		for j, k := range attacks {
			if os.Getenv("RINGFENCE_TREES") == "all" || (i+j)%some == 0 {
				do(l, k)
			}
		}
	}
}

// exceptions are pairs that end otherwise than the lure says.
var exceptions = map[[2]string]error{
	{"link to PID 1's root", "Dir"}:                         syscall.EACCES, // which comes before the link is looked at
	{"link to PID 1's root", "Dir of a command that joins"}: syscall.EACCES,
	{"fifo", "CopyIn"}:                                      ErrNotCollected,
}

// Nothing creates, changes, mounts over or reads what is outside, and each pair ends as the lure says. Where there is
// a decoy, what follows links gets there. Seen to fail with targets opened without RESOLVE_IN_ROOT and
// RESOLVE_NO_MAGICLINKS, and no plan.Check to refuse that: the links of processes then led to other places, and that to
// an open directory to the host. The control is a set-up by paths.
func TestNoLureInATreeLeadsOut(t *testing.T) {
	t.Parallel()
	source := sourceDir(t)
	for _, l := range lures() {
		a := newBaited(t, l, false)
		_ = os.WriteFile(filepath.Join(a.root, "L/naive"), nil, 0o644)
		if naive := a.snapshot(t) != a.before; naive != (l.decoys || l.name == "link to the root of a process") {
			t.Errorf("%s leads who sets up by paths out: %v", l.name, naive)
		}
	}
	eachPair(lures(), attacks(source), func(l lure, k attack) {
		for _, decoy := range []bool{false, true} {
			if decoy && (!l.decoys || !k.follows) {
				continue
			}
			want := l.refuse
			if k.follows {
				want = l.follow
			}
			if other := exceptions[[2]string{l.name, k.name}]; other != nil {
				want = other
			}
			if decoy {
				want = nil
			}
			a := newBaited(t, l, decoy)
			out, err := k.do(t, a, false)
			if !errors.Is(err, want) || (err == nil) != (want == nil) {
				t.Errorf("%s, %s, decoy %v: %v, want %v", l.name, k.name, decoy, err, want)
			}
			if strings.Contains(out, a.contents) || strings.Contains(out, a.canary) && !decoy { // in mountinfo
				t.Errorf("%s, %s, decoy %v: what is outside is inside: %s", l.name, k.name, decoy, out)
			}
			a.untouched(t)
		}
	})
}

// A lure takes the place of a directory again and again while the sandbox is set up, or while files go in and out.
// Whatever the moment: it fails, or it works inside. Seen to fail in the same way: the host had files of the set-up.
func TestNoLureThatIsSwappedInLeadsOut(t *testing.T) {
	t.Parallel()
	source := sourceDir(t)
	all := lures()
	directory := all[len(all)-1]
	var swapped []lure
	for _, l := range all {
		switch l.name {
		case "relative link", "absolute link", "link to the root of a process", "link to an open directory", "fifo", "file":
			swapped = append(swapped, l)
		}
	}
	worked, failed, fooled := 0, 0, 0
	eachPair(swapped, attacks(source), func(l lure, k attack) {
		a := newBaited(t, directory, false)
		at, aside := filepath.Join(a.root, "L"), filepath.Join(a.root, "aside")
		if err := l.make(a, aside); err != nil {
			t.Fatal(err)
		}
		var stop atomic.Bool
		var swaps atomic.Int64
		var swapper sync.WaitGroup
		swapper.Go(func() {
			for !stop.Load() {
				if unix.Renameat2(unix.AT_FDCWD, at, unix.AT_FDCWD, aside, unix.RENAME_EXCHANGE) == nil {
					swaps.Add(1)
				}
			}
		})
		for swaps.Load() == 0 {
			_, _ = os.Lstat(at) // until it swaps
		}
		// What is standard input is the command's, by any name: only the set-up may not go there.
		out, err := k.do(t, a, l.name == "link to an open directory")
		if err == nil {
			worked++
		} else {
			failed++
		}
		for range 20 { // the control: who goes by the name meets the canary now and then
			if string(read(filepath.Join(at, "secret"))) == a.contents {
				fooled++
			}
		}
		stop.Store(true)
		swapper.Wait()
		if strings.Contains(out, a.contents) || strings.Contains(out, a.canary) {
			t.Errorf("%s, %s: what is outside is inside: %s", l.name, k.name, out)
		}
		a.untouched(t)
	})
	t.Logf("%d worked, %d failed, a naive reader was fooled %d times", worked, failed, fooled)
	if worked == 0 || failed == 0 || fooled == 0 {
		t.Errorf("%d worked, %d failed, a naive reader was fooled %d times: this proves nothing", worked, failed, fooled)
	}
}

// Root.Path and Sources are paths of the caller's: a link in them leads where it leads on the host. See their
// documentation for who may write there.
func TestRootPathAndSourcesAreTheCallersPaths(t *testing.T) {
	t.Parallel()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	dir, root := t.TempDir(), tree(t, "target")
	for name, target := range map[string]string{"tree": root, "passwd": "/etc/passwd", "loop": "loop", "nowhere": "/no/such/place"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	in := func(name string) Spec {
		spec := Spec{Args: []string{"cat", "/target"}}
		inTree(filepath.Join(dir, name))(&spec)
		return spec
	}
	if _, err := Output(t.Context(), in("tree")); err != nil {
		t.Error(err)
	}
	var fault *SpecError
	for _, name := range []string{"passwd", "loop", "nowhere"} {
		if _, err := Output(t.Context(), in(name)); !errors.As(err, &fault) || fault.Field != "Root.Path" {
			t.Errorf("%s: %v", name, err)
		}
	}
	bound := in("tree")
	bound.Mounts = append(bound.Mounts, Mount{Source: filepath.Join(dir, "passwd"), Target: "/target"})
	if out, err := Output(t.Context(), bound); err != nil || !strings.Contains(string(out), "root:") {
		t.Errorf("%q, %v", out, err)
	}
}

// Layers with links, whiteouts and opaque directories lead nowhere: this version takes none.
func TestLayersAreRefused(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	var unsupported *UnsupportedError
	for _, spec := range []Spec{
		{Args: []string{"true"}, Root: Root{Layers: []string{t.TempDir()}, Upper: t.TempDir()}},
		{Args: []string{"true"}, Mounts: []Mount{{Type: Overlay, Target: "/x"}}},
	} {
		if r, err := Run(t.Context(), spec); r != nil || !errors.As(err, &unsupported) {
			t.Errorf("%v, %v", r, err)
		}
	}
}
