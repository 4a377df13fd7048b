//go:build linux

package plan

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// allCapabilities are those that every kernel has on which a sandbox works, as bits.
const allCapabilities = 1<<(unix.CAP_LAST_CAP+1) - 1

// bounds reports whether the bounding set is exactly kept. The kernel may know more capabilities than
// allCapabilities: they are dropped too, up to its last one.
func (c *checker) bounds(kept uint64) bool {
	known := c.bounding | kept
	return c.bounding&kept == 0 && known&allCapabilities == allCapabilities && known&(known+1) == 0
}

// capset is the last word on the effective, the permitted and the inheritable set of a process: for the
// command they are all what it keeps, for everybody else empty.
func (c *checker) capset() *Fault {
	header, data := c.bytes(0, 8), c.bytes(1, 24)
	if header == nil || data == nil || binary.LittleEndian.Uint32(header) != unix.LINUX_CAPABILITY_VERSION_3 || !zeros(header[4:]) {
		return c.fault(RuleCall, "capset of another process, or in another form")
	}
	want := uint64(0)
	if c.process == Command {
		want = c.p.Capabilities
	}
	for i := range 3 {
		low, high := binary.LittleEndian.Uint32(data[4*i:]), binary.LittleEndian.Uint32(data[12+4*i:])
		if set := uint64(low) | uint64(high)<<32; set != want {
			return c.fault(RuleCapabilities, "capset leaves %#x, want %#x", set, want)
		}
	}
	if c.process == Stub || c.startsCommand() && !c.has(didFork) {
		return c.fault(RuleCapabilities, "the command needs them to change its IDs")
	}
	c.done |= didCapset
	return nil
}

// keepsCapabilities holds a change of IDs to what it leaves of the capabilities (capabilities(7), "Effect
// of user ID changes on capabilities"): from ID 0 to others it clears the permitted set unless it is to be
// kept, and the ambient set in any case.
func (c *checker) keepsCapabilities(step facts) *Fault {
	switch {
	case c.process != Command || c.p.Capabilities == 0:
		return nil
	case c.has(didCapset) || c.ambient != 0:
		return c.fault(RuleCapabilities, "an ID changes after they are set")
	case step == didSetresuid && !c.has(didKeepCaps):
		return c.fault(RuleCapabilities, "the user changes, and they are not kept")
	}
	return nil
}

func (c *checker) prctl() *Fault {
	option, value := c.value(0), c.value(1)
	if option == unix.PR_CAP_AMBIENT {
		return c.raise()
	}
	if c.value(2) != 0 || c.value(3) != 0 || c.value(4) != 0 || c.process == Stub {
		return c.fault(RuleCall, "prctl(%d, %d, …)", option, value)
	}
	switch {
	case option == unix.PR_CAPBSET_DROP && value >= 0 && value < 64:
		// It takes CAP_SETPCAP.
		if c.has(didCapset) || c.process == Init && c.late >= 0 || c.has(didSetresuidAgain) {
			return c.fault(RuleBoundingSet, "the %s cannot change it any more", c.process)
		}
		c.bounding |= 1 << value
	case c.process == Witness:
		return c.fault(RuleWitness, "prctl(%d, %d)", option, value)
	case option == unix.PR_SET_NO_NEW_PRIVS && value == 1:
		c.done |= didNoNewPrivs
	case option == unix.PR_SET_DUMPABLE && value == 0:
		c.done |= didDumpable
		c.redumped = c.redumped || c.startsCommand() && c.has(didFork)
	case option == unix.PR_SET_KEEPCAPS && value == 1 && c.process == Command && c.p.Capabilities != 0 && !c.has(didCapset):
		c.done |= didKeepCaps // until the execution
	case option == unix.PR_SET_PDEATHSIG && value == int64(unix.SIGKILL) && c.process == Command && len(c.p.Joins) > 0:
		c.done |= didFollow
	default:
		return c.fault(RuleCall, "prctl(%d, %d)", option, value)
	}
	return nil
}

// raise adds to the command's ambient set, which takes the capability in its permitted and inheritable set.
func (c *checker) raise() *Fault {
	capability := c.value(2)
	switch {
	case c.value(1) != unix.PR_CAP_AMBIENT_RAISE || capability < 0 || capability > 63 || c.value(3) != 0 || c.value(4) != 0:
		return c.fault(RuleCall, "prctl(PR_CAP_AMBIENT, %d, %d, …)", c.value(1), capability)
	case c.process != Command || !c.has(didCapset) || c.p.Capabilities&(1<<capability) == 0:
		return c.fault(RuleCapabilities, "the %s raises capability %d", c.process, capability)
	}
	c.ambient |= 1 << capability
	return nil
}
