package main

import (
	"errors"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// TestRootCgroupByHand has root's shell do what the README says, as it stands there, and start this program as
// the user 1000.
func TestRootCgroupByHand(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.Root(), sandboxtest.UnifiedCgroups())
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, ok := strings.Cut(string(readme), "\nBy hand, as root, for the user 1000")
	_, block, _ = strings.Cut(block, "\n\n")
	var lines []string
	for line := range strings.Lines(block) {
		code, isCode := strings.CutPrefix(line, "    ")
		if !isCode {
			break
		}
		lines = append(lines, strings.TrimSuffix(code, "\n"))
	}
	if !ok || len(lines) < 4 || !strings.Contains(block, "echo $$ >") {
		t.Fatalf("the README has no such lines: %q", lines)
	}
	who, err := user.LookupId("1000")
	if err != nil {
		sandboxtest.Skip(t, "cgroup-v2", err.Error()) // a machine for tests has one
	}
	// Where that user can look.
	dir, err := os.MkdirTemp("/tmp", "by-hand")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err == nil {
		err = errors.Join(os.Chmod(dir, 0o755), os.Symlink(self, filepath.Join(dir, "run")))
	}
	if err != nil {
		t.Fatal(err)
	}
	const judge = "/sys/fs/cgroup/judge"
	defer removeCgroups(t, judge)
	// The shell goes on: what it starts has company.
	const command = `su -s /bin/sh "$0" -c './run --memory 64M --pids 9 --cpus 0.5 cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max' && echo well`
	cmd := exec.Command("sh", "-e", "-c", strings.Join(append(lines, "cd '"+dir+"'", command), "\n"), who.Username)
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "67108864\n50000 100000\nwell\n" {
		t.Errorf("%v\n%s", err, out)
	}
	left, err := filepath.Glob(judge + "/ringfence-*")
	if err != nil || len(left) > 0 {
		t.Errorf("left: %q, %v", left, err)
	}
}

// removeCgroups removes a cgroup with all below it, once the last process has ended.
func removeCgroups(t *testing.T, dir string) {
	t.Helper()
	below, err := filepath.Glob(dir + "/*/cgroup.procs")
	if err != nil {
		t.Error(err)
	}
	for _, name := range append(below, dir+"/cgroup.procs") {
		name = filepath.Dir(name)
		for deadline := time.Now().Add(sandboxtest.Slow(time.Second)); ; time.Sleep(time.Millisecond) {
			err := os.Remove(name)
			if err == nil || errors.Is(err, os.ErrNotExist) {
				break
			}
			if !errors.Is(err, syscall.EBUSY) || time.Now().After(deadline) {
				t.Error(err)
				break
			}
		}
	}
}
