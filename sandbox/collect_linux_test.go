package sandbox

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringfence-go/ringfence/seccomp"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// collecting returns a Spec that runs a script and collects.
func collecting(script string, what ...Collect) Spec {
	return Spec{Args: []string{"sh", "-c", script}, Collect: what}
}

// archived returns what an archive holds, directories with "".
func archived(t testing.TB, archive io.Reader) map[string]string {
	t.Helper()
	all := map[string]string{}
	for r := tar.NewReader(archive); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		all[h.Name] = string(data) + h.Linkname
	}
}

func TestCollectTakesWhatTheCommandLeaves(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	var file, shm, archive, home bytes.Buffer
	var seen []string
	r := run(t, collecting(`
		mkdir -p /tmp/out/sub; echo one >/tmp/out/file; echo two >/tmp/out/sub/file; ln /tmp/out/file /tmp/out/hard
		echo three >/dev/shm/x; echo four >$HOME/y; exit 3`,
		Collect{Path: "/tmp/out/file", File: &file},
		Collect{Path: "/dev/shm/x", File: &shm},
		Collect{Path: "/tmp/out", Tar: &archive},
		Collect{Path: "/home/sandbox/y", Tar: &home},
		Collect{Path: "/tmp", FS: func(fsys fs.FS) error {
			return fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
				seen = append(seen, p)
				return err
			})
		}}))
	if r.ExitCode != 3 || file.String() != "one\n" || shm.String() != "three\n" {
		t.Errorf("%v, %q, %q", r, &file, &shm)
	}
	got := archived(t, &archive)
	if len(got) != 4 || got["file"] != "one\n" || got["hard"] != "one\n" || got["sub/file"] != "two\n" {
		t.Errorf("the archive holds %q", got)
	}
	if got := archived(t, &home); len(got) != 1 || got["y"] != "four\n" {
		t.Errorf("the archive of one file holds %q", got)
	}
	if want := ". out out/file out/hard out/sub out/sub/file"; strings.Join(seen, " ") != want {
		t.Errorf("seen %q, want %q", seen, want)
	}
}

// Whatever ends the run, and whoever: what was written until then is there, and nothing writes any more.
func TestCollectComesAfterEverythingHasEnded(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	const writes = `echo begun >/tmp/f; (while :; do echo more >>/tmp/f; done) & setsid sh -c 'while :; do echo more >>/tmp/f; done' & `
	for name, test := range map[string]struct {
		script string
		change func(*Spec)
		end    func(t *testing.T, c *Cmd, cancel func())
		want   Ending
		err    error
	}{
		"exit":     {script: writes + "exit 0", want: Exited},
		"signal":   {script: writes + "kill -KILL $$", want: Signaled},
		"timeout":  {script: writes + "wait", change: func(s *Spec) { s.Limits.WallTime = 50 * time.Millisecond }, want: TimedOut},
		"CPU time": {script: writes + "wait", change: func(s *Spec) { s.Limits.CPUTime = sandboxtest.Slow(100 * time.Millisecond) }, want: OutOfCPUTime},
		"output":   {script: writes + "yes", change: func(s *Spec) { s.Stdout, s.Limits.OutputMax = io.Discard, 10 }, want: OutputExceeded},
		"forbidden": {script: writes + "mkdir /tmp/x; wait", change: func(s *Spec) {
			s.Seccomp = seccomp.Default()
			s.Seccomp.Rules = append([]seccomp.Rule{{Names: []string{"mkdir", "mkdirat"}, Action: seccomp.KillProcess}}, s.Seccomp.Rules...)
		}, want: Forbidden},
		"context": {script: writes + "echo; wait", end: func(_ *testing.T, _ *Cmd, cancel func()) { cancel() }, want: Canceled, err: context.Canceled},
		"PID 1": {script: writes + "echo; wait", end: func(t *testing.T, c *Cmd, _ func()) {
			if err := c.process.Kill(); err != nil {
				t.Error(err)
			}
		}, want: Signaled},
	} {
		t.Run(name, func(t *testing.T) {
			var first, second []byte
			spec := collecting(test.script, Collect{Path: "/tmp", FS: func(fsys fs.FS) (err error) {
				if first, err = fs.ReadFile(fsys, "f"); err == nil {
					second, err = fs.ReadFile(fsys, "f")
				}
				return err
			}})
			if test.change != nil {
				test.change(&spec)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c := Command(ctx, spec)
			var out io.Reader
			if test.end != nil {
				var err error
				if out, err = c.StdoutPipe(); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			if test.end != nil {
				if _, err := out.Read(make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
				test.end(t, c, cancel)
			}
			r, err := c.Wait()
			if !errors.Is(err, test.err) || (err == nil) != (test.err == nil) || r.Ended != test.want {
				t.Errorf("%v, %v, want %v, %v", r, err, test.want, test.err)
			}
			if !bytes.HasPrefix(first, []byte("begun\n")) || !bytes.Equal(first, second) {
				t.Errorf("%d bytes, then %d", len(first), len(second))
			}
		})
	}
}

func TestWhatCannotBeCollectedIsAnErrorBesideTheResult(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	var good, archive bytes.Buffer
	broken := errors.New("the writer is broken")
	spec := collecting(`
		mkdir /tmp/out; echo good >/tmp/good; mkfifo /tmp/fifo; ln -s good /tmp/link; mkdir -p /tmp/closed; echo x >/tmp/closed/x; chmod 0 /tmp/closed
		echo kept >/tmp/out/kept; ln -s /etc/passwd /tmp/out/link; mkfifo /tmp/out/fifo`,
		Collect{Path: "/tmp/missing", File: io.Discard},
		Collect{Path: "/tmp/fifo", File: io.Discard},
		Collect{Path: "/tmp/link", File: io.Discard},
		Collect{Path: "/tmp", File: io.Discard},
		Collect{Path: "/tmp/good", File: io.Discard, MaxBytes: 3},
		Collect{Path: "/tmp/closed/x", File: io.Discard},
		Collect{Path: "/tmp/good", FS: func(fs.FS) error { return nil }},
		Collect{Path: "/tmp", FS: func(fs.FS) error { return broken }},
		Collect{Path: "/tmp/good", File: writeFunc(func([]byte) (int, error) { return 0, broken })},
		Collect{Path: "/dev/null", File: io.Discard},
		Collect{Path: "/tmp/out", Tar: &archive},
		Collect{Path: "/tmp/good", File: &good},
	)
	r, err := Run(t.Context(), spec)
	if r == nil || r.Ended != Exited || r.ExitCode != 0 || good.String() != "good\n" {
		t.Fatalf("%v, %v, %q", r, err, &good)
	}
	if got := archived(t, &archive); len(got) != 1 || got["kept"] != "kept\n" {
		t.Errorf("the archive holds %q", got)
	}
	var all []*CollectError
	var walk func(error)
	walk = func(err error) {
		if e, ok := any(err).(*CollectError); ok { // what it is, not what it wraps
			all = append(all, e)
		} else if j, ok := any(err).(interface{ Unwrap() []error }); ok {
			for _, e := range j.Unwrap() {
				walk(e)
			}
		} else {
			t.Errorf("%T: %v", err, err)
		}
	}
	walk(err)
	wants := []struct {
		path string
		err  error
	}{
		{"/tmp/missing", fs.ErrNotExist}, {"/tmp/fifo", ErrNotCollected}, {"/tmp/link", ErrNotCollected}, {"/tmp", nil}, {"/tmp/good", ErrCollectLimit},
		{"/tmp/closed/x", fs.ErrPermission}, {"/tmp/good", nil}, {"/tmp", broken}, {"/tmp/good", broken}, {"/dev/null", ErrNotCollected},
		{"/tmp/out/fifo", ErrNotCollected}, {"/tmp/out/link", ErrNotCollected},
	}
	if len(all) != len(wants) {
		t.Fatalf("%d errors, want %d: %v", len(all), len(wants), err)
	}
	for i, want := range wants {
		if e := all[i]; e.Path != want.path || want.err != nil && !errors.Is(e, want.err) {
			t.Errorf("error %d: %v, want %s: %v", i, e, want.path, want.err)
		}
	}
}

type writeFunc func([]byte) (int, error)

func (f writeFunc) Write(p []byte) (int, error) { return f(p) }

func TestCollectGoesWithEverythingElseThatTheCallerGets(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	var out bytes.Buffer
	spec := collecting("mkdir /tmp/x; echo x >/tmp/x/f", Collect{Path: "/tmp/x/f", File: &out})
	spec.Limits.CPUTime = time.Minute
	spec.Seccomp = seccomp.Default()
	spec.Seccomp.Rules = append([]seccomp.Rule{{Names: []string{"mkdir", "mkdirat"}, Action: seccomp.Notify}}, spec.Seccomp.Rules...)
	spec.Supervisor = func(context.Context, *Notification) Answer { return Continue() }
	if r := run(t, spec); r.Err() != nil || out.String() != "x\n" {
		t.Errorf("%v, %q", r, &out)
	}
	out.Reset()
	var screen bytes.Buffer
	spec.Terminal, spec.Stdout = &Terminal{}, &screen
	spec.Args[2] = "tty >/tmp/tty; " + spec.Args[2] + "; echo shown"
	if r := run(t, spec); r.Err() != nil || out.String() != "x\n" || !strings.Contains(screen.String(), "shown") {
		t.Errorf("with a terminal: %v, %q, %q", r, &out, &screen)
	}
}

func TestCommandHasNothingOfWhatCollects(t *testing.T) {
	t.Parallel()
	got := inside(t, func(s *Spec) { s.Collect = []Collect{{Path: "/tmp", Tar: io.Discard}} }, "fds", "list:/proc/1/fd", "list:/proc/1/ns")
	if fds := got.of("fds").Detail; fds != "0 1 2" {
		t.Errorf("the payload's descriptors: %s", fds)
	}
	got.want("list:/proc/1/fd", "EACCES")
	got.want("list:/proc/1/ns", "EACCES")
}

// The classic: what the command leaves in a directory of the host is a link, and whoever takes it follows.
func TestCollectedLinkLeadsNowhere(t *testing.T) {
	t.Parallel()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	secret, contents := hostSecret(t)
	for name, lure := range map[string]string{
		"a link":                 "ln -s " + secret + " /out/result",
		"a link by way of /proc": "ln -s /proc/self/root" + secret + " /out/result",
		"a relative link":        "ln -s ../../../../../../../../.." + secret + " /out/result",
		"a directory":            "rm -r /out/dir; ln -s " + filepath.Dir(secret) + " /out/dir; ln -s dir/secret /out/result",
	} {
		out := t.TempDir()
		if err := os.Mkdir(filepath.Join(out, "dir"), 0o755); err != nil {
			t.Fatal(err)
		}
		var file, archive, below bytes.Buffer
		var read strings.Builder
		spec := collecting(lure,
			Collect{Path: "/out/result", File: &file}, Collect{Path: "/out/dir/secret", File: &below}, Collect{Path: "/out", Tar: &archive},
			Collect{Path: "/out", FS: func(fsys fs.FS) error {
				for _, name := range []string{"result", "dir/secret"} {
					data, _ := fs.ReadFile(fsys, name)
					read.Write(data)
				}
				return nil
			}})
		spec.Mounts = []Mount{{Source: out, Target: "/out", Writable: true}}
		_, err := Run(t.Context(), spec)
		if !errors.Is(err, ErrNotCollected) || file.Len()+below.Len()+read.Len() > 0 || strings.Contains(archive.String(), contents) {
			t.Errorf("%s: %v, %q, %q, %q", name, err, &file, &below, read.String())
		}
		// The control.
		if data, err := os.ReadFile(filepath.Join(out, "result")); err != nil || string(data) != contents {
			t.Errorf("%s: a naive reader gets %q, %v: this proves nothing", name, data, err)
		}
	}
}

// A caller that is root reads as the command could: whoever may write a directory may give what is in it
// another name.
func TestRootCollectsWithTheRightsOfTheCommand(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	out := t.TempDir()
	for p := out; p != os.TempDir() && p != "/"; p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(out, "private")
	if err := os.WriteFile(file, []byte("root's"), 0o600); err != nil {
		t.Fatal(err)
	}
	var stolen, mine bytes.Buffer
	spec := collecting("cat /out/private && exit 1; mv /out/private /out/result; echo mine >/tmp/f; chmod 600 /tmp/f",
		Collect{Path: "/out/result", File: &stolen}, Collect{Path: "/tmp/f", File: &mine})
	spec.Mounts = []Mount{{Source: out, Target: "/out", Writable: true}}
	r, err := Run(t.Context(), spec)
	if r == nil || r.Err() != nil || !errors.Is(err, fs.ErrPermission) || stolen.Len() > 0 || mine.String() != "mine\n" {
		t.Errorf("%v, %v, %q, %q", r, err, &stolen, &mine)
	}
	if data, err := os.ReadFile(filepath.Join(out, "result")); err != nil || string(data) != "root's" {
		t.Errorf("a naive reader gets %q, %v: this proves nothing", data, err)
	}
}

func TestValidateCollect(t *testing.T) {
	for field, c := range map[string]Collect{
		"Collect[0].Path":     {Path: "out", File: io.Discard},
		"Collect[0]":          {Path: "/out"},
		"Collect[0].MaxBytes": {Path: "/out", File: io.Discard, MaxBytes: -1},
		"Collect[0].MaxFiles": {Path: "/out", File: io.Discard, MaxFiles: -1},
	} {
		spec := Spec{Args: []string{"true"}, Collect: []Collect{c}}
		var fault *SpecError
		if err := validate(&spec); !errors.As(err, &fault) || fault.Field != field {
			t.Errorf("%+v: %v, want a fault of %s", c, err, field)
		}
	}
	for _, p := range []string{"/a/../b", "/proc/1", "/proc", "", "/a\x00", "/" + strings.Repeat("x", 256)} {
		spec := Spec{Args: []string{"true"}, Collect: []Collect{{Path: p, File: io.Discard}, {Path: "/x", File: io.Discard, Tar: io.Discard}}}
		if err := validate(&spec); err == nil || !strings.Contains(err.Error(), "Collect[0].Path") || !strings.Contains(err.Error(), "Collect[1]: 2 of File") {
			t.Errorf("%q: %v", p, err)
		}
	}
	if err := validate(&Spec{Args: []string{"true"}, Collect: make([]Collect, maxCollects+1)}); err == nil || !strings.Contains(err.Error(), "at most 64") {
		t.Error(err)
	}
}

// With a range of IDs files belong to IDs that are not the caller's, who has no right to them but what
// everybody has.
func TestCollectOfAnotherIDNeedsModesThatAllowIt(t *testing.T) {
	r := reserve(t, 1000)
	var archive bytes.Buffer
	for name, user := range map[string]*User{"first": nil, "another": {UID: 33, GID: 34}} {
		archive.Reset()
		spec := collecting("mkdir /tmp/out; echo x >/tmp/out/open; echo y >/tmp/out/closed; chmod 600 /tmp/out/closed", Collect{Path: "/tmp/out", Tar: &archive})
		withIDs(r, user)(&spec)
		result, err := Run(t.Context(), spec)
		var left *CollectError
		if result == nil || result.Err() != nil || !errors.As(err, &left) || left.Path != "/tmp/out/closed" || !errors.Is(left, fs.ErrPermission) || !strings.Contains(left.Remedy, "chmod -R a+rX") {
			t.Errorf("%s: %v, %v", name, result, err)
		}
		h, err := tar.NewReader(&archive).Next()
		if err != nil {
			t.Fatal(err)
		}
		want := User{}
		if user != nil {
			want = *user
		}
		if h.Uid != want.UID || h.Gid != want.GID || h.Name != "open" {
			t.Errorf("%s: %+v", name, h)
		}
	}
}
