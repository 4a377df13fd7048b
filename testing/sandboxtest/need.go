package sandboxtest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// noSkipEnv names the requirements that the host is known to meet.
const noSkipEnv = "RINGFENCE_NO_SKIP"

// Requirement is something that a test needs of its host and that some hosts lack.
type Requirement struct {
	// Name stands in the line that a skip prints and in RINGFENCE_NO_SKIP: one word, no comma.
	Name string
	// Check returns nil if the host meets the requirement, else what is in the way.
	Check func() error
}

// Need skips the test if the host lacks one of reqs, or fails it if RINGFENCE_NO_SKIP says that the
// host has it.
func Need(t testing.TB, reqs ...Requirement) {
	t.Helper()
	for _, r := range reqs {
		if err := r.Check(); err != nil {
			Skip(t, r.Name, err.Error())
		}
	}
}

// Skip skips the test for want of a requirement, by its name, or fails it if RINGFENCE_NO_SKIP says
// that the host has it. It is for what only the test itself can find out; all else is a Requirement.
func Skip(t testing.TB, requirement, reason string) {
	t.Helper()
	if mayNotSkip(os.Getenv(noSkipEnv), requirement) {
		t.Fatalf("needs %s: %s (no skip: %s has it)", requirement, reason, noSkipEnv)
	}
	t.Skipf("SKIP %s: %s", requirement, reason)
}

func mayNotSkip(list, requirement string) bool {
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name == "all" || name == requirement {
			return true
		}
	}
	return false
}

// Program is the requirement that an executable program can be found in PATH. Its Name is the
// program's.
func Program(name string) Requirement {
	return Requirement{Name: name, Check: func() error {
		_, err := exec.LookPath(name)
		return err
	}}
}

// VirtualMachine is the requirement, named "vm", that other kernels can be started here. Hardware
// support is not part of it.
func VirtualMachine() Requirement {
	r := Program("qemu-system-x86_64")
	r.Name = "vm"
	return r
}

// Root is the requirement, named "root", that the test runs as root. A test whose name begins with
// TestRoot does not need it under Main.
func Root() Requirement {
	return Requirement{Name: "root", Check: func() error {
		if id := os.Geteuid(); id != 0 {
			return fmt.Errorf("the effective user ID is %d", id)
		}
		return nil
	}}
}
