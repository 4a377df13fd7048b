//go:build linux

package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/idmap"
	"github.com/ringfence-go/ringfence/internal/cgroup"
	"github.com/ringfence-go/ringfence/internal/probe"
)

// resolved is a Spec in which every question about the host has been answered. What is compiled is a
// function of it alone.
type resolved struct {
	facts *probe.Facts

	argv       []string
	candidates []string // the paths to execute, in the order in which they are tried
	env        []string
	dir        string
	extraFiles []bool // whether entry i is open

	namespaces uint64    // CLONE_NEW* flags
	without    []Feature // those of the namespaces that are left out: the host has none, and the Spec allows it
	ids        ids
	// capabilities are those that the command keeps, as bits.
	capabilities uint64
	rootPath     string // "" is the base system
	writable     bool   // rootPath
	mounts       []mount
	hostname     string
	hostNet      bool
	newProc      bool
	shares       bool              // of inotify
	unshared     *UnsupportedError // why there are none, if the host has refused them
	rlimits      []Rlimit
	terminal     *Terminal // with its size; nil is none
	watchCPU     bool      // the caller needs the sandbox's /proc to see what its processes use
	collects     bool      // the caller needs the sandbox's root when all processes have ended
	placement    placement
	limits       cgroup.Limits // of the cgroup, if it is placed in one

	filter     filter
	initFilter []byte

	lives bool // there is no command: PID 1 keeps the sandbox for commands that join it
	joins bool // it is a command for such a sandbox
	waits bool // it is set up ahead, and told later what to execute

	bare *bareness // what stands for namespaces; nil is that there are some

	enforced []Enforcement
	missing  []Feature
}

// mount is a Mount whose source is known to exist.
type mount struct {
	Mount
	dir bool // what is at Source, and must be at Target, is a directory
}

// The defaults of a Spec.
const (
	defaultPath     = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	defaultHostname = "sandbox"
	baseHome        = "/home/sandbox"
	cpath           = "/bin:/usr/bin" // _CS_PATH of confstr(3): what execvp(3) searches without a PATH
)

// resolveMode is what a sandbox is for.
type resolveMode int

const (
	resolveRunning resolveMode = iota // the command of the Spec
	resolveLiving                     // commands that join it
	resolveWaiting                    // one command, which it is told later
)

// resolve answers the questions that spec leaves to the host. It reads and changes nothing.
//
// Preconditions: validate found no fault in spec.
func resolve(spec *Spec, host *Host, where placement, mode resolveMode) (*resolved, error) {
	if host.facts.Caller.SetID {
		return nil, &UnsupportedError{Feature: UserNamespace, Needs: "a caller whose real, effective and saved IDs are equal",
			Remedy: "do not call it from a setuid or setgid program"}
	}
	r := &resolved{facts: host.facts, hostname: spec.Hostname, lives: mode == resolveLiving, waits: mode == resolveWaiting, collects: len(spec.Collect) > 0}
	if r.hostname == "" {
		r.hostname = defaultHostname
	}
	if wantsBare(spec, host) {
		if err := r.resolveBare(spec, host, where, mode); err != nil {
			return nil, err
		}
		return r, nil
	}
	r.without = without(spec, host)
	var faults []error
	// How many tasks the sandbox has of its own depends on the filter.
	if err := r.resolveFilters(spec, host); err != nil {
		faults = append(faults, err)
	}
	if err := r.resolveLimits(spec, where); err != nil {
		faults = append(faults, err)
	}
	for _, step := range []func(*Spec, *Host) error{
		r.resolveUnsupported, r.resolveNamespaces, r.resolveIDs, r.resolveCapabilities, r.resolveTerminal, r.resolveRoot, r.resolveMounts, r.resolveCommand,
	} {
		if err := step(spec, host); err != nil {
			faults = append(faults, err)
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	r.enforceSandbox(spec, host)
	if mode == resolveRunning {
		r.enforceCommand(spec)
	}
	return r, nil
}

// namespaceKind is a kind of namespace.
type namespaceKind struct {
	name    string
	flag    uint64
	feature Feature
}

// namespaces are the kinds that a sandbox is made of, by their names in /proc/PID/ns.
var namespaces = [...]namespaceKind{
	{"user", unix.CLONE_NEWUSER, UserNamespace},
	{"mnt", unix.CLONE_NEWNS, MountNamespace},
	{"pid", unix.CLONE_NEWPID, PIDNamespace},
	{"net", unix.CLONE_NEWNET, NetworkNamespace},
	{"ipc", unix.CLONE_NEWIPC, IPCNamespace},
	{"uts", unix.CLONE_NEWUTS, UTSNamespace},
	{"cgroup", unix.CLONE_NEWCGROUP, CgroupNamespace},
}

func (r *resolved) resolveNamespaces(spec *Spec, host *Host) error {
	_, r.hostNet = spec.Network.(HostNetwork)
	var faults []error
	for _, ns := range namespaces {
		if ns.feature == NetworkNamespace && r.hostNet {
			continue
		}
		if slices.Contains(r.without, ns.feature) {
			r.missing = append(r.missing, ns.feature)
			continue
		}
		if !host.has(ns.name) {
			faults = append(faults, &UnsupportedError{Feature: ns.feature, Needs: "a kernel with " + string(ns.feature) + "s"})
			continue
		}
		r.namespaces |= ns.flag
		r.enforce(ns.feature, "CLONE_NEW"+strings.ToUpper(strings.Replace(ns.name, "mnt", "ns", 1)))
	}
	r.newProc = true
	// The kernel is the judge of whether a new /proc may be made: see startError. The list only tells
	// when to do without, where that is allowed; of what it does not tell of, such as a /proc that is
	// read-only itself, the first start does.
	if (len(host.facts.ProcCovered) > 0 || host.noProc) && slices.Contains(spec.AllowMissing, NewProc) {
		r.missing = append(r.missing, NewProc)
		r.newProc = false
	}
	if r.newProc && !slices.Contains(host.facts.Devices, "null") {
		r.newProc = false
		if err := r.leaveOut(spec, NewProc, "a device /dev/null, to cover files of /proc", "as root: mknod -m 666 /dev/null c 1 3", true); err != nil {
			faults = append(faults, err)
		}
	}
	if r.watchCPU && !r.newProc {
		r.watchCPU = false
		if err := r.leaveOut(spec, CPUTimeLimit, "a new /proc, to see what the processes use", "", true); err != nil {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

// leaveOut notes that a feature is missing, if the Spec allows it and it can be done without.
func (r *resolved) leaveOut(spec *Spec, feature Feature, needs, remedy string, possible bool) error {
	if possible && slices.Contains(spec.AllowMissing, feature) {
		r.missing = append(r.missing, feature)
		return nil
	}
	return &UnsupportedError{Feature: feature, Needs: needs, Remedy: remedy}
}

func (r *resolved) enforce(feature Feature, by string) {
	r.enforced = append(r.enforced, Enforcement{Feature: feature, By: by})
}

func (r *resolved) resolveRoot(spec *Spec, host *Host) error {
	if spec.Root.Path == "" {
		return nil
	}
	p := spec.Root.Path
	info, err := host.stat(p)
	switch {
	case err != nil:
		return &SpecError{Field: "Root.Path", Reason: err.Error()}
	case !info.IsDir():
		return &SpecError{Field: "Root.Path", Reason: p + " is not a directory"}
	}
	r.rootPath, r.writable = p, spec.Root.Writable
	return nil
}

func (r *resolved) resolveMounts(spec *Spec, host *Host) error {
	var faults []error
	for i, m := range spec.Mounts {
		m.Target = path.Clean(m.Target)
		if m.Type == Tmpfs && m.Size == 0 {
			m.Size = DefaultTmpfsSize
		}
		if m.Type == Tmpfs && m.Mode == 0 {
			m.Mode = fs.ModeSticky | 0o777
		}
		if m.Type == File && m.Mode == 0 {
			m.Mode = 0o644
		}
		resolved := mount{Mount: m, dir: m.Type != File}
		if m.Type == Mqueue && r.namespaces&unix.CLONE_NEWIPC == 0 {
			// It would show the host's queues. Of a host whose kernel has no such namespaces this says it first.
			faults = append(faults, &UnsupportedError{Feature: IPCNamespace, Needs: fmt.Sprintf("an ipc namespace for the queues of Mounts[%d]", i)})
		}
		if m.Type == Proc && m.Writable && r.ids.hasHostRoot(host) {
			faults = append(faults, &SpecError{Field: fmt.Sprintf("Mounts[%d].Writable", i), Reason: "UIDs map the host's root, who could change the host's kernel by the whole of a /proc"})
		}
		if m.Type == Bind {
			// A relative source stays one: a directory above the working directory may be closed to
			// the caller, and the set-up starts in the same one.
			var err error
			if resolved.dir, err = isDir(host, m.Source); err != nil {
				faults = append(faults, &SpecError{Field: fmt.Sprintf("Mounts[%d].Source", i), Reason: err.Error()})
			}
		}
		r.mounts = append(r.mounts, resolved)
	}
	return errors.Join(faults...)
}

func isDir(host *Host, p string) (bool, error) {
	info, err := host.stat(p)
	if err != nil {
		return false, err
	}
	return info.IsDir(), nil
}

// resolveFilters compiles the command's filter and init's.
func (r *resolved) resolveFilters(spec *Spec, host *Host) error {
	arch := host.facts.Arch
	filters := initFilters
	switch {
	case r.lives:
		filters = keeperFilters
	case r.waits:
		filters = waitingInitFilters
	case spec.Terminal != nil:
		filters = terminalInitFilters
	}
	own, err := filters.of(arch)
	if err != nil {
		return err
	}
	r.initFilter = own.raw
	policy := closed(spec.Seccomp, r.without)
	switch {
	case policy != nil:
		if r.filter, err = commandFilter(spec, policy, arch, !host.listened); err == nil && r.filter.once {
			err = r.checkStack(spec)
		}
	case spec.Supervisor != nil:
		err = &SpecError{Field: "Supervisor", Reason: "set, but the default policy notifies of no call"}
	case host.listened:
		r.filter, err = deafFilters.of(arch)
	default:
		r.filter, err = defaultFilters.of(arch)
	}
	return err
}

// checkStack refuses a stack that could grow down to where the path of the command was.
func (r *resolved) checkStack(spec *Spec) error {
	for i, l := range spec.Limits.Rlimits {
		if l.Type == "RLIMIT_STACK" && l.Hard > maxStackOnce {
			return &SpecError{Field: fmt.Sprintf("Limits.Rlimits[%d].Hard", i), Reason: "the policy allows one execve, for which the stack must be less than 64 GiB"}
		}
	}
	return nil
}

// enforceSandbox lists what holds everything in the sandbox.
func (r *resolved) enforceSandbox(spec *Spec, host *Host) {
	r.enforce(IDMap, r.ids.String())
	if r.newProc {
		r.enforce(NewProc, "procfs of its own PID namespace")
	}
	r.resolveShares(host)
	r.enforce(Capabilities, r.keptCapabilities())
	r.enforce(NoNewPrivs, "PR_SET_NO_NEW_PRIVS")
	r.enforce(SeccompBPF, fmt.Sprintf("%d instructions", len(r.filter.raw)/sizeofInstruction)+standsFor(r.without))
	switch {
	case r.watchCPU:
		r.enforce(CPUTimeLimit, "process times of the sandbox's /proc, sampled")
	case spec.Limits.CPUTime > 0 && r.placement.placed():
		r.enforce(CPUTimeLimit, "cgroup cpu.stat")
	}
}

// enforceCommand lists what holds one command.
func (r *resolved) enforceCommand(spec *Spec) {
	switch r.filter.heard {
	case byWitness:
		r.enforce(SeccompNotify, "SECCOMP_RET_USER_NOTIF to a thread of PID 1")
	case byCaller:
		r.enforce(SeccompNotify, "SECCOMP_RET_USER_NOTIF to the caller")
	}
	if r.terminal != nil {
		r.enforce(TerminalPTY, "pty of the sandbox's own devpts")
	}
	l := &spec.Limits
	if l.WallTime > 0 {
		r.enforce(WallTimeLimit, "timer")
	}
	if l.OutputMax > 0 {
		r.enforce(OutputLimit, "bytes counted at the pipes")
	}
	if len(l.Rlimits) > 0 {
		r.enforce(Rlimits, "prlimit")
	}
}

// resolveIDs decides which IDs exist inside and who writes the maps.
func (r *resolved) resolveIDs(spec *Spec, host *Host) error {
	var uids, gids idmap.Map
	if spec.UIDs == nil || spec.GIDs == nil {
		var err error
		if uids, gids, err = defaultMaps(host); err != nil {
			return err
		}
	}
	var err error
	r.ids, err = resolveIDs(spec, host, uids, gids)
	return err
}
