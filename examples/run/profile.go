package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/ringfence-go/ringfence/seccomp"
)

// readProfile reads a profile in the JSON form of OCI and Docker, for this machine and a command without
// capabilities.
func readProfile(file string) (*seccomp.Policy, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	profile, err := seccomp.ReadOCI(data, seccomp.OCIHost{Arch: runtime.GOARCH, Kernel: kernelRelease()})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return profile.Policy, nil
}

// kernelRelease returns the version of the kernel; "" is not known, and then a profile that asks is an
// error.
func kernelRelease() string {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(release))
}

// writeProfile writes what was learned.
func writeProfile(f *os.File, policy *seccomp.Policy) error {
	text, err := (&seccomp.Profile{Policy: policy, Archs: []string{runtime.GOARCH}}).WriteOCI()
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return err
}
