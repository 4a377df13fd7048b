//go:build linux

package sandbox

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// What Landlock restricts, by its version. Nothing here touches the system: hosts are numbers in the tests.

// The versions at which Landlock came to restrict more (landlock(7), "ABI versions").
const (
	abiRefer    = 2 // links and renames between directories, which version 1 refuses
	abiTruncate = 3
	abiNet      = 4 // TCP ports
	abiIoctl    = 5 // of devices
	abiScope    = 6 // signals, and abstract sockets
)

const (
	landlockReads  = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	landlockWrites = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_SYM | unix.LANDLOCK_ACCESS_FS_REFER | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	landlockDevices = unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	// landlockFiles are the accesses that there are to what is no directory.
	landlockFiles = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE |
		unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
)

// landlockRuleset is all that a version of Landlock can refuse, but for ports where the network is the host's.
func landlockRuleset(abi int, hostNet bool) kernel.Ruleset {
	r := kernel.Ruleset{FS: landlockReads | landlockWrites | landlockDevices}
	if abi < abiRefer {
		r.FS &^= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi < abiTruncate {
		r.FS &^= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi < abiIoctl {
		r.FS &^= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if abi >= abiNet && !hostNet {
		r.Net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	if abi >= abiScope {
		r.Scoped = unix.LANDLOCK_SCOPE_SIGNAL | unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
	}
	return r
}

// landlockBy says what a ruleset holds, for Result.Enforced.
func landlockBy(abi int, r kernel.Ruleset) string {
	held := []string{"files"}
	if r.Net != 0 {
		held = append(held, "TCP ports")
	}
	if r.Scoped != 0 {
		held = append(held, "signals", "abstract sockets")
	}
	return fmt.Sprintf("landlock ABI %d: %s", abi, strings.Join(held, ", "))
}

// landlockError says why there is no Landlock, and what can be done.
func landlockError(errno unix.Errno) error {
	e := &UnsupportedError{Feature: Landlock, Needs: "a kernel with Landlock, 5.13 or later", Err: errno}
	switch errno {
	case unix.EOPNOTSUPP:
		e.Remedy = "boot the host with landlock in the list lsm= on the kernel's command line; /sys/kernel/security/lsm lists those that are on"
	case unix.ENOSYS:
		e.Remedy = "a kernel with CONFIG_SECURITY_LANDLOCK; in a container a seccomp profile that allows landlock_create_ruleset, landlock_add_rule and landlock_restrict_self"
	default:
		e.Remedy = "a seccomp profile that allows landlock_create_ruleset, landlock_add_rule and landlock_restrict_self"
	}
	return e
}
