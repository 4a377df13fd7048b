package sandbox

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing/fstest"
	"time"

	"github.com/ringfence-go/ringfence/idmap"
	"github.com/ringfence-go/ringfence/seccomp"
)

// The kinds of runs of a soak, failures among them.

var errWriter = errors.New("a writer that fails")

// shell is a script whose processes can be told from those of other tests.
func (s *soak) shell(text string) Spec {
	spec := Spec{Args: []string{"sh", "-c", text, s.marker}}
	if s.placed && rand.IntN(2) == 0 {
		spec.Limits.PidsMax, spec.Limits.MemoryMax = 32, 64<<20
	}
	return spec
}

// one is the i-th run. Each kind takes one turn of many; what is varied within it is random.
func (s *soak) one(i int) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	kinds := [...]func(context.Context, int){
		s.plain, s.plain, s.plain, s.pooled, s.joined, s.rejected, s.failing, s.given, s.collecting, s.signaled, s.terminal,
		s.supervised, s.plain, s.pooled, s.joined, s.living, s.ranged,
	}
	kinds[i%len(kinds)](ctx, i/len(kinds))
}

func (s *soak) run(ctx context.Context, spec Spec) { s.count(Run(ctx, spec)) }

// plain are runs that start, and end in every way.
func (s *soak) plain(ctx context.Context, i int) {
	var out bytes.Buffer
	spec := s.shell("exit 0")
	switch i % 11 {
	case 0:
		spec = s.shell("echo x; kill -KILL $$")
		spec.Stdout = &out
	case 1:
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(rand.IntN(8000))*time.Microsecond)
		defer cancel()
		spec = s.shell("sleep 1000")
	case 2:
		spec = s.shell("sleep 1000 & setsid sleep 1000 & exit 1")
		spec.Stdout, spec.Stderr = &out, &out
	case 3:
		spec = s.shell("yes")
		spec.Stdout, spec.Limits.OutputMax = &out, 1000
	case 4:
		spec = s.shell("sleep 1000")
		spec.Limits.WallTime, spec.Limits.CPUTime = 2*time.Millisecond, time.Hour
	case 5:
		spec.Stdin = strings.NewReader(strings.Repeat("x", 200_000))
	case 6:
		spec.Seccomp = &seccomp.Policy{Default: seccomp.Allow, Rules: []seccomp.Rule{{Names: []string{"setsid"}, Action: seccomp.KillProcess}}}
		spec.Args = []string{"setsid", "--wait", "sleep", "1000", s.marker}
	case 7:
		spec = s.shell("trap 'exit 3' TERM; sleep 1000 & wait")
		spec.StopSignal, spec.StopTimeout = syscall.SIGTERM, 20*time.Millisecond
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(rand.IntN(20))*time.Millisecond)
		defer cancel()
	case 8:
		spec = s.shell("head -c 200000 /dev/zero")
		spec.Stdout = writeFunc(func([]byte) (int, error) { return 0, errWriter })
	case 9:
		spec = s.shell(": & : & : & wait; sleep 0.00$(($$ % 9))")
		spec.Mounts = []Mount{{Type: Tmpfs, Target: "/a/b"}, {Type: File, Target: "/a/c", Data: []byte("x")}, {Source: "/usr", Target: "/a/usr"}}
	}
	r, err := Run(ctx, spec)
	if errors.Is(err, errWriter) {
		err = nil // what a writer says beside the Result
	}
	s.count(r, err)
}

// rejected are Specs that start nothing.
func (s *soak) rejected(ctx context.Context, i int) {
	spec := s.shell("exit 0")
	switch i % 6 {
	case 0:
		spec.Mounts = []Mount{{Target: "/../x", Source: "\x00"}, {Type: 99}}
	case 1:
		spec.Root.Layers = []string{"/usr"}
	case 2:
		spec.Mounts = []Mount{{Source: "/no/such/source", Target: "/x"}}
	case 3:
		spec.Seccomp = &seccomp.Policy{Default: seccomp.Allow, Rules: []seccomp.Rule{{Names: []string{"no_such_call"}, Action: seccomp.Allow}}}
	case 4:
		canceled, cancel := context.WithCancel(ctx)
		cancel()
		ctx = canceled
	case 5:
		spec.Cgroup.Path, spec.Limits.MemoryMax = "/no/such/cgroup", 1<<20
	}
	r, err := Run(ctx, spec)
	if r != nil || err == nil {
		s.fault("rejected %d: %v, %v", i%6, r, err)
	}
	if i%6 == 3 && err != nil {
		return // a *seccomp.PolicyError, which is not counted
	}
	s.count(r, err)
}

// failing are starts that fail on the way.
func (s *soak) failing(ctx context.Context, i int) {
	spec := s.shell("exit 0")
	switch i % 6 {
	case 0:
		spec.Args = []string{"/no/such/command"}
	case 1:
		spec.Dir = "/no/such/directory"
	case 2:
		spec.Mounts = []Mount{{Type: Tmpfs, Target: "/usr/no/such"}}
	case 3:
		spec.Args = []string{"/etc/passwd"}
	case 4:
		spec.Limits.Rlimits = []Rlimit{{Type: "RLIMIT_AS", Soft: 4096, Hard: 4096}}
	case 5:
		spec.Mounts = []Mount{{Source: "/usr", Target: "/etc/passwd"}}
	}
	if i%2 == 0 {
		spec.Collect = []Collect{{Path: "/tmp", Tar: io.Discard}}
	}
	s.run(ctx, spec)
}

// given are runs with files and IDs from the caller, and pipes that nobody reads to the end.
func (s *soak) given(ctx context.Context, i int) {
	spec := s.shell("echo hello; cat <&3 >/dev/null; exec sleep 0.00$(($$ % 9))")
	r, w, err := os.Pipe()
	if err != nil {
		s.check(err)
		return
	}
	defer r.Close()
	w.Close()
	spec.ExtraFiles = []*os.File{r, nil}
	c := Command(ctx, spec)
	out, err := c.StdoutPipe()
	s.check(err)
	in, err := c.StdinPipe()
	s.check(err)
	if err := c.Start(); err != nil {
		s.count(nil, err)
		return
	}
	if i%2 == 0 {
		_, _ = out.Read(make([]byte, 3)) // what a killed command has not written
	}
	if i%3 == 0 {
		in.Close()
	}
	s.count(c.Wait())
}

// collecting are runs out of which something is taken.
func (s *soak) collecting(ctx context.Context, i int) {
	var out bytes.Buffer
	spec := s.shell("echo x >/tmp/x; mkfifo /tmp/fifo; ln -s / /tmp/link; sleep 0.00$(($$ % 9))")
	spec.Collect = []Collect{{Path: "/tmp/x", File: &out}, {Path: "/no", Tar: &out}, {Path: "/tmp", Tar: &out}, {Path: "/tmp", FS: func(fsys fs.FS) error {
		_, err := fsys.Open("x") // and leaves it open
		return err
	}}}
	if i%4 == 0 {
		spec.Limits.WallTime = time.Duration(rand.IntN(6)) * time.Millisecond
	}
	if i%4 == 1 {
		spec.Args[0] = "/no/such/command"
	}
	s.run(ctx, spec)
}

// signaled are runs whose command, or PID 1, or everything is killed at a random moment.
func (s *soak) signaled(ctx context.Context, i int) {
	c := Command(ctx, s.shell("sleep 1000 & setsid sleep 1000 & trap '' TERM; wait; sleep 1000"))
	if err := c.Start(); err != nil {
		s.count(nil, err)
		return
	}
	time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond) // the moment is what is varied
	switch i % 5 {
	case 0:
		_ = c.Signal(syscall.SIGKILL)
	case 1:
		_ = c.process.Kill() // PID 1, as by somebody outside
	case 2:
		_ = c.SignalAll(syscall.SIGKILL)
	case 3:
		_ = c.SignalAll(syscall.SIGTERM)
		_ = c.Signal(syscall.SIGSEGV)
	case 4:
		_ = c.Kill()
	}
	s.count(c.Wait())
}

// terminal are runs with a terminal.
func (s *soak) terminal(ctx context.Context, i int) {
	var out bytes.Buffer
	spec := s.shell("stty size; exec cat")
	spec.Terminal, spec.Stdout, spec.Stdin = &Terminal{}, &out, strings.NewReader("typed\n")
	if i%3 == 0 {
		spec.Args[2], spec.Limits.OutputMax = "yes", 1000
	}
	c := Command(ctx, spec)
	if err := c.Start(); err != nil {
		s.count(nil, err)
		return
	}
	_ = c.Resize(uint16(i), 10) // it may have ended
	s.count(c.Wait())
}

// supervised are runs whose calls a Supervisor answers.
func (s *soak) supervised(ctx context.Context, i int) {
	spec := s.shell("mkdir /tmp/a /tmp/b; sleep 0.00$(($$ % 9))")
	spec.Seccomp = &seccomp.Policy{Default: seccomp.Allow, Rules: []seccomp.Rule{{Names: []string{"mkdir", "mkdirat"}, Action: seccomp.Notify}}}
	spec.Supervisor = func(ctx context.Context, n *Notification) Answer {
		_, _ = n.ReadMemory(make([]byte, 100), n.Call.Args[1]) // it may have been killed
		if i%3 == 0 {
			<-ctx.Done()
		}
		return Continue()
	}
	if i%3 == 0 {
		spec.Limits.WallTime = 5 * time.Millisecond
	}
	s.run(ctx, spec)
}

// ranged are runs with IDs of a range, where there is one.
func (s *soak) ranged(ctx context.Context, i int) {
	spec := s.shell("exit 0")
	if i%4 == 0 {
		r, err := idmap.Auto(10)
		if err == nil {
			defer func() { s.check(r.Close()) }()
			withIDs(r, nil)(&spec)
		}
	}
	s.run(ctx, spec)
}

// living are sandboxes that are made for a few commands.
func (s *soak) living(ctx context.Context, i int) {
	spec := s.shell("")
	spec.Args = nil
	box, err := New(ctx, spec)
	if err != nil {
		s.count(nil, err)
		return
	}
	defer func() { s.check(box.Close()) }()
	source := fstest.MapFS{"a/b": {Data: []byte("brought"), Mode: 0o644}}
	_ = box.CopyIn(ctx, "/tmp", source, CopyOptions{}) // it may have been killed
	s.count(box.Run(ctx, Spec{Args: []string{"sh", "-c", "cat /tmp/a/b >/tmp/c; sleep 1000 & exit 1", s.marker}}))
	_ = box.CopyOut(ctx, Collect{Path: "/tmp", Tar: io.Discard})
	c := box.Command(ctx, Spec{Args: []string{"sleep", "1000", s.marker}})
	if err := c.Start(); err != nil {
		s.count(nil, err)
		return
	}
	switch i % 3 {
	case 0:
		_ = c.Signal(syscall.SIGKILL)
	case 1:
		_ = box.keeper.process.Kill() // PID 1
	case 2:
		go func() { s.check(box.Close()) }() // Close waits for it
	}
	s.count(c.Wait())
}

// sharedRunner is a sandbox that lives, or a pool, that all goroutines use for a while.
type sharedRunner struct {
	runner
	users sync.WaitGroup
	left  int // how many more runs it is for
}

// with runs a command in a shared sandbox or pool, and replaces it when it is used up.
func (s *soak) with(ctx context.Context, kind string, open func() (runner, error), spec Spec) {
	s.mu.Lock()
	r := s.shared[kind]
	var used *sharedRunner
	if r == nil || r.left == 0 {
		fresh, err := open()
		if err != nil {
			s.mu.Unlock()
			s.count(nil, err)
			return
		}
		used, r = r, &sharedRunner{runner: fresh, left: 40}
		s.shared[kind] = r
	}
	r.left--
	r.users.Add(1)
	s.mu.Unlock()
	s.count(r.Run(ctx, spec))
	r.users.Done()
	if used != nil {
		if rand.IntN(2) == 0 {
			used.users.Wait() // else commands are in it still
		}
		s.check(used.Close())
	}
}

func (s *soak) quick(i int) Spec {
	spec := Spec{Args: []string{"sh", "-c", "exit 0", s.marker}}
	switch i % 6 {
	case 0:
		spec.Args = []string{"no-such-command"}
	case 1:
		spec.Args, spec.Limits.WallTime = []string{"sleep", "1000", s.marker}, time.Duration(rand.IntN(4000))*time.Microsecond
	case 2:
		spec.Args[2], spec.Stdout = "echo x; sleep 1000 & kill -KILL $$", &bytes.Buffer{}
	case 3:
		spec.Dir = "/no/such/directory"
	}
	return spec
}

func (s *soak) pooled(ctx context.Context, i int) {
	s.with(ctx, "pool", func() (runner, error) {
		spec := s.shell("")
		spec.Args = nil
		return NewPool(context.Background(), spec, PoolOptions{Size: 4})
	}, s.quick(i))
}

func (s *soak) joined(ctx context.Context, i int) {
	s.with(ctx, "living", func() (runner, error) {
		spec := s.shell("")
		spec.Args = nil
		return New(context.Background(), spec)
	}, s.quick(i))
}
