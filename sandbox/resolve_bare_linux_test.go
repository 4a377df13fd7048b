package sandbox

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/sys/capability"
	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/idmap"
	"github.com/ringfence-go/ringfence/internal/kernel"
	"github.com/ringfence-go/ringfence/seccomp"
)

func pretendBare(abi int) *Host {
	h := pretendHost("amd64", 1000)
	h.facts.Landlock = abi
	h.refusal = &UnsupportedError{Feature: UserNamespace, Needs: "a host that has some", Remedy: "ask for some", Err: unix.EPERM}
	return h
}

// Whatever a Spec asks for is there or an error that says why: a field that nobody has thought of here is found by
// validate_test.go, which counts them.
func TestWithoutNamespacesEveryFieldIsObeyedOrRefused(t *testing.T) {
	for name, c := range map[string]struct {
		feature Feature // "" is that it works
		change  func(*Spec)
	}{
		"nothing":      {"", func(*Spec) {}},
		"bind":         {"", bind("/srv/in", true)},
		"host network": {"", func(s *Spec) { s.Network = HostNetwork{} }},
		"policy":       {"", func(s *Spec) { s.Seccomp = seccomp.Default() }},
		"limits":       {"", func(s *Spec) { s.Limits = Limits{WallTime: time.Second, OutputMax: 1}; s.Stdout = &bytes.Buffer{} }},
		"memory":       {"", func(s *Spec) { s.Limits.MemoryMax = 1 << 30; s.AllowMissing = append(s.AllowMissing, MemoryLimit) }},
		"capabilities left": {"", func(s *Spec) {
			s.Capabilities = []capability.Cap{0}
			s.AllowMissing = append(s.AllowMissing, Capabilities)
		}},
		"root":         {MountNamespace, func(s *Spec) { s.Root.Path = "/srv/tree" }},
		"layers":       {MountNamespace, func(s *Spec) { s.Root.Layers = []string{"/srv"} }},
		"hostname":     {UTSNamespace, func(s *Spec) { s.Hostname = "box" }},
		"ids":          {IDMap, func(s *Spec) { s.UIDs = idmap.Single(0, 1000) }},
		"groups":       {IDMap, func(s *Spec) { s.GIDs = idmap.Single(0, 1000) }},
		"user":         {IDMap, func(s *Spec) { s.User = &User{UID: 1000, GID: 1000} }},
		"capabilities": {Capabilities, func(s *Spec) { s.Capabilities = []capability.Cap{0} }},
		"terminal":     {TerminalPTY, func(s *Spec) { s.Terminal = &Terminal{} }},
		"supervisor": {SeccompNotify, func(s *Spec) {
			s.Seccomp = &seccomp.Policy{Default: seccomp.Allow, Rules: []seccomp.Rule{{Names: []string{"mkdir"}, Action: seccomp.Notify}}}
			s.Supervisor = func(context.Context, *Notification) Answer { return Answer{} }
		}},
		"collect":          {MountNamespace, func(s *Spec) { s.Collect = []Collect{{Path: "/tmp", FS: func(fs.FS) error { return nil }}} }},
		"tmpfs":            {MountNamespace, func(s *Spec) { s.Mounts = []Mount{{Type: Tmpfs, Target: "/tmp"}} }},
		"file":             {MountNamespace, func(s *Spec) { s.Mounts = []Mount{{Type: File, Target: "/etc/x"}} }},
		"elsewhere":        {MountNamespace, func(s *Spec) { s.Mounts = []Mount{{Source: "/srv/in", Target: "/in"}} }},
		"relative":         {MountNamespace, func(s *Spec) { s.Mounts = []Mount{{Source: "in", Target: "/in"}} }},
		"devices":          {MountNamespace, bind("/dev/shm", true)},
		"processes":        {MountNamespace, bind("/proc", false)},
		"below a writable": {MountNamespace, func(s *Spec) { bind("/srv", true)(s); bind("/srv/in", false)(s) }},
		"CPU time":         {CPUTimeLimit, func(s *Spec) { s.Limits.CPUTime = time.Second }},
	} {
		t.Run(name, func(t *testing.T) {
			spec := Spec{Args: []string{"true"}, AllowMissing: WithoutUserNamespaces()}
			c.change(&spec)
			if err := validate(&spec); err != nil {
				t.Fatal(err)
			}
			// Without a cgroup, as Run has none here; Compile would take one for granted.
			p, err := compileAt(&spec, pretendBare(6), placement{}, resolveRunning)
			if c.feature == "" {
				if err != nil || p.resolved.bare == nil {
					t.Fatalf("%v", err)
				}
				return
			}
			var u *UnsupportedError
			if !errors.As(err, &u) || u.Feature != c.feature || u.Remedy == "" {
				t.Errorf("%v", err)
			}
		})
	}
	for name, mode := range map[string]resolveMode{"New": resolveLiving, "NewPool": resolveWaiting} {
		_, err := compileAt(&Spec{AllowMissing: WithoutUserNamespaces()}, pretendBare(6), placement{}, mode)
		if u := (*UnsupportedError)(nil); !errors.As(err, &u) || u.Feature != UserNamespace {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Nobody is told of a call that kills, so that it cannot end all. Seen to fail when nothing said so.
func TestWithoutNamespacesTheResultSaysThatNoCallEndsAll(t *testing.T) {
	killing := seccomp.Default()
	killing.Rules = append([]seccomp.Rule{{Names: []string{"getpriority"}, Action: seccomp.KillProcess}}, killing.Rules...)
	for policy, want := range map[*seccomp.Policy]bool{nil: false, seccomp.Default(): false, killing: true} {
		p, err := Compile(Spec{Args: []string{"true"}, Seccomp: policy, AllowMissing: WithoutUserNamespaces()}, pretendBare(6))
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(p.resolved.missing, SeccompNotify) != want {
			t.Errorf("missing %v, want %v", p.resolved.missing, want)
		}
	}
}

func TestWithoutLandlockThereIsAlwaysAnError(t *testing.T) {
	for errno, remedy := range map[unix.Errno]string{unix.EOPNOTSUPP: "lsm=", unix.ENOSYS: "CONFIG_SECURITY_LANDLOCK", unix.EPERM: "seccomp profile"} {
		host := pretendBare(0)
		host.facts.LandlockErrno = errno
		_, err := Compile(Spec{Args: []string{"true"}, AllowMissing: append(WithoutUserNamespaces(), Landlock)}, host)
		var u *UnsupportedError
		if !errors.As(err, &u) || u.Feature != Landlock || !strings.Contains(u.Remedy, remedy) || !errors.Is(err, errno) {
			t.Errorf("%v: %v", errno, err)
		}
	}
}

// A Spec that says nothing of it gets the plan that the kernel will refuse, and never a weaker one.
func TestNobodyGoesWithoutNamespacesUnasked(t *testing.T) {
	for _, f := range append([]Feature{""}, bareFeatures[1:]...) {
		spec := Spec{Args: []string{"true"}}
		if f != "" {
			spec.AllowMissing = []Feature{f}
		}
		if p, err := Compile(spec, pretendBare(7)); err == nil && p.resolved.bare != nil {
			t.Errorf("with %q in AllowMissing", f)
		}
	}
}

func TestLandlockRuleset(t *testing.T) {
	const first, all = 1<<13 - 1, 1<<16 - 1
	for _, c := range []struct {
		abi     int
		hostNet bool
		want    kernel.Ruleset
	}{
		{1, false, kernel.Ruleset{FS: first}},
		{2, false, kernel.Ruleset{FS: 1<<14 - 1}},
		{3, false, kernel.Ruleset{FS: 1<<15 - 1}},
		{4, false, kernel.Ruleset{FS: 1<<15 - 1, Net: 3}},
		{4, true, kernel.Ruleset{FS: 1<<15 - 1}},
		{5, false, kernel.Ruleset{FS: all, Net: 3}},
		{6, false, kernel.Ruleset{FS: all, Net: 3, Scoped: 3}},
		{6, true, kernel.Ruleset{FS: all, Scoped: 3}},
		{99, false, kernel.Ruleset{FS: all, Net: 3, Scoped: 3}},
	} {
		if got := landlockRuleset(c.abi, c.hostNet); got != c.want {
			t.Errorf("ABI %d, host network %v: %+v, want %+v", c.abi, c.hostNet, got, c.want)
		}
	}
}
