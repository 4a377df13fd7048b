package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"
)

// Files go into a sandbox that lives, and out of it.

func TestFilesGoInAndOut(t *testing.T) {
	s := living(t, Spec{})
	source := fstest.MapFS{"in/script": {Data: []byte("#!/bin/sh\necho $(cat /tmp/in/word) >/tmp/out\n"), Mode: 0o755}, "in/word": {Data: []byte("hello"), Mode: 0o644}}
	if err := s.CopyIn(t.Context(), "/tmp", source, CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	in(t, s, "/tmp/in/script")
	var out bytes.Buffer
	if err := s.CopyOut(t.Context(), Collect{Path: "/tmp/out", File: &out}); err != nil || out.String() != "hello\n" {
		t.Errorf("%q, %v", &out, err)
	}
	var archive bytes.Buffer
	if err := s.CopyOut(t.Context(), Collect{Path: "/tmp", Tar: &archive}); err != nil {
		t.Error(err)
	}
	if got := archived(t, &archive); got["in/word"] != "hello" || got["out"] != "hello\n" {
		t.Errorf("%q", got)
	}
	// What is there stays there, unless it may go; and belongs to the command.
	again := fstest.MapFS{"in/word": {Data: []byte("again"), Mode: 0o600}}
	var copied *CollectError
	if err := s.CopyIn(t.Context(), "/tmp", again, CopyOptions{}); !errors.Is(err, fs.ErrExist) || !errors.As(err, &copied) || copied.Path != "/tmp/in/word" || copied.Op != "copy in" {
		t.Errorf("%v", err)
	}
	if err := s.CopyIn(t.Context(), "/tmp", again, CopyOptions{Overwrite: true}); err != nil {
		t.Error(err)
	}
	if got := in(t, s, "cat /tmp/in/word; echo; stat -c %u:%a /tmp/in/word; id -u; echo more >>/tmp/in/word"); got != fmt.Sprintf("again\n%d:600\n%[1]d", s.keeper.plan.resolved.ids.uid) {
		t.Errorf("%q", got)
	}
	for _, dst := range []string{"/usr", "/", "/usr/share/x"} {
		if err := s.CopyIn(t.Context(), dst, again, CopyOptions{}); !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s: %v", dst, err)
		}
	}
	if err := s.CopyIn(t.Context(), "/tmp/x", source, CopyOptions{MaxBytes: 10}); !errors.Is(err, ErrCollectLimit) {
		t.Error(err)
	}
}

func TestCopiesAreChecked(t *testing.T) {
	s := living(t, Spec{})
	var fault *SpecError
	for _, c := range []Collect{{}, {Path: "/x"}, {Path: "x", File: io.Discard}, {Path: "/proc/1", File: io.Discard}} {
		if err := s.CopyOut(t.Context(), c); !errors.As(err, &fault) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, dst := range []string{"", "x", "/a/../b", "/proc/self"} {
		if err := s.CopyIn(t.Context(), dst, fstest.MapFS{}, CopyOptions{}); !errors.As(err, &fault) {
			t.Errorf("%q: %v", dst, err)
		}
	}
	if err := s.CopyIn(t.Context(), "/tmp", nil, CopyOptions{MaxBytes: -1, MaxFiles: -1}); !errors.As(err, &fault) || !strings.Contains(err.Error(), "MaxFiles") || !strings.Contains(err.Error(), "Source") {
		t.Errorf("%v", err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.CopyOut(canceled, Collect{Path: "/tmp", Tar: io.Discard}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := s.CopyIn(canceled, "/tmp", fstest.MapFS{"x": {}}, CopyOptions{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// The end of a sandbox is the end of what is copied; and nothing of it is left open.
func TestCopiesEndWithTheSandbox(t *testing.T) {
	s := living(t, Spec{})
	in(t, s, "truncate -s 1T /tmp/huge")
	begun := make(chan struct{})
	once := writeFunc(func(p []byte) (int, error) {
		select {
		case <-begun:
		default:
			close(begun)
		}
		return len(p), nil
	})
	ended := make(chan error, 1)
	go func() { ended <- s.CopyOut(t.Context(), Collect{Path: "/tmp/huge", File: once, MaxBytes: 1 << 50}) }()
	<-begun
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, ErrEnded) {
		t.Errorf("%v", err)
	}
	if err := s.CopyOut(t.Context(), Collect{Path: "/tmp", Tar: io.Discard}); !errors.Is(err, ErrEnded) {
		t.Errorf("%v", err)
	}
	if err := s.CopyIn(t.Context(), "/tmp", fstest.MapFS{}, CopyOptions{}); !errors.Is(err, ErrEnded) {
		t.Errorf("%v", err)
	}
}

// copyRace is how long a payload may try to win.
const copyRace = 2 * time.Second

// maxRace is how long a slow host has to show that the payload does something.
const maxRace = 30 * time.Second

// The payload swaps files, directories, links, fifos, devices, hard links and leases in a directory of the host
// that it may write, while the caller copies out of it and into it. Any error is fine; a byte of the host's is
// not, nor one that is written there, nor a wait.
func TestCopiesLeadNowhereWhileThePayloadSwaps(t *testing.T) {
	t.Parallel()
	secret, contents := hostSecret(t)
	shared := t.TempDir()
	swapper := victimSpec(t, "swapfiles:/out,"+secret)
	args := swapper.Args
	swapper.Args = nil
	swapper.Mounts = append(swapper.Mounts, Mount{Source: shared, Target: "/out", Writable: true})
	s := living(t, swapper)
	c := s.Command(t.Context(), Spec{Args: args})
	told, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if o := newLines(told).next(t); o.Act != "swapping" {
		t.Fatalf("%v", o)
	}
	before := fmt.Sprint(os.ReadDir(filepath.Dir(secret)))
	source := fstest.MapFS{"file": {Data: []byte("brought"), Mode: 0o644}, "dir/file": {Data: []byte("brought"), Mode: 0o644}}
	rounds, out, into, fooled := 0, 0, 0, 0
	var longest time.Duration
	for start := time.Now(); time.Since(start) < copyRace || (out == 0 || into == 0 || fooled == 0) && time.Since(start) < maxRace; rounds++ {
		var got bytes.Buffer
		began := time.Now()
		for _, what := range []Collect{
			{Path: "/out/file", File: &got, MaxBytes: 1 << 20}, {Path: "/out/dir/file", File: &got, MaxBytes: 1 << 20},
			{Path: "/out", Tar: &got, MaxBytes: 1 << 20, Symlinks: rounds%2 == 0},
			{Path: "/out", MaxBytes: 1 << 20, FS: func(fsys fs.FS) error {
				return fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
					data, _ := fs.ReadFile(fsys, p)
					got.Write(data)
					return nil
				})
			}},
		} {
			if s.CopyOut(t.Context(), what) == nil {
				out++
			}
		}
		if err := s.CopyIn(t.Context(), "/out", source, CopyOptions{Overwrite: rounds%2 == 0}); err == nil {
			into++
		}
		longest = max(longest, time.Since(began))
		if strings.Contains(got.String(), contents) {
			t.Fatalf("round %d holds what is the host's", rounds)
		}
		for _, name := range []string{"file", "dir/file"} { // the control
			fooled += strings.Count(string(read(filepath.Join(shared, name))), contents)
		}
		runtime.Gosched()
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if r, err := c.Wait(); err != nil || r.Ended != Canceled {
		t.Errorf("%v, %v", r, err)
	}
	if data, err := os.ReadFile(secret); err != nil || string(data) != contents || fmt.Sprint(os.ReadDir(filepath.Dir(secret))) != before {
		t.Errorf("the host's directory has changed: %q, %v", data, err)
	}
	t.Logf("%d rounds, %d copies out, %d in, a naive reader fooled %d times, longest %v", rounds, out, into, fooled, longest)
	if out == 0 || into == 0 || fooled == 0 {
		t.Errorf("%d rounds, %d copies out, %d in, a naive reader fooled %d times: this proves nothing", rounds, out, into, fooled)
	}
	if longest > 20*time.Second { // a lease is broken after 45
		t.Errorf("a round took %v", longest)
	}
}

// read is what anyone does who trusts a name, but for a fifo, which would not let it go.
func read(name string) []byte {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	data, _ := io.ReadAll(io.LimitReader(f, 1<<10))
	return data
}

// Root brings what belongs to the sandbox's user, and not where that user may not write.
func TestRootCopiesWithTheRightsOfTheCommand(t *testing.T) {
	shared := t.TempDir()
	for p := shared; p != os.TempDir() && p != "/"; p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s := living(t, Spec{Mounts: []Mount{{Source: shared, Target: "/shared", Writable: true}}})
	source := fstest.MapFS{"dir/file": {Data: []byte("brought"), Mode: 0o600}}
	if err := s.CopyIn(t.Context(), "/shared", source, CopyOptions{}); !errors.Is(err, fs.ErrPermission) {
		t.Error(err)
	}
	if err := s.CopyIn(t.Context(), "/tmp", source, CopyOptions{}); err != nil {
		t.Error(err)
	}
	if got := in(t, s, "cat /tmp/dir/file && rm -r /tmp/dir && echo removed"); got != "broughtremoved" {
		t.Errorf("%q", got)
	}
}

// A range without the caller's own ID has no name for whoever writes: the error says what to do.
func TestCopyInNeedsTheCallersIDInTheRange(t *testing.T) {
	r := reserve(t, 100)
	var spec Spec
	withIDs(r, nil)(&spec)
	s := living(t, spec)
	source := fstest.MapFS{"file": {Data: []byte("brought"), Mode: 0o644}}
	var copied *CollectError
	if err := s.CopyIn(t.Context(), "/tmp", source, CopyOptions{}); !errors.Is(err, syscall.EOVERFLOW) || !errors.As(err, &copied) || !strings.Contains(copied.Remedy, "UIDs") {
		t.Errorf("%v", err)
	}
}

// Who wants memory takes PID 1 along, and not what is collected.
func TestCgroupOfMemoryBombLeavesWhatIsCollected(t *testing.T) {
	var out bytes.Buffer
	bounded := inCgroup(t, Limits{MemoryMax: 48 << 20})
	spec := collecting("echo kept >/tmp/f; exec tail /dev/zero", Collect{Path: "/tmp/f", File: &out})
	bounded(&spec)
	r, err := Run(t.Context(), spec)
	if err != nil || r.Ended != OutOfMemory || out.String() != "kept\n" {
		t.Errorf("%v, %v, %q", r, err, &out)
	}
}
