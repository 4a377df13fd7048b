package probe

import "golang.org/x/sys/unix"

// landlock asks the kernel for its version of Landlock. ENOSYS is a kernel without, or a filter that hides it;
// EOPNOTSUPP one that was booted without (landlock_create_ruleset(2)).
func landlock() (int, unix.Errno) {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0, errno
	}
	return int(version), 0
}
