package sandbox

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/sys/capability"

	"github.com/ringfence-go/ringfence/idmap"
	"github.com/ringfence-go/ringfence/internal/image"
	"github.com/ringfence-go/ringfence/internal/kernel"
	"github.com/ringfence-go/ringfence/internal/plan"
	"github.com/ringfence-go/ringfence/internal/probe"
	"github.com/ringfence-go/ringfence/seccomp"
)

// choices turns the bytes of a fuzzer into a Spec: each byte is one choice, and what has run out is zero.
type choices struct{ data []byte }

func (c *choices) n(most int) int {
	if len(c.data) == 0 {
		return 0
	}
	b := c.data[0]
	c.data = c.data[1:]
	return int(b) % most
}

func (c *choices) yes() bool { return c.n(2) == 1 }

// number is mostly small, and sometimes one of those at which types and limits end.
func (c *choices) number() int64 {
	switch k := c.n(8); k {
	case 0, 1, 2:
		return int64(c.n(256))
	case 3:
		return int64(c.n(256)) << 20
	default:
		return [...]int64{0, -1, math.MaxInt32 + 1, math.MaxInt64, math.MinInt64, 1<<32 - 1, 65534}[c.n(7)]
	}
}

// path is mostly one that may be: a hostile one is bytes of the fuzzer's.
func (c *choices) path() string {
	var b strings.Builder
	for range 1 + c.n(4) {
		switch k := c.n(16); k {
		case 0:
			n := min(c.n(64), len(c.data))
			b.WriteString("/" + string(c.data[:n]))
			c.data = c.data[n:]
		case 1:
			b.WriteString(strings.Repeat("/x", c.n(256)))
		case 2:
			b.WriteString([...]string{"/..", "/.", "//", "", "/" + strings.Repeat("n", 255), "/new\nline", "/%s", "/\xff"}[c.n(8)])
		default:
			b.WriteString([...]string{"/a", "/b", "/usr", "/etc", "/dev", "/proc", "/tmp", "/home/sandbox", "/sys", "/passwd", "/f.txt", "/null", "/self", "/run", "/var"}[k-1])
		}
	}
	return b.String()
}

func (c *choices) paths(most int) []string {
	var all []string
	for range c.n(most + 1) {
		all = append(all, c.path())
	}
	return all
}

func (c *choices) mount() Mount {
	m := Mount{Type: MountType(c.n(7)), Target: c.path(), Writable: c.yes()}
	if m.Type == Bind || c.n(16) == 1 {
		m.Source = c.path()
	}
	if m.Type == File {
		m.Data = bytes.Repeat([]byte("data"), c.n(256))
	}
	if m.Type == Tmpfs {
		m.Size = c.number()
	}
	if c.yes() {
		m.Mode = fs.FileMode(c.n(256)) | fs.FileMode(c.n(2))<<8
	}
	return m
}

// ids maps IDs of a caller that may map them, mostly.
func (c *choices) ids(uid int) idmap.Map {
	switch c.n(6) {
	case 0, 1:
		return nil
	case 2:
		return idmap.Map{{ContainerID: c.n(3) * 500, HostID: uid, Size: 1}}
	case 3:
		return idmap.Map{{ContainerID: 0, HostID: 100000, Size: 1 + c.n(200)}, {ContainerID: 1000, HostID: max(uid, 1), Size: 1}}
	}
	return idmap.Map{{ContainerID: int(c.number()), HostID: int(c.number()), Size: int(c.number())}}
}

func (c *choices) policy() (*seccomp.Policy, Supervisor) {
	switch c.n(6) {
	case 1:
		return &seccomp.Policy{Default: seccomp.Allow}, nil
	case 2:
		return seccomp.Strict(seccomp.StrictOptions{Exec: seccomp.LaunchWindow}), nil
	case 3:
		return &seccomp.Policy{Default: seccomp.Allow, Rules: []seccomp.Rule{{Names: []string{"mkdirat"}, Action: seccomp.Notify}}},
			func(context.Context, *Notification) Answer { return Answer{} }
	case 4:
		return &seccomp.Policy{Default: seccomp.KillProcess, Rules: []seccomp.Rule{{Names: []string{"read", "execve"}, Action: seccomp.Allow}}}, nil
	}
	return nil, nil
}

func (c *choices) limits() Limits {
	l := Limits{WallTime: time.Duration(c.number()), CPUTime: time.Duration(c.number())}
	switch c.n(4) {
	case 1:
		l.MemoryMax, l.PidsMax, l.CPUMax, l.CPUWeight = c.number(), c.number(), float64(c.number())/100, c.n(256)
	case 2:
		l.CPUSet, l.MemorySwapMax = [...]string{"0-3,8", "3-1", "x", ""}[c.n(4)], c.number()
	}
	for range c.n(4) {
		names := [...]string{"RLIMIT_AS", "RLIMIT_NOFILE", "RLIMIT_CORE", "RLIMIT_STACK", "RLIMIT_NONE"}
		l.Rlimits = append(l.Rlimits, Rlimit{Type: names[c.n(len(names))], Soft: uint64(c.number()), Hard: uint64(c.number())})
	}
	l.OutputMax = int64(c.n(3))
	return l
}

// command are the fields of one command.
func (c *choices) command() Spec {
	s := Spec{Args: append([]string{[...]string{"sh", "/bin/sh", "a/b"}[c.n(3)]}, c.paths(2)...)}
	if c.n(16) == 1 {
		s.Args = c.paths(2)
	}
	if c.yes() {
		s.Dir = c.path()
	}
	for i := range c.n(4) {
		s.Env = append(s.Env, fmt.Sprintf("%s=%s%d", [...]string{"A", "LANG", "B\x01"}[c.n(3)], secret, i))
	}
	if c.n(4) == 1 {
		s.Env = append(s.Env, "PATH="+strings.Join(c.paths(20), ":"))
	}
	s.StopSignal = syscall.Signal(c.n(4) * 15)
	return s
}

// spec returns a Spec, of which most are valid.
func (c *choices) spec(uid int) Spec {
	s := c.command()
	s.Hostname = [...]string{"", "box", "a b", strings.Repeat("h", 65)}[c.n(16)%4]
	switch c.n(5) {
	case 1:
		s.Root.Path, s.Root.Writable = c.path(), c.yes()
	case 2:
		s.Network = HostNetwork{}
	}
	for range c.n(6) {
		s.Mounts = append(s.Mounts, c.mount())
	}
	s.UIDs, s.GIDs = c.ids(uid), c.ids(uid)
	if c.n(4) == 1 {
		s.User = &User{UID: c.n(256), GID: c.n(256)}
		for range c.n(3) {
			s.User.Groups = append(s.User.Groups, c.n(256))
		}
	}
	for range c.n(3) {
		s.Capabilities = append(s.Capabilities, capability.Cap(c.n(45)))
	}
	s.Seccomp, s.Supervisor = c.policy()
	s.Limits = c.limits()
	for range c.n(3) {
		s.Collect = append(s.Collect, Collect{Path: c.path(), Tar: io.Discard, MaxFiles: c.n(3)})
	}
	if c.n(4) == 1 {
		s.Terminal = &Terminal{Rows: uint16(c.n(256))}
	}
	for range c.n(4) {
		s.ExtraFiles = append(s.ExtraFiles, [...]*os.File{nil, os.Stdin}[c.n(2)])
	}
	for range c.n(4) {
		s.AllowMissing = append(s.AllowMissing, features[c.n(len(features))])
	}
	return s
}

// host is one of several that do not exist.
func (c *choices) host() *Host {
	h := pretendHost([...]string{"amd64", "arm64"}[c.n(2)], [...]int{1000, 0}[c.n(2)])
	f := h.facts
	if c.n(4) == 1 {
		f.ProcCovered = []string{"/proc/sys"}
	}
	if c.n(8) == 1 {
		f.Namespaces = f.Namespaces[:c.n(len(f.Namespaces)+1)]
	}
	if c.n(8) == 1 {
		f.System, f.Config, f.Devices = []probe.Entry{{Path: "/usr", Dir: true}}, nil, nil
	}
	h.listened = c.n(4) == 1
	return h
}

// FuzzCompile takes Specs all the way that needs no machine. What validate lets through has a plan or an error
// that says why not, never one that breaks a rule of plan.Check; the same one each time, which has an image, and
// tells nobody what is in Env.
func FuzzCompile(f *testing.F) {
	f.Add([]byte{})
	random := rand.NewChaCha8([32]byte{1})
	for i := range 60 {
		data := make([]byte, 10*i)
		_, _ = random.Read(data) // it never fails
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := &choices{data: data}
		host := c.host()
		spec := c.spec(host.facts.Caller.UID)
		valid := validate(&spec) == nil
		p, err := Compile(spec, host)
		if !valid {
			var fault *SpecError
			if p != nil || !errors.As(err, &fault) {
				t.Fatalf("an invalid Spec: %v, %v", p, err)
			}
			return
		}
		if compiled(t, p, err) {
			again, err := Compile(spec, host)
			if err != nil || again.String() != p.String() {
				t.Errorf("another plan: %v", err)
			}
			if r, err := p.resolved.join(&Spec{Args: spec.Args, Env: spec.Env, Dir: spec.Dir, Terminal: spec.Terminal}, host); err == nil {
				p, err := checked(r, compileJoin(r))
				compiled(t, p, err)
			}
		}
		lives := spec
		lives.Args, lives.Terminal, lives.Collect, lives.ExtraFiles = nil, nil, nil, nil
		p, err = compileAt(&lives, host, placement{assumed: true}, resolveLiving)
		compiled(t, p, err)
		p, err = compilePooled(&lives, host, placement{assumed: true})
		if compiled(t, p, err) {
			toldOf(t, p, &spec)
		}
	})
}

// compiled checks what came of compiling, and reports whether there is a plan.
func compiled(t *testing.T, p *Plan, err error) bool {
	t.Helper()
	if err != nil {
		var op *OpError
		if p != nil || errors.As(err, &op) {
			t.Fatalf("the library finds fault with itself: %v", err)
		}
		return false
	}
	text := p.String()
	if strings.Contains(text, secret) {
		t.Errorf("the plan shows a value of the environment:\n%s", text)
	}
	build := image.Build
	if p.resolved.waits {
		build = func(p *plan.Program) ([]byte, error) { b, _, err := image.BuildWaiting(p); return b, err }
	}
	if p.program.Arch != kernel.Arch(runtime.GOARCH) {
		return true // for which this program has no interpreter
	}
	if b, err := build(p.program); err != nil || len(b) > 16<<20 {
		t.Errorf("an image of %d bytes, %v", len(b), err)
	}
	return true
}

// toldOf checks that what a waiting sandbox is told is what the Spec says.
func toldOf(t *testing.T, p *Plan, spec *Spec) {
	t.Helper()
	const addr = 0x10000000
	r := *p.resolved
	r.argv, r.env, r.dir = spec.Args, spec.Env, spec.Dir
	b, err := inboxMessage(&r, addr)
	if err != nil {
		return
	}
	if len(b) > inboxSize {
		t.Fatalf("%d bytes", len(b))
	}
	for _, list := range []struct {
		want []string
		at   int
	}{{spec.Args, inboxArgv}, {spec.Env, inboxEnv}} {
		for i, want := range append(list.want[:len(list.want):len(list.want)], "") {
			pointer := binary.LittleEndian.Uint64(b[list.at+8*i:])
			if i == len(list.want) {
				if pointer != 0 {
					t.Errorf("the list has no end")
				}
				break
			}
			if got, _, ok := bytes.Cut(b[pointer-addr:], []byte{0}); !ok || string(got) != want {
				t.Errorf("%q became %q", want, got)
			}
		}
	}
}
