package sandbox

// Feature names a protection or a facility that a host may be unable to give.
type Feature string

// The features, as Result.Enforced, Result.Missing, Spec.AllowMissing and UnsupportedError name them.
const (
	// UserNamespace is what all the others rest on. Where a host gives none, a Spec goes on without if AllowMissing
	// lists it and what is lost with it: see WithoutUserNamespaces.
	UserNamespace    Feature = "user namespace"
	MountNamespace   Feature = "mount namespace"
	PIDNamespace     Feature = "pid namespace"
	NetworkNamespace Feature = "network namespace"
	IPCNamespace     Feature = "ipc namespace"
	UTSNamespace     Feature = "uts namespace"
	CgroupNamespace  Feature = "cgroup namespace"

	IDMap Feature = "id map"
	// IDRanges is more IDs than the caller's own. Host.Features alone names it: the errors of a Spec that maps
	// some name IDMap.
	IDRanges Feature = "id ranges"
	NewProc  Feature = "new /proc"
	// InotifyLimit is a share of what the caller may have of inotify(7), so that a sandbox leaves the rest to others.
	// Where a host refuses to set it, Result.Missing lists it without AllowMissing. Without NewProc there is none.
	InotifyLimit  Feature = "inotify limit"
	NoNewPrivs    Feature = "no_new_privs"
	Capabilities  Feature = "capabilities"
	SeccompBPF    Feature = "seccomp filter"
	SeccompNotify Feature = "seccomp notification"
	LayeredRoot   Feature = "layered root"
	OverlayMount  Feature = "overlay mount"
	TerminalPTY   Feature = "terminal"
	MemfdExec     Feature = "execution of the set-up image"

	// Landlock holds the files, and ProcessGroup the processes, of a sandbox without user namespaces, which is
	// made only where AllowMissing lists UserNamespace.
	Landlock     Feature = "landlock"
	ProcessGroup Feature = "process group"

	WallTimeLimit Feature = "wall time limit"
	CPUTimeLimit  Feature = "cpu time limit"
	OutputLimit   Feature = "output limit"
	Rlimits       Feature = "resource limits"
	MemoryLimit   Feature = "memory limit"
	PidsLimit     Feature = "pids limit"
	CPULimit      Feature = "cpu limit"
	CPUWeight     Feature = "cpu weight"
	CPUSet        Feature = "cpu set"
	IOLimits      Feature = "io limits"
	HugetlbLimit  Feature = "huge page limit"
	Cgroup        Feature = "cgroup"
)

// features are all of them, in the order of Host.Features.
var features = [...]Feature{
	UserNamespace, MountNamespace, PIDNamespace, NetworkNamespace, IPCNamespace, UTSNamespace, CgroupNamespace,
	IDMap, IDRanges, NewProc, InotifyLimit, NoNewPrivs, Capabilities, SeccompBPF, SeccompNotify, LayeredRoot, OverlayMount, TerminalPTY, MemfdExec, Landlock, ProcessGroup,
	WallTimeLimit, CPUTimeLimit, OutputLimit, Rlimits,
	Cgroup, MemoryLimit, PidsLimit, CPULimit, CPUWeight, CPUSet, IOLimits, HugetlbLimit,
}
