package sandbox

import "slices"

// bareFeatures are what is lost with user namespaces.
var bareFeatures = []Feature{
	UserNamespace, MountNamespace, PIDNamespace, NetworkNamespace, IPCNamespace, UTSNamespace, CgroupNamespace, IDMap, NewProc,
}

// WithoutUserNamespaces returns what Spec.AllowMissing must list for a sandbox on a host that gives no user
// namespaces: UserNamespace, MountNamespace, PIDNamespace, NetworkNamespace (not with HostNetwork), IPCNamespace,
// UTSNamespace, CgroupNamespace, IDMap and NewProc. Where there are user namespaces nothing is lost by it.
//
// Without them Landlock (Linux 5.13) holds the command to the files of the base system that are the host's own, and
// to Mounts whose Source and Target are the same; a second filter, beside that of Spec.Seccomp, refuses what Landlock
// does not hold; and the command's processes are a process group, which the kernel kills as one with the command,
// with the caller, and at every limit. It is a weaker sandbox:
//
//   - The command has the caller's own ID on the host; for a caller that is root the one that would be mapped.
//   - That a path exists, and what kind, size and owner it has, can be seen of the whole host; so can who runs, if
//     not what. Host name, interfaces and IDs are the host's.
//   - There is no /tmp, no home directory, no /proc, and no /etc but its few files that tell nothing.
//   - Modes, owners, times and attributes of files stay as they are, in writable Mounts too, so that cp -p and ld
//     fail; sockets are refused, with HostNetwork all but those of the Internet; so are setsid, setpgid, inotify,
//     openat2, System V IPC and message queues.
//   - Before Landlock's ABI 6 (Linux 6.12) a process can signal none but its whole group, itself included:
//     abort(3) ends otherwise, and Go preempts no goroutine.
//   - A call for which the policy kills ends the process that makes it, by SIGSYS, and nothing else: the Result is not
//     Forbidden, and has SeccompNotify in Missing if Spec.Seccomp has such calls.
//   - A file that the command makes in a writable Mount is the caller's, and may be set-user-ID.
//
// What takes namespaces is an *UnsupportedError: Root, Hostname, UIDs, GIDs, User, Capabilities, Supervisor, Terminal,
// Collect, other Mounts, one with a link in its path, one that is read-only below a writable one, CPUTime without a cgroup, New and NewPool.
// Without Landlock there is no such sandbox.
func WithoutUserNamespaces() []Feature { return slices.Clone(bareFeatures) }
