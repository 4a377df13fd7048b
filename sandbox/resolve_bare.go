//go:build linux

package sandbox

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/idmap"
	"github.com/ringfence-go/ringfence/internal/kernel"
	"github.com/ringfence-go/ringfence/seccomp"
)

// A sandbox without user namespaces, and so without any: Landlock in the place of mounts, a process group in
// that of a PID namespace, and a second filter for what both leave open. It is a weaker one, for those who say
// so: every field of a Spec that it cannot obey is an error.

// bareness is what a sandbox without namespaces is made of.
type bareness struct {
	ruleset kernel.Ruleset
	rules   []fileRule
	// wall is the filter that stands for namespaces, guardFilter that of the guard.
	wall, guardFilter []byte
	ownFilter         bool // the Spec has another one
	takesIDs          bool // the caller is root, and the command somebody else
}

// fileRule says what may be done to a file of the host, or to all in a directory.
type fileRule struct {
	path   string
	access uint64
	exact  bool // no part of the path may be a link
}

// wantsBare reports whether spec is to be run without namespaces: where it says that it may be, and the host is known
// to give none.
func wantsBare(spec *Spec, host *Host) bool {
	return slices.Contains(spec.AllowMissing, UserNamespace) && (host.refusal != nil || !host.has("user"))
}

// noNamespaces returns why there are no user namespaces.
func (h *Host) noNamespaces() *UnsupportedError {
	if h.refusal != nil {
		return h.refusal
	}
	return &UnsupportedError{Feature: UserNamespace, Needs: "a kernel with user namespaces"}
}

// resolveBare is resolve for such a sandbox.
func (r *resolved) resolveBare(spec *Spec, host *Host, where placement, mode resolveMode) error {
	why := host.noNamespaces()
	if err := bareListed(spec, why); err != nil {
		return err
	}
	if err := bareFields(spec, why, mode); err != nil {
		return err
	}
	abi := host.facts.Landlock
	if abi < 1 {
		return landlockError(host.facts.LandlockErrno)
	}
	_, r.hostNet = spec.Network.(HostNetwork)
	r.bare = &bareness{ruleset: landlockRuleset(abi, r.hostNet), ownFilter: spec.Seccomp != nil}
	r.enforce(Landlock, landlockBy(abi, r.bare.ruleset))
	r.enforce(ProcessGroup, "SIGKILL to the command's group, which nobody leaves")
	for _, f := range bareFeatures {
		if f != NetworkNamespace || !r.hostNet {
			r.missing = append(r.missing, f)
		}
	}
	if len(spec.Capabilities) > 0 {
		r.missing = append(r.missing, Capabilities) // bareFields has seen that it may be
	}
	var faults []error
	for _, step := range []func() error{
		func() error { return r.bareFilters(spec, host, abi) },
		func() error { return r.resolveLimits(spec, where) },
		func() error { return r.bareCPUTime(spec, why) },
		func() error { return r.bareIDs(host) },
		func() error { return r.bareRules(spec, host, why) },
		func() error { return r.resolveCommand(spec, host) },
	} {
		if err := step(); err != nil {
			faults = append(faults, err)
		}
	}
	if len(faults) > 0 {
		return errors.Join(faults...)
	}
	if spec.Seccomp != nil && endsAll(spec.Seccomp) {
		r.missing = append(r.missing, SeccompNotify)
	}
	r.enforce(Capabilities, "capset, all empty")
	r.enforce(NoNewPrivs, "PR_SET_NO_NEW_PRIVS")
	instructions := len(r.bare.wall)
	if r.bare.ownFilter {
		instructions += len(r.filter.raw)
	}
	r.enforce(SeccompBPF, fmt.Sprintf("%d instructions", instructions/sizeofInstruction))
	if spec.Limits.CPUTime > 0 && where.placed() {
		r.enforce(CPUTimeLimit, "cgroup cpu.stat")
	}
	r.enforceCommand(spec)
	return nil
}

// endsAll reports whether a policy has a call end the sandbox. That those of another ABI do is so of every policy that
// does not say otherwise.
func endsAll(p *seccomp.Policy) bool {
	return kills(p.Default) || kills(p.Unknown) || slices.ContainsFunc(p.Rules, func(r seccomp.Rule) bool { return kills(r.Action) })
}

// bareListed holds a Spec to AllowMissing, and tells of all that is not listed at once.
func bareListed(spec *Spec, why *UnsupportedError) error {
	_, hostNet := spec.Network.(HostNetwork)
	var unlisted []string
	for _, f := range bareFeatures {
		if !slices.Contains(spec.AllowMissing, f) && (f != NetworkNamespace || !hostNet) {
			unlisted = append(unlisted, string(f))
		}
	}
	if len(unlisted) == 0 {
		return nil
	}
	e := *why
	e.Needs += "; to do without them AllowMissing must list also (see WithoutUserNamespaces): " + strings.Join(unlisted, ", ")
	return &e
}

// bareFields refuses every field that takes namespaces.
func bareFields(spec *Spec, why *UnsupportedError, mode resolveMode) error {
	var faults []error
	for _, part := range []struct {
		asked   bool
		feature Feature
		field   string
	}{
		{mode == resolveLiving, UserNamespace, "a Sandbox that commands join"},
		{mode == resolveWaiting, UserNamespace, "a Pool"},
		{spec.Root.Path != "" || spec.Root.Upper != "" || len(spec.Root.Layers) > 0, MountNamespace, "Spec.Root"},
		{spec.Hostname != "", UTSNamespace, "Spec.Hostname"},
		{spec.UIDs != nil || spec.GIDs != nil || spec.User != nil, IDMap, "Spec.UIDs, GIDs and User"},
		{len(spec.Capabilities) > 0 && !slices.Contains(spec.AllowMissing, Capabilities), Capabilities, "Spec.Capabilities"},
		{spec.Supervisor != nil, SeccompNotify, "Spec.Supervisor"},
		{spec.Terminal != nil, TerminalPTY, "Spec.Terminal"},
		{len(spec.Collect) > 0, MountNamespace, "Spec.Collect"},
	} {
		if part.asked {
			faults = append(faults, &UnsupportedError{Feature: part.feature, Needs: "user namespaces, for " + part.field, Remedy: why.Remedy, Err: why.Err})
		}
	}
	for i, m := range spec.Mounts {
		if reason := bareMount(spec, m); reason != "" {
			faults = append(faults, &UnsupportedError{Feature: MountNamespace, Needs: fmt.Sprintf("user namespaces, for Spec.Mounts[%d]: %s", i, reason), Remedy: why.Remedy, Err: why.Err})
		}
	}
	return errors.Join(faults...)
}

// bareCPUTime: there is no /proc of the sandbox's own in which to see what its processes use.
func (r *resolved) bareCPUTime(spec *Spec, why *UnsupportedError) error {
	if !r.watchCPU {
		return nil
	}
	r.watchCPU = false
	return r.leaveOut(spec, CPUTimeLimit, "a cgroup, or user namespaces and a /proc of the sandbox's own", why.Remedy, true)
}

// bareIDs decides whom the command runs as: the caller, or for root the ID that would be mapped.
func (r *resolved) bareIDs(host *Host) error {
	uids, gids, err := defaultMaps(host)
	if err != nil {
		return err
	}
	uid, gid := uids[0].HostID, gids[0].HostID
	if root, ok := hostRoot(host); uid == 0 || ok && uid == root || gid == 0 && host.facts.Caller.UID == 0 {
		return &UnsupportedError{Feature: IDMap, Needs: "an ID other than root's in the caller's user namespace", Remedy: "run as an unprivileged user"}
	}
	r.bare.takesIDs = host.facts.Caller.UID == 0
	r.ids = ids{uids: idmap.Single(uid, uid), gids: idmap.Single(gid, gid), uid: uid, gid: gid, keepsGroups: !r.bare.takesIDs || !host.facts.Caller.Setgroups}
	return nil
}

// allowFile adds a rule.
func (r *resolved) allowFile(p string, dir bool, access uint64) *fileRule {
	if !dir {
		access &= landlockFiles
	}
	r.bare.rules = append(r.bare.rules, fileRule{path: p, access: access & r.bare.ruleset.FS})
	return &r.bare.rules[len(r.bare.rules)-1]
}

// bareRules lists what of the host the command may use: of the base system what is bound read-only elsewhere, the
// devices that hold nothing, and Mounts.
func (r *resolved) bareRules(spec *Spec, host *Host, why *UnsupportedError) error {
	add := r.allowFile
	for _, e := range host.facts.System {
		if e.Link == "" {
			add(e.Path, e.Dir, landlockReads)
		}
	}
	for _, e := range host.facts.Config {
		add(e.Path, e.Dir, unix.LANDLOCK_ACCESS_FS_READ_FILE|unix.LANDLOCK_ACCESS_FS_READ_DIR)
	}
	if r.hostNet {
		for _, p := range []string{resolvConf, "/etc/hosts", "/etc/nsswitch.conf"} {
			if _, err := host.stat(p); err == nil {
				add(p, false, unix.LANDLOCK_ACCESS_FS_READ_FILE)
			}
		}
	}
	for _, name := range host.facts.Devices {
		if name != "tty" {
			add("/dev/"+name, false, unix.LANDLOCK_ACCESS_FS_READ_FILE|unix.LANDLOCK_ACCESS_FS_WRITE_FILE|unix.LANDLOCK_ACCESS_FS_IOCTL_DEV)
		}
	}
	return r.bareMounts(spec, host, why)
}

// bareFilters compiles the filters. Nobody hears of a forbidden call: what ends the process ends it alone.
func (r *resolved) bareFilters(spec *Spec, host *Host, abi int) error {
	arch := host.facts.Arch
	own, err := reaperFilters.of(arch)
	if err != nil {
		return err
	}
	guard, err := joinerFilters.of(arch)
	if err != nil {
		return err
	}
	r.initFilter, r.bare.guardFilter = own.raw, guard.raw
	if r.bare.wall, err = wallFilter(arch, abi, r.hostNet); err != nil || spec.Seccomp == nil {
		return err
	}
	if r.filter, err = commandFilter(spec, spec.Seccomp, arch, false); err == nil && r.filter.once {
		err = r.checkStack(spec)
	}
	return err
}
