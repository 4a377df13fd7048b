package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/ringfence-go/ringfence/sandbox"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }

// What the machines promise to tests that need cgroups: a user alone in a cgroup that is the user's own,
// with every controller that limits take.
func TestCgroupIsDelegatedWithEveryController(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.CgroupV2())
	data, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join("/sys/fs/cgroup", strings.TrimSpace(strings.TrimPrefix(string(data), "0::")))
	write := func(file, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(own, file), []byte(text), 0); err != nil {
			t.Error(err)
		}
	}
	pid := strconv.Itoa(os.Getpid())
	for _, dir := range []string{"self", "child"} {
		if err := os.Mkdir(filepath.Join(own, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// cgroups(7), "no internal processes": this one leaves before controllers are given on.
	write("self/cgroup.procs", pid)
	for _, controller := range []string{"cpu", "cpuset", "io", "memory", "pids"} {
		write("cgroup.subtree_control", "+"+controller)
	}
	write("child/memory.max", "1000000")
	write("child/pids.max", "10")
	write("child/cpu.max", "20000 100000")
	write("child/cpuset.cpus", "0")
	if disk := os.Getenv("RINGFENCE_VM_DISK"); disk != "" {
		write("child/io.max", device(t, disk)+" rbps=1000000")
	}
	for _, controller := range []string{"cpu", "cpuset", "io", "memory", "pids"} {
		write("cgroup.subtree_control", "-"+controller)
	}
	write("cgroup.procs", pid)
	for _, dir := range []string{"self", "child"} {
		if err := os.Remove(filepath.Join(own, dir)); err != nil {
			t.Error(err)
		}
	}
}

// device returns the numbers of the device that a directory lies on, as io.max takes them.
func device(t *testing.T, dir string) string {
	t.Helper()
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "written"), nil, 0o644); err != nil {
		t.Error(err)
	}
	dev := info.Sys().(*syscall.Stat_t).Dev
	major, minor := dev>>8&0xfff, dev&0xff // makedev(3), for the small numbers that disks have
	return strconv.FormatUint(major, 10) + ":" + strconv.FormatUint(minor, 10)
}

// On a host that cannot run sandboxes, refusesEnv holds what the error says, and remedyEnv what sandbox.Probe
// says to do; they are not set on others.
const (
	refusesEnv = "RINGFENCE_VM_REFUSES"
	remedyEnv  = "RINGFENCE_VM_REMEDY"
)

// A host that lacks what no sandbox can do without says what it is and what can be done, by an error of
// the type for it. Here it is the kernel's parameters that make such hosts.
func TestHostRunsSandboxesOrSaysWhyNot(t *testing.T) {
	refuses := os.Getenv(refusesEnv)
	if refuses == "" {
		sandboxtest.Need(t, sandboxtest.UserNamespaces())
	}
	out, err := sandbox.Output(t.Context(), sandbox.Spec{Args: []string{"echo", "hello"}})
	if refuses == "" {
		if err != nil || string(out) != "hello\n" {
			t.Errorf("%q, %v", out, err)
		}
		return
	}
	t.Logf("%q, %v", out, err)
	var unsupported *sandbox.UnsupportedError
	if !errors.As(err, &unsupported) || !errors.Is(err, errors.ErrUnsupported) {
		t.Fatalf("%T %v, want an UnsupportedError", err, err)
	}
	if !regexp.MustCompile(refuses).MatchString(err.Error()) {
		t.Errorf("%v, want %q", err, refuses)
	}
	host, err := sandbox.Probe(t.Context())
	if err != nil || !errors.Is(host.Err(), errors.ErrUnsupported) {
		t.Fatalf("%v: the zero Spec works", err)
	}
	for _, s := range host.Features() {
		if s.State == sandbox.Missing {
			t.Logf("%s: %v\n%s", s.Feature, s.Cause, s.Remedy)
			if !regexp.MustCompile(os.Getenv(remedyEnv)).MatchString(s.Remedy) {
				t.Errorf("%q, want %q", s.Remedy, os.Getenv(remedyEnv))
			}
		}
		if s.State == sandbox.Works {
			t.Errorf("%s works", s.Feature)
		}
	}
}
