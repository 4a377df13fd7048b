package sandbox

// rlimitResources are the resources of setrlimit(2) under the names of the OCI runtime
// specification. The numbers are those of the kernel's asm-generic/resource.h, which amd64, 386, arm
// and arm64 share; they are here so that a Spec can be checked on any system.
var rlimitResources = map[string]int{
	"RLIMIT_CPU":        0,
	"RLIMIT_FSIZE":      1,
	"RLIMIT_DATA":       2,
	"RLIMIT_STACK":      3,
	"RLIMIT_CORE":       4,
	"RLIMIT_RSS":        5,
	"RLIMIT_NPROC":      6,
	"RLIMIT_NOFILE":     7,
	"RLIMIT_MEMLOCK":    8,
	"RLIMIT_AS":         9,
	"RLIMIT_LOCKS":      10,
	"RLIMIT_SIGPENDING": 11,
	"RLIMIT_MSGQUEUE":   12,
	"RLIMIT_NICE":       13,
	"RLIMIT_RTPRIO":     14,
	"RLIMIT_RTTIME":     15,
}

// rlimitResource returns the number of a resource, and whether there is one of that name.
func rlimitResource(name string) (int, bool) {
	n, ok := rlimitResources[name]
	return n, ok
}
