package sandbox

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/sys/capability"
	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/idmap"
	"github.com/ringfence-go/ringfence/seccomp"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
	"github.com/ringfence-go/ringfence/testing/victim"
)

// newProperty makes the Spec of a seed. It is valid, and the host can give it.
func newProperty(t *testing.T, seed uint64) *property {
	p := &property{t: t, rand: rand.New(rand.NewPCG(seed, 0)), dir: t.TempDir()}
	p.makeSources()
	p.world = hostWorld(t)
	p.chooseIDs()
	p.chooseRoot()
	p.chooseMounts()
	p.chooseCommand()
	p.chooseStreams()
	s := &p.spec
	s.Hostname = pick(p, "", "", "box", "a.b-c_9", strings.Repeat("h", 64))
	if p.oneIn(4) {
		s.Network = HostNetwork{}
	}
	for _, c := range []capability.Cap{capability.CAP_CHOWN, capability.CAP_NET_RAW, capability.CAP_SYS_ADMIN, capability.CAP_SETUID, capability.CAP_BPF} {
		if p.oneIn(6) {
			s.Capabilities = append(s.Capabilities, c)
		}
	}
	allow := &seccomp.Policy{Default: seccomp.Allow}
	refuse := seccomp.Default()
	refuse.Rules = append([]seccomp.Rule{{Names: []string{"mkdir", "mkdirat"}, Action: seccomp.Errno(unix.EDOM)}}, refuse.Rules...)
	s.Seccomp = pick(p, nil, nil, nil, allow, refuse)
	p.chooseLimits()
	if p.oneIn(4) {
		s.StopSignal = unix.SIGTERM
	}
	p.request.Paths = p.pathsToLookAt()
	s.Args = []string{victim.Path, "observe:" + p.request.String()}
	for range p.rand.IntN(3) {
		s.Args = append(s.Args, pick(p, "", "a b", "-x", "ü\n", "$HOME", strings.Repeat("long", 1000)))
	}
	return p
}

// makeSources makes what is bound: everybody may write to it, so that whether it can be written is the Spec's.
func (p *property) makeSources() {
	must := func(err error) {
		if err != nil {
			p.t.Fatal(err)
		}
	}
	must(os.Chmod(p.dir, 0o755))
	for _, d := range []string{"a", "a/sub", "b", "b/sub", "b/sub/sub"} {
		must(os.Mkdir(filepath.Join(p.dir, d), 0o777))
		must(os.Chmod(filepath.Join(p.dir, d), 0o777))
	}
	for _, f := range []string{"a/f", "a/sub/f", "b/f", "b/sub/f", "text"} {
		must(os.WriteFile(filepath.Join(p.dir, f), []byte("contents of "+f), 0o666))
		must(os.Chmod(filepath.Join(p.dir, f), 0o666))
	}
	must(os.Symlink("a", filepath.Join(p.dir, "alias")))
}

func (p *property) chooseIDs() {
	s, w := &p.spec, &p.world
	switch {
	case w.uid == 0 && p.oneIn(2):
		m := pick(p, idmap.Map{{ContainerID: 0, HostID: 100000, Size: 65536}}, idmap.Map{{ContainerID: 7, HostID: 200000, Size: 10}},
			idmap.Map{{ContainerID: 0, HostID: 300000, Size: 5}, {ContainerID: 40, HostID: 400000, Size: 9}}, idmap.Single(0, 0))
		s.UIDs, s.GIDs = m, m
	case w.uid == 0:
	case p.oneIn(6) && sandboxtest.SubordinateIDs().Check() == nil:
		r := reserve(p.t, 50)
		s.UIDs, s.GIDs = r.UIDs, r.GIDs
	case p.coin():
		high := uint32(4000000000) // a variable: an int of 32 bits has no such constant
		n := pick(p, 0, 1000, w.uid, int(high))
		s.UIDs = idmap.Single(n, w.uid)
		if p.coin() {
			s.GIDs = idmap.Single(pick(p, 0, n, w.gid), w.gid)
		}
	}
	if s.UIDs == nil || p.coin() {
		return
	}
	last := func(m idmap.Map) int { r := m[len(m)-1]; return r.ContainerID + r.Size - 1 }
	gids := s.GIDs
	if gids == nil {
		gids = idmap.Single(w.gid, w.gid)
	}
	s.User = &User{UID: pick(p, s.UIDs[0].ContainerID, last(s.UIDs)), GID: pick(p, gids[0].ContainerID, last(gids))}
	if gids[0].Size > 1 && p.coin() {
		s.User.Groups = []int{gids[0].ContainerID + 1, last(gids)}
	}
}

// ofOthers reports whether the caller's files are somebody else's inside.
func (p *property) ofOthers() bool {
	return p.world.uid != 0 && len(p.spec.UIDs) > 0 && p.spec.UIDs[0].Size > 1
}

// parent is a directory in which mounts can be made.
type parent struct {
	path string
	own  bool     // it is the sandbox's, which can make anything in it
	made bool     // new names can be made in it
	dirs []string // what is there already
	file string
}

func (p *property) chooseRoot() {
	p.world.parents = []parent{{path: "/", own: true, made: true}, {path: "/tmp", own: true, made: true}, {path: "/home/sandbox", own: true, made: true}, {path: "/var/tmp", own: true, made: true},
		{path: "/var/run", own: true, made: true}, {path: "/etc", own: true, made: true}, {path: "/dev", own: true, made: true}, {path: "/", dirs: []string{"tmp"}}}
	if p.world.share == "/usr/share" {
		p.world.parents = append(p.world.parents, parent{path: "/usr", dirs: []string{"share"}})
	}
	if !p.oneIn(4) || p.ofOthers() {
		return
	}
	s := &p.spec
	s.Root = Root{Path: tree(p.t, "mnt/", "mnt/sub/", "etc/", "lnk -> mnt"), Writable: p.coin()}
	s.Mounts = []Mount{{Source: "/usr", Target: "/usr"}} // the observer's libraries
	for _, d := range []string{"", "mnt", "tmp"} {
		if err := os.Chmod(filepath.Join(s.Root.Path, d), 0o777); err != nil {
			p.t.Fatal(err)
		}
	}
	p.world.parents = []parent{{path: "/", made: s.Root.Writable, dirs: []string{"tmp", "mnt"}}, {path: "/mnt", made: s.Root.Writable, dirs: []string{"sub"}},
		{path: "/lnk", made: s.Root.Writable}, {path: "/dev", own: true, made: true}}
}

func (p *property) chooseMounts() {
	n := p.rand.IntN(8)
	victimAt := p.rand.IntN(n + 1)
	for i := range n + 1 {
		m := Mount{Source: p.world.self, Target: victim.Path}
		if i != victimAt {
			m = p.randomMount(i)
		}
		if m.Target == "" || slices.ContainsFunc(p.spec.Mounts, func(o Mount) bool { return o.Target == m.Target }) {
			continue
		}
		p.spec.Mounts = append(p.spec.Mounts, m)
		p.mounted(m)
	}
}

// mounted notes where the next mounts can be.
func (p *property) mounted(m Mount) {
	w := &p.world
	at := w.resolve(p.spec.Root, m.Target)
	w.parents = slices.DeleteFunc(w.parents, func(o parent) bool { return isBelow(w.resolve(p.spec.Root, o.path), at) })
	switch {
	case m.Type == Tmpfs:
		w.parents = append(w.parents, parent{path: m.Target, own: true, made: true})
	case m.Type == Bind && strings.HasPrefix(m.Source, p.dir) && !strings.HasSuffix(m.Source, "text"):
		w.parents = append(w.parents, parent{path: m.Target, made: m.Writable && !strings.Contains(m.Target, "\n"), dirs: []string{"sub"}, file: "f"})
	}
}

func (p *property) randomMount(i int) Mount {
	w := &p.world
	in := w.parents[p.rand.IntN(len(w.parents))]
	m := Mount{Type: pick(p, Bind, Bind, Bind, Tmpfs, Tmpfs, File, File, Proc, Devpts, Mqueue)}
	isFile := m.Type == File || m.Type == Bind && p.oneIn(3)
	switch {
	case in.made && p.coin() || !in.made && isFile && in.file == "":
		if !in.made {
			return Mount{}
		}
		name := pick(p, "d", "with space ", "ü\\", "x\n")
		m.Target = path.Join(in.path, fmt.Sprint(name, i))
		if in.own && p.oneIn(3) {
			m.Target = path.Join(in.path, fmt.Sprint("between", i), fmt.Sprint(name, i))
			p.world.parents = append(p.world.parents, parent{path: in.path, dirs: []string{fmt.Sprint("between", i)}})
		}
	case isFile && in.file != "":
		m.Target = path.Join(in.path, in.file)
	case !isFile && len(in.dirs) > 0:
		m.Target = path.Join(in.path, pick(p, in.dirs...))
	default:
		return Mount{}
	}
	switch m.Type {
	case Bind:
		m.Writable = p.coin()
		m.Source = p.source(isFile)
		if m.Source == "" {
			return Mount{}
		}
	case Tmpfs:
		m.Size = pick[int64](p, 0, 4096, 12345, 1<<20)
		m.Mode = pick(p, 0, 0o700, 0o755, 0o555, fs.ModeSticky|0o777)
	case File:
		m.Writable = p.coin()
		m.Mode = pick[fs.FileMode](p, 0, 0o600, 0o444, 0o755, 0o222)
		m.Data = []byte(pick(p, "", "contents", strings.Repeat("x", 5000)))
	}
	return m
}

func (p *property) source(file bool) string {
	if p.ofOthers() { // in a directory that nobody but the caller may enter
		return pick(p, "", p.world.share)
	}
	if file {
		return p.dir + "/text"
	}
	rel, err := filepath.Rel(p.world.cwd, p.dir+"/a")
	if err != nil {
		p.t.Fatal(err)
	}
	return pick(p, p.dir+"/a", p.dir+"/b", p.dir+"/b/sub", p.dir+"/alias", rel, "/dev", p.world.share)
}

func (p *property) chooseCommand() {
	s := &p.spec
	switch p.rand.IntN(4) {
	case 0:
		s.Env = []string{}
	case 1:
		s.Env = []string{"A=1", "B=", "A=2", "PATH=/nowhere", "C=x=y\nz", "B=ü"}
	case 2:
		for i := range p.rand.IntN(100) {
			s.Env = append(s.Env, fmt.Sprintf("V%d=%d", p.rand.IntN(50), i))
		}
	}
	s.Dir = pick(p, "", "/", "/tmp")
	if s.Root.Path == "" && p.coin() {
		s.Dir = pick(p, "/usr", "/var/tmp", "/home/sandbox", "/dev")
	}
	if p.coin() {
		for i, m := range s.Mounts {
			if m.Type == Tmpfs && m.Mode != 0o700 && p.world.visible(s, i) {
				s.Dir = m.Target
			}
		}
	}
	// Whom a mount of the Spec lets in there is its Mode's to say.
	for i, m := range s.Mounts {
		if isBelow(p.world.resolve(s.Root, s.Dir), p.world.resolve(s.Root, m.Target)) && (m.Type != Tmpfs || m.Target != s.Dir || !p.world.visible(s, i)) {
			s.Dir = "/"
			break
		}
	}
}

func (p *property) chooseStreams() {
	s := &p.spec
	p.stdin = pick(p, "nothing", "reader", "file")
	p.text = pick(p, "typed\n", "line\n")
	p.stdout, p.stderr = "answer", pick(p, "nothing", "file", "writer", "same")
	p.request = victim.Request{To: 1, Stdin: true}
	if p.oneIn(4) {
		s.Terminal = &Terminal{Rows: uint16(p.rand.IntN(100)), Cols: uint16(p.rand.IntN(300))}
		p.stderr = pick(p, "nothing", "same")
	}
	if p.oneIn(3) {
		for range p.rand.IntN(8) {
			p.extra = append(p.extra, p.coin())
		}
		if p.coin() && s.Terminal == nil {
			p.extra = append(p.extra, true)
			p.stdout, p.request.To = pick(p, "nothing", "file", "writer"), 2+len(p.extra)
		} else if len(p.extra) > 0 {
			p.extra = append(p.extra, false)
		}
	}
	if p.stdin == "nothing" {
		p.text = ""
	}
}

func (p *property) chooseLimits() {
	for _, l := range []struct {
		name string
		max  uint64
	}{{"RLIMIT_NOFILE", 512}, {"RLIMIT_FSIZE", 1 << 30}, {"RLIMIT_CPU", 100}, {"RLIMIT_CORE", 4096}, {"RLIMIT_MEMLOCK", 4096}, {"RLIMIT_STACK", 16 << 20},
		{"RLIMIT_NPROC", 500}, {"RLIMIT_SIGPENDING", 100}, {"RLIMIT_MSGQUEUE", 1000}, {"RLIMIT_RTTIME", 1 << 40}, {"RLIMIT_LOCKS", 77}, {"RLIMIT_RSS", 1 << 30}, {"RLIMIT_DATA", 1 << 40}} {
		if !p.oneIn(6) {
			continue
		}
		hard := min(l.max, p.world.limits[rlimitResources[l.name]][1])
		p.spec.Limits.Rlimits = append(p.spec.Limits.Rlimits, Rlimit{Type: l.name, Soft: hard - hard/uint64(2+p.rand.IntN(9)), Hard: hard})
	}
}
