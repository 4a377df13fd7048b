package sandbox

import (
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/moby/sys/capability"

	"github.com/ringfence-go/ringfence/idmap"
	"github.com/ringfence-go/ringfence/seccomp"
)

// Spec says what to run and what it may reach. The zero value of every field is the safe one: a Spec
// with nothing but Args runs the command in new namespaces of every kind, with no network but
// loopback, no capabilities, the default seccomp filter and the base system as its root.
//
// A Spec is only read. It may be used again, also at the same time, as long as its readers and
// writers may.
type Spec struct {
	// Args is the command and its arguments. Args[0] is looked up in the PATH of Env, inside the
	// sandbox; with a slash in it, it is a path inside the sandbox.
	Args []string

	// Env is the whole environment as "key=value"; of several values of a key the last one counts.
	// nil is PATH, HOME and LANG alone; empty but not nil is an empty environment. The caller's
	// environment is never inherited.
	Env []string

	// Dir is the working directory inside; "" is "/". It must exist inside, and may not be below
	// /proc, where a link could lead out.
	Dir string

	// Stdin is what the command reads; nil is the null device. An *os.File is handed to the command
	// itself, which can open it again through /proc/self/fd, to write too, if the file's permissions
	// let the caller; any other reader is copied through a pipe.
	Stdin io.Reader

	// Stdout and Stderr take what the command writes; nil is the null device. An *os.File is handed
	// to the command itself, as for Stdin; any other writer is fed from a pipe. If both are the same (and can be
	// compared with ==), they share one pipe and at most one goroutine at a time calls Write.
	Stdout, Stderr io.Writer

	// ExtraFiles are open files handed to the command: entry i becomes descriptor 3+i, a nil entry
	// stays closed. Each is a hole in the wall: through a directory's descriptor the command reaches
	// the host's tree.
	ExtraFiles []*os.File

	// Terminal gives the command a controlling terminal, a new one of the sandbox's own; nil is none. The
	// terminal is its standard input, output and error: Stdin is typed at it, and what it shows is copied to
	// Stdout, files too; Stderr must be nil or the same as Stdout. The end of Stdin, or a nil one, is typed as
	// Control-D is, for each who reads. The end of the output is when nobody in the sandbox has the terminal open any more.
	Terminal *Terminal

	// Root is the file system that the command sees as /. Zero is the base system: see the package
	// documentation.
	Root Root

	// Mounts are made in order, after the root.
	Mounts []Mount

	// Hostname is the name of the machine inside, at most 64 bytes; "" is "sandbox".
	Hostname string

	// Network is the network inside; nil is a new network namespace with its loopback interface up
	// and nothing else.
	Network Network

	// UIDs and GIDs say which IDs exist inside. nil is the caller's own ID, alone, under its own
	// number; for a caller that is root it is 1000 inside and, outside, the first subordinate ID of
	// root or else 65534. Host ID 0 is mapped only if it is written here.
	//
	// A caller that is not root may map its own ID, alone or with others, and its subordinate IDs, of which
	// idmap.Auto reserves some for one sandbox. For any but its own ID alone newuidmap(1) and newgidmap(1)
	// write the maps; where they cannot, it is an *UnsupportedError of the feature IDMap with the cause and
	// the remedy. Without its own ID the caller's files are nobody's inside: Mounts show what others may see.
	UIDs, GIDs idmap.Map

	// User is whom the command runs as, by IDs inside; nil is the first ID of UIDs and of GIDs.
	User *User

	// Capabilities are the ones that the command keeps, in its own user namespace; nil is none. They are its
	// bounding, permitted, effective, inheritable and ambient set, whoever User is, and give power over what
	// the sandbox owns: its IDs, its network, its files in memory. Over the host they give none, and what
	// Seccomp refuses stays refused: with CAP_SYS_ADMIN the default policy still lets nobody mount.
	//
	// One that the kernel does not know is an *UnsupportedError; with Capabilities in AllowMissing it is
	// left out.
	Capabilities []capability.Cap

	// Seccomp is the filter for system calls; nil is seccomp.Default(). There is no value for "no
	// filter": a policy that allows everything says so itself.
	//
	// A call for which it kills, whatever process or thread of the sandbox makes it, ends everything in
	// the sandbox: the Result is Forbidden and names the call. Without user namespaces it ends the process alone
	// (see WithoutUserNamespaces).
	Seccomp *seccomp.Policy

	// Supervisor answers the calls for which Seccomp says seccomp.Notify. It must be set if there are
	// any, and only then.
	Supervisor Supervisor

	// Collect is what is taken out of the sandbox when the command and everything else in it has ended, be it
	// by a limit or the context, whose end does not cut it short: MaxBytes and MaxFiles bound it. What cannot be
	// had is an error beside the Result (*CollectError, joined); the rest is taken.
	Collect []Collect

	// StopSignal asks the command to end when the context of Run or Command ends: it gets this signal, and all
	// is killed after StopTimeout, at a limit, or when the command has ended. Then the Result is Canceled, with
	// the ExitCode or the Signal with which it ended, and the error is that of the context. Zero kills at once.
	StopSignal syscall.Signal

	// StopTimeout is how long the command may take after StopSignal; zero is DefaultStopTimeout.
	StopTimeout time.Duration

	// Limits bounds what the command uses; zero is no limit but the small ones of the base system.
	Limits Limits

	// Cgroup says where the sandbox has its cgroup, if a limit needs one; zero is wherever one can be had.
	Cgroup CgroupOptions

	// AllowMissing lists what may be left out where the host cannot give it; the Result tells what
	// was. Whatever is not listed fails closed, with an *UnsupportedError. What stands for what is missing:
	//
	//   - NetworkNamespace: the filter refuses every socket but connected pairs, whatever Seccomp says.
	//   - IPCNamespace: the filter refuses System V IPC and POSIX message queues.
	//   - UTSNamespace, CgroupNamespace: nothing. The command sees the host's name, and the path of its cgroup.
	//   - NewProc: /proc is empty, and with UserNamespace missing there is none. The caller's, which tells of every
	//     process outside, is never handed in.
	//   - MemoryLimit, PidsLimit: resource limits, as Limits says.
	//   - UserNamespace, with all of WithoutUserNamespaces: Landlock, a second filter and a process group.
	AllowMissing []Feature
}

// DefaultStopTimeout is how long a command may take to end after its StopSignal, if the Spec does not say.
const DefaultStopTimeout = 10 * time.Second

// Root is the file system that the command sees as /. At most one of Path and Layers is set.
type Root struct {
	// Path is an existing directory of the host to use as /, submounts included. Who has made the tree does
	// not matter, nor who changes it meanwhile: no link in it leads out. The way to it is the caller's, as of a
	// Source. "" with no Layers is the base system. The tree is read-only unless Writable, and then must have the
	// directories /proc and /dev, which new ones cover.
	Path string

	// Layers are the lower layers of an overlay, top first. Not supported by this version: a layer
	// is an *UnsupportedError.
	Layers []string

	// Upper is the directory where changes to Layers are kept; "" throws them away.
	Upper string

	// Writable lets the command write to Path.
	Writable bool
}

// MountType is the kind of a Mount.
type MountType int

// The kinds of mounts.
const (
	Bind    MountType = iota // Source, a file or directory of the host, with its submounts
	Tmpfs                    // an empty file system in memory, of at most Size bytes
	File                     // a file with the contents Data
	Overlay                  // not supported by this version
	Proc                     // a process file system of the sandbox's own PID namespace, as /proc is
	Devpts                   // pseudo terminals of the sandbox's own
	Mqueue                   // POSIX message queues of the sandbox's own IPC namespace
)

// Mount puts something at Target inside the sandbox. Every mount is nosuid, and nodev but for Devpts, whose
// terminals are devices.
type Mount struct {
	// Source is a path of the host; Bind only. A relative one starts at the caller's working
	// directory. It must exist. Symbolic links in it are followed, on the host, by the set-up: what
	// /proc/self leads to is the set-up's, and not the caller's.
	//
	// The path is the caller's: whoever else may write to a directory on the way, such as what a sandbox
	// may write, chooses what is bound. Directories of others belong into Root.Path, or into a Source as a whole.
	Source string

	// Target is an absolute path inside, without "..". What is missing of it is created where the
	// file system below is the sandbox's own or writable. Symbolic links in it are followed, inside.
	Target string

	// Type is the kind of the mount; zero is Bind.
	Type MountType

	// Writable lets the command write. Zero is read-only: for Bind with all its submounts, for File
	// the file. A Tmpfs is there to be written and needs no Writable; what it holds is thrown away. A Proc that
	// is Writable is whole: nothing of it is hidden or read-only, but for what its owners keep to themselves; it is
	// refused where UIDs map the host's root, to whom the host's sysctls belong. On /proc it is what sandboxes
	// inside need, to whom the kernel gives no /proc otherwise.
	Writable bool

	// Data is what a File holds. A Writable File can be changed inside; Data stays as it is.
	Data []byte

	// Size is the room in a Tmpfs, in bytes; zero is DefaultTmpfsSize.
	Size int64

	// Mode holds the permission bits of a File, zero is 0644, or of the top of a Tmpfs, zero is 1777.
	// Of the other bits only fs.ModeSticky may be set, and only for a Tmpfs. A Tmpfs belongs to User, a
	// File to the first ID of UIDs and of GIDs.
	Mode fs.FileMode
}

// DefaultTmpfsSize is the room in a tmpfs of the sandbox whose size the Spec does not give, in bytes:
// each of /tmp and the home directory of the base system, and every Mount of type Tmpfs.
const DefaultTmpfsSize = 256 << 20

// Network is the network of a sandbox: nil in a Spec for one of its own, or HostNetwork{}.
type Network interface {
	// network is unexported so that no value can promise what the sandbox does not do.
	network()
}

// HostNetwork shares the caller's network namespace: its interfaces, its loopback, its abstract
// sockets. The command reaches whatever the caller reaches.
type HostNetwork struct{}

func (HostNetwork) network() {}

// User is whom a command runs as, by IDs inside the sandbox.
type User struct {
	UID, GID int
	// Groups are supplementary groups; those of the caller are dropped. None can be set, nor the caller's be
	// dropped, where GIDs maps the caller's own group alone: setgroups is denied there (user_namespaces(7)).
	Groups []int
}

// Terminal describes a controlling terminal. Cmd.Resize changes its size.
type Terminal struct {
	Rows, Cols uint16 // in characters; zero: 24 and 80
}

// Limits bounds what a sandbox uses. Zero is no limit. Beside these a sandbox has at most 256 terminals, and of
// the instances and watches of inotify(7) that the kernel lets a user have a quarter: all of a caller share them.
type Limits struct {
	// WallTime is how long the command may take from its start, by the clock.
	WallTime time.Duration
	// CPUTime is how much time on processors all processes of the sandbox may use together, counted by
	// its cgroup. Where none can be had it is sampled from the sandbox's own /proc, in which children that
	// have ended count only if somebody waited for them: those of a process that ignores SIGCHLD escape
	// it, and Usage. WallTime holds them too.
	CPUTime time.Duration

	// What follows is held by a cgroup of the sandbox's own: see Spec.Cgroup. Where there is none, it is an
	// *UnsupportedError with the remedy for the host; with MemoryLimit or PidsLimit in AllowMissing,
	// RLIMIT_DATA of each process takes the place of MemoryMax, and RLIMIT_NPROC that of PidsMax. Without user
	// namespaces nothing takes that of PidsMax: RLIMIT_NPROC would count all processes of the caller's on the host.

	// MemoryMax is in bytes, of all processes together, with files in tmpfs and what the kernel keeps for
	// them; memory.max. When it is reached the kernel kills all of them: the Result is OutOfMemory.
	MemoryMax int64
	// MemoryHigh is in bytes; beyond it processes are slowed down and their memory is reclaimed;
	// memory.high.
	MemoryHigh int64
	// MemorySwapMax is in bytes, beside MemoryMax; memory.swap.max. Zero with a MemoryMax is no swap.
	MemorySwapMax int64
	// PidsMax is how many processes and threads the command may have, itself included; pids.max. One more
	// fails with EAGAIN.
	PidsMax int64
	// CPUMax is in processors, 0.5 is half of one; cpu.max.
	CPUMax float64
	// CPUWeight is 1 to 10000, against 100 of everybody else; cpu.weight.
	CPUWeight int
	// CPUSet is the processors that may be used, as "0-3,8"; cpuset.cpus.
	CPUSet string
	// CPUSetMems is the memory nodes that may be used; cpuset.mems.
	CPUSetMems string
	// IOMax bounds input and output on disks; io.max.
	IOMax []IOLimit
	// HugetlbMax bounds huge pages; hugetlb.SIZE.max.
	HugetlbMax []HugetlbMax

	// OutputMax is how many bytes the command may write to each of Stdout and Stderr, or to its Terminal; a
	// stream that is an *os.File is not counted without a Terminal, and one writer for both is counted once.
	// The run ends when there is more; what came before is kept.
	OutputMax int64

	// Rlimits are set for the command (setrlimit(2)), beside a core file size of 0. A hard limit
	// beyond the caller's own is an error.
	Rlimits []Rlimit
}

// IOLimit bounds input and output on the device that holds Path. Zero is no limit.
type IOLimit struct {
	Path                string
	ReadBPS, WriteBPS   int64 // bytes a second
	ReadIOPS, WriteIOPS int64 // operations a second
}

// HugetlbMax bounds huge pages of one size.
type HugetlbMax struct {
	PageSize int64 // bytes: 2 << 20, 1 << 30
	Max      int64 // bytes; zero is none at all
}

// CgroupOptions says where the sandbox's cgroup is made. There is one if a limit needs it, or Always.
//
// Found is, in this order: the caller's own cgroup, if the caller may divide it; the cgroup of the
// container; a unit of the user's systemd with Delegate=yes, or for root of the system's. Result.Enforced
// says which it was. What was found is used by all sandboxes of the program, as long as it runs.
type CgroupOptions struct {
	// Path is the directory of a cgroup v2 that was delegated to the caller: its directory, cgroup.procs
	// and cgroup.subtree_control are the caller's to write. "" is the environment variable
	// RINGFENCE_CGROUP or, if that is empty, one that is found. Without one at a given Path the Spec is an
	// *UnsupportedError.
	Path string

	// Always makes a cgroup also where no limit needs one: for Usage, Stats and Pause.
	Always bool

	// MoveCaller lets this program be moved, once, into a cgroup below its own, if its own is delegated to
	// it and holds nothing else: a cgroup with processes in it cannot be divided.
	MoveCaller bool
}

// Rlimit is a resource limit; the names are those of the OCI runtime specification.
type Rlimit struct {
	Type       string // "RLIMIT_NOFILE"
	Soft, Hard uint64 // RlimInfinity for none
}

// RlimInfinity is the value of a resource limit that limits nothing.
const RlimInfinity = ^uint64(0)
