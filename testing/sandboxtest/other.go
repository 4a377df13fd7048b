//go:build !linux

package sandboxtest

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"
)

// Main runs the tests and exits. On this system it does nothing more.
func Main(m *testing.M, after ...func()) { os.Exit(CheckLeaks(m, after...)) }

func onlyLinux(name string) Requirement {
	return Requirement{Name: name, Check: func() error {
		return fmt.Errorf("%s is not Linux: %w", runtime.GOOS, errors.ErrUnsupported)
	}}
}

// UserNamespaces is a requirement, named "user-namespaces", that only Linux meets.
func UserNamespaces() Requirement { return onlyLinux("user-namespaces") }

// CgroupV2 is a requirement, named "cgroup-v2", that only Linux meets.
func CgroupV2() Requirement { return onlyLinux("cgroup-v2") }

// UnifiedCgroups is a requirement, named "cgroup-v2", that only Linux meets.
func UnifiedCgroups() Requirement { return onlyLinux("cgroup-v2") }

// UserManager is a requirement, named "user-manager", that only Linux meets.
func UserManager() Requirement { return onlyLinux("user-manager") }

// SubordinateIDs is a requirement, named "subordinate-ids", that only Linux meets.
func SubordinateIDs() Requirement { return onlyLinux("subordinate-ids") }

// osThings are the things of the system that a test can leave behind; none are known here.
func osThings() map[string]string { return nil }
