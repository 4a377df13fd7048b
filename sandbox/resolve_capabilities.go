//go:build linux

package sandbox

import (
	"errors"
	"strings"
)

// resolveCapabilities settles which capabilities the command keeps. One that the kernel does not have can be
// left out: whoever lacks a capability can do less.
func (r *resolved) resolveCapabilities(spec *Spec, host *Host) error {
	var faults []error
	for _, c := range spec.Capabilities {
		if last := host.facts.LastCap; int(c) > last {
			needs := "a kernel with " + capabilityName(int(c)) + ", whose highest is " + capabilityName(last)
			if err := r.leaveOut(spec, Capabilities, needs, "leave it out of Capabilities", true); err != nil {
				faults = append(faults, err)
			}
			continue
		}
		r.capabilities |= 1 << c
	}
	return errors.Join(faults...)
}

// keptCapabilities says by what means the command is held to its capabilities, and which these are.
func (r *resolved) keptCapabilities() string {
	if r.capabilities == 0 {
		return "capset and bounding set, all empty"
	}
	var names []string
	for n := range r.facts.LastCap + 1 {
		if r.keeps(n) {
			names = append(names, capabilityName(n))
		}
	}
	return "capset, bounding and ambient set, of its user namespace: " + strings.Join(names, " ")
}
