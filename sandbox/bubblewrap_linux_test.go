package sandbox

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/ringfence-go/ringfence/idmap"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
	"github.com/ringfence-go/ringfence/testing/victim"
)

// A Spec in the words of bubblewrap, and what a command observes there.

// TestSandboxDiffersFromBubblewrapsAsIsKnown runs random Specs, as far as bubblewrap has words for them, in both.
// What differs must be in bubblewrapDifferences; RATIONALE.md says why.
func TestSandboxDiffersFromBubblewrapsAsIsKnown(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.Program("bwrap"))
	eachProperty(t, 20, func(t *testing.T, p *property) {
		p.reduceToBubblewrap()
		ours := p.observe(p.streams(), Run)
		spec := p.streams()
		theirs := p.observeInBubblewrap(&spec)
		if ours == nil || theirs == nil {
			return
		}
		differ(t, p.facts(ours), p.facts(theirs))
	})
}

// reduceToBubblewrap takes away what bubblewrap has no words for.
func (p *property) reduceToBubblewrap() {
	s := &p.spec
	s.Seccomp, s.Limits, s.Terminal, s.StopSignal = nil, Limits{}, nil, 0
	if s.User = nil; p.ofOthers() {
		s.UIDs, s.GIDs = nil, nil
	}
	for _, m := range []*idmap.Map{&s.UIDs, &s.GIDs} {
		if len(*m) > 0 && (*m)[0].ContainerID > 1<<31-1 {
			*m = nil // it takes no such number
		}
	}
	// It has no devpts but that of /dev.
	s.Mounts = slices.DeleteFunc(s.Mounts, func(m Mount) bool { return m.Type == Devpts })
	if p.stderr != "file" {
		p.stderr = "writer" // for what bubblewrap itself says
	}
	// It follows absolute links outside, where it makes mounts.
	for i := range s.Mounts {
		s.Mounts[i].Target = p.world.resolve(s.Root, s.Mounts[i].Target)
	}
	p.request.Paths = p.pathsToLookAt()
	s.Args = append([]string{victim.Path, "observe:" + p.request.String()}, s.Args[2:]...)
}

// bubblewrapArgs returns the arguments for a Spec, and files that take the numbers after its descriptors.
func (p *property) bubblewrapArgs(s *Spec) (args []string, files []*os.File) {
	add := func(a ...string) { args = append(args, a...) }
	uids, gids, _ := p.world.ids(s)
	add("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup", "--new-session", "--die-with-parent",
		"--uid", strconv.Itoa(uids[0].ContainerID), "--gid", strconv.Itoa(gids[0].ContainerID))
	if s.Network == nil {
		add("--unshare-net")
	}
	add("--hostname", s.Hostname)
	if s.Hostname == "" {
		args[len(args)-1] = "sandbox"
	}
	for _, c := range s.Capabilities {
		add("--cap-add", "CAP_"+upper(c.String()))
	}
	add("--clearenv")
	env := s.Env
	if env == nil {
		env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/home/sandbox", "LANG=C.UTF-8"}
		if s.Root.Path != "" {
			env[1] = "HOME=/"
		}
	}
	for _, e := range env {
		key, value, _ := bytes.Cut([]byte(e), []byte("="))
		add("--setenv", string(key), string(value))
	}
	switch {
	case s.Root.Path == "":
		args = append(args, bubblewrapBase()...)
	case s.Root.Writable:
		add("--bind", s.Root.Path, "/", "--proc", "/proc", "--dev", "/dev")
	default:
		add("--ro-bind", s.Root.Path, "/", "--proc", "/proc", "--dev", "/dev")
	}
	for i, m := range s.Mounts {
		switch m.Type {
		case Bind:
			add(map[bool]string{false: "--ro-bind", true: "--bind"}[m.Writable], m.Source, m.Target)
		case Tmpfs:
			size, mode := m.Size, octalMode(m.Mode)
			if size == 0 {
				size = DefaultTmpfsSize
			}
			if m.Mode == 0 {
				mode = "1777"
			}
			add("--perms", mode, "--size", strconv.FormatInt(size, 10), "--tmpfs", m.Target)
		case File:
			mode := m.Mode
			if mode == 0 {
				mode = 0o644
			}
			add("--perms", octalMode(mode), map[bool]string{false: "--ro-bind-data", true: "--bind-data"}[m.Writable],
				strconv.Itoa(3+len(s.ExtraFiles)+len(files)), m.Target)
			files = append(files, p.fileOf(fmt.Sprint("data", i), m.Data))
		case Proc:
			add("--proc", m.Target)
		case Mqueue:
			add("--mqueue", m.Target)
		}
	}
	if s.Root.Path == "" {
		add("--remount-ro", "/")
	}
	dir := s.Dir
	if dir == "" {
		dir = "/"
	}
	add("--chdir", p.world.resolve(s.Root, dir), "--")
	return append(args, s.Args...), files
}

func upper(s string) string { return string(bytes.ToUpper([]byte(s))) }

// bubblewrapBase is the base system.
func bubblewrapBase() []string {
	args := []string{"--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--tmpfs", "/tmp",
		"--perms", "0700", "--size", strconv.Itoa(DefaultTmpfsSize), "--tmpfs", "/home/sandbox", "--dir", "/run", "--dir", "/var", "--symlink", "/tmp", "/var/tmp", "--symlink", "/run", "/var/run"}
	for _, top := range []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"} {
		if target, err := os.Readlink(top); err == nil {
			args = append(args, "--symlink", target, top)
		} else if _, err := os.Stat(top); err == nil {
			args = append(args, "--ro-bind", top, top)
		}
	}
	for _, pattern := range []string{"/etc/alternatives", "/etc/java-*", "/etc/ld.so.*", "/etc/localtime", "/etc/ssl/certs"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			args = append(args, "--ro-bind", file, file)
		}
	}
	return args
}

func (p *property) fileOf(name string, data []byte) *os.File {
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		p.t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { f.Close() })
	return f
}

// observeInBubblewrap runs the command there; nil if it did not run.
func (p *property) observeInBubblewrap(s *Spec) *victim.Observation {
	args, data := p.bubblewrapArgs(s)
	cmd := exec.Command("bwrap", args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.Stdin, s.Stdout, s.Stderr
	cmd.ExtraFiles = append(slices.Clone(s.ExtraFiles), data...)
	err := cmd.Run()
	answer := p.answers()
	if err != nil {
		p.t.Errorf("bwrap: %v: %s%s\n%q", err, s.Stderr, answer, args[:len(args)-len(s.Args)])
		return nil
	}
	return p.parse(answer)
}
