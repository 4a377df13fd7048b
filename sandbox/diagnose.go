//go:build linux

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/idmap"
	"github.com/ringfence-go/ringfence/internal/cgroup"
	"github.com/ringfence-go/ringfence/internal/probe"
	"github.com/ringfence-go/ringfence/seccomp"
)

// patienceTry bounds one try of Probe: a bus may not answer, a disk may hang.
const patienceTry = 15 * time.Second

// diagnosis is Probe at work.
type diagnosis struct {
	ctx          context.Context
	restrictions *probe.Restrictions
	base         *Spec             // what works, for tries to add to; nil if nothing does
	failure      error             // of the zero Spec
	unshared     *UnsupportedError // why what ran had no InotifyLimit
	states       map[Feature]FeatureState
}

func zeroSpec() *Spec { return &Spec{Args: []string{"true"}} }

// run fills states. Every answer is that of a sandbox that was set up, or was not.
func (d *diagnosis) run() {
	d.tryZero()
	d.tryBare()
	for _, t := range featureTries {
		if d.ctx.Err() != nil {
			return
		}
		d.tryFeature(t)
	}
	d.lookForShares()
}

// lookForShares notes why a sandbox that works has no InotifyLimit: it did without by itself.
func (d *diagnosis) lookForShares() {
	if _, known := d.states[InotifyLimit]; known || d.base == nil {
		return
	}
	var cause error = &UnsupportedError{Feature: InotifyLimit, Needs: "a kernel with limits of inotify for user namespaces (CONFIG_INOTIFY_USER)"}
	switch {
	case d.unshared != nil:
		cause = d.unshared
	case d.failure != nil:
		cause = d.failure // of what it takes: user namespaces, a new /proc
	}
	d.missing(InotifyLimit, cause)
}

// list returns the states in the order of features.
func (d *diagnosis) list() []FeatureState {
	var all []FeatureState
	for _, f := range features {
		s, ok := d.states[f]
		if !ok {
			s = FeatureState{Feature: f, Cause: d.failure, Remedy: exactRemedy(d.failure, d.restrictions)}
		}
		all = append(all, s)
	}
	return all
}

// relaxations are Specs that do without what the zero Spec has, from the least on. What is found missing by the
// zero Spec does not tell whether the rest works: these do.
var relaxations = []func(*Spec){
	func(s *Spec) { s.Network = HostNetwork{} },
	func(s *Spec) { s.AllowMissing = features[:] },
	func(s *Spec) { s.Network, s.AllowMissing = HostNetwork{}, features[:] },
}

// tryZero runs the zero Spec, and where it does not work looks for what does.
func (d *diagnosis) tryZero() {
	spec := zeroSpec()
	enforced, err := d.try(spec)
	if err == nil {
		d.base = spec
		d.works(enforced)
		return
	}
	d.failure = err
	d.blame(err)
	for _, relax := range relaxations {
		spec := zeroSpec()
		relax(spec)
		if enforced, err = d.try(spec); err != nil {
			d.blame(err)
			continue
		}
		d.base = spec
		d.works(enforced)
		for _, left := range bareFeatures {
			if d.states[left].State == Inconclusive {
				d.missing(left, d.failure)
			}
		}
		return
	}
}

// try runs spec and returns what held it. That there is no such command is known when all else was set up:
// nothing else is looked for.
func (d *diagnosis) try(spec *Spec) ([]Enforcement, error) { return d.tryOn(spec, nil) }

// tryOn is try with a plan for another host.
func (d *diagnosis) tryOn(spec *Spec, host *Host) ([]Enforcement, error) {
	ctx, cancel := context.WithTimeout(d.ctx, patienceTry)
	defer cancel()
	c := Command(ctx, *spec)
	c.on = host
	err := c.Start()
	if c.plan != nil && c.plan.resolved.unshared != nil {
		d.unshared = c.plan.resolved.unshared
	}
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrNoInterpreter) {
		return c.plan.resolved.enforced, nil
	}
	if err != nil {
		return nil, err
	}
	r, err := c.Wait()
	if err == nil {
		err = r.Err()
	}
	if err != nil {
		return nil, err
	}
	return r.Enforced, nil
}

// tryBare runs a Spec without user namespaces, whether the host has any or not.
func (d *diagnosis) tryBare() {
	if d.ctx.Err() != nil {
		return
	}
	host, err := readHost()
	var enforced []Enforcement
	if err == nil {
		host.refusal = &UnsupportedError{Feature: UserNamespace, Needs: "a host that has some"}
		spec := zeroSpec()
		spec.AllowMissing = bareFeatures
		enforced, err = d.tryOn(spec, host)
	}
	for _, f := range []Feature{Landlock, ProcessGroup} {
		d.conclude(f, enforced, err)
	}
}

// works notes what a sandbox that ran was held by. Against that, no refusal counts.
func (d *diagnosis) works(enforced []Enforcement) {
	for _, e := range enforced {
		d.states[e.Feature] = FeatureState{Feature: e.Feature, State: Works, By: e.By}
	}
	by := "a memfd"
	if d.restrictions.MemfdNoexec >= memfdNoexecEnforced {
		by = "a private file in " + os.TempDir()
	}
	d.states[MemfdExec] = FeatureState{Feature: MemfdExec, State: Works, By: by}
}

// memfdNoexecEnforced is the value of vm.memfd_noexec for which memfd_create(2) refuses executable ones.
const memfdNoexecEnforced = 2

func (d *diagnosis) missing(f Feature, cause error) {
	d.states[f] = FeatureState{Feature: f, State: Missing, Cause: cause, Remedy: exactRemedy(cause, d.restrictions)}
}

func (d *diagnosis) inconclusive(f Feature, cause error) {
	d.states[f] = FeatureState{Feature: f, Cause: cause, Remedy: exactRemedy(cause, d.restrictions)}
}

// blame notes the features that err says are missing, unless more is known of them.
func (d *diagnosis) blame(err error) {
	for _, u := range unsupportedIn(err) {
		f := culprit(u, d.restrictions)
		if d.states[f].State == Inconclusive {
			d.missing(f, u)
		}
	}
}

// featureTry is how a feature is tried that the zero Spec has none of.
type featureTry struct {
	feature Feature
	// add completes a Spec that works. An error says why there is nothing to try.
	add func(*Spec) error
}

// featureTries are in the order in which they are tried: without a Cgroup there are no limits by one.
var featureTries = []featureTry{
	{SeccompNotify, func(s *Spec) error {
		s.Seccomp = seccomp.Default()
		s.Seccomp.Rules = append([]seccomp.Rule{{Names: []string{"sethostname"}, Action: seccomp.Notify}}, s.Seccomp.Rules...)
		s.Supervisor = func(context.Context, *Notification) Answer { return Refuse(unix.EPERM) }
		return nil
	}},
	{TerminalPTY, func(s *Spec) error { s.Terminal = &Terminal{}; return nil }},
	{IDRanges, nil}, // it needs IDs that are given back: see tryRanges
	{LayeredRoot, func(s *Spec) error { s.Root.Layers = []string{"/"}; return nil }},
	{OverlayMount, func(s *Spec) error {
		s.Mounts = []Mount{{Type: Overlay, Target: "/mnt"}}
		return nil
	}},
	{WallTimeLimit, func(s *Spec) error { s.Limits.WallTime = time.Minute; return nil }},
	{OutputLimit, func(s *Spec) error { s.Stdout = io.Discard; s.Limits.OutputMax = 1 << 20; return nil }},
	{Rlimits, func(s *Spec) error {
		var own unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &own); err != nil {
			return os.NewSyscallError("getrlimit", err)
		}
		s.Limits.Rlimits = []Rlimit{{Type: "RLIMIT_NOFILE", Soft: own.Cur, Hard: own.Max}}
		return nil
	}},
	{Cgroup, func(s *Spec) error { s.Cgroup.Always = true; return nil }},
	{CPUTimeLimit, func(s *Spec) error { s.Limits.CPUTime = time.Minute; return nil }},
	// All of them are more than the command can need.
	{MemoryLimit, func(s *Spec) error { s.Limits.MemoryMax = 1 << 30; return nil }},
	{PidsLimit, func(s *Spec) error { s.Limits.PidsMax = 1 << 10; return nil }},
	{CPULimit, func(s *Spec) error { s.Limits.CPUMax = 1; return nil }},
	{CPUWeight, func(s *Spec) error { s.Limits.CPUWeight = 100; return nil }},
	{CPUSet, addCPUSet},
	{IOLimits, addIOMax},
	{HugetlbLimit, addHugetlbMax},
}

// tryFeature tries one feature in a sandbox that works without it.
func (d *diagnosis) tryFeature(t featureTry) {
	if d.base == nil {
		return // list says why
	}
	held := slices.ContainsFunc(cgroupLimits, func(l cgroupLimit) bool { return l.feature == t.feature })
	if none := d.states[Cgroup]; held && none.State != Works {
		none.Feature = t.feature
		d.states[t.feature] = none
		return
	}
	if t.feature == IDRanges {
		d.tryRanges()
		return
	}
	spec := *d.base
	// What may be missing in the base may not be what is tried.
	spec.AllowMissing = slices.DeleteFunc(slices.Clone(spec.AllowMissing), func(f Feature) bool { return f == t.feature || f == Cgroup })
	if err := t.add(&spec); err != nil {
		d.conclude(t.feature, nil, err)
		return
	}
	enforced, err := d.try(&spec)
	d.conclude(t.feature, enforced, err)
}

// conclude notes how the try of a feature went.
func (d *diagnosis) conclude(f Feature, enforced []Enforcement, err error) {
	switch {
	case err == nil:
		s := FeatureState{Feature: f, State: Works}
		if i := slices.IndexFunc(enforced, func(e Enforcement) bool { return e.Feature == f }); i >= 0 {
			s.By = enforced[i].By
		}
		d.states[f] = s
	case len(unsupportedIn(err)) > 0:
		d.missing(f, err)
	default:
		d.inconclusive(f, err)
	}
}

// tryRanges maps IDs beside the caller's own, or the one that stands for a root caller.
func (d *diagnosis) tryRanges() {
	spec := *d.base
	reserved, err := idmap.Auto(1)
	switch {
	case err == nil:
		defer reserved.Close()
		spec.UIDs, spec.GIDs = reserved.UIDs, reserved.GIDs
	case os.Geteuid() == 0: // who may map any
		spec.UIDs = idmap.Map{{ContainerID: 0, HostID: overflowID - 1, Size: 2}}
		spec.GIDs = spec.UIDs
	case errors.Is(err, idmap.ErrNoSubordinate):
		var auto *idmap.AutoError
		errors.As(err, &auto)
		d.missing(IDRanges, &UnsupportedError{Feature: IDMap, Needs: "subordinate IDs of the user", Remedy: auto.Remedy, Err: auto.Err})
		return
	default: // all are in use, or there is no place for the lock
		d.inconclusive(IDRanges, err)
		return
	}
	_, err = d.try(&spec)
	d.conclude(IDRanges, nil, err)
	if s := d.states[IDRanges]; s.State == Works {
		s.By = "newuidmap and newgidmap"
		if os.Geteuid() == 0 {
			s.By = "uid_map and gid_map, written by the caller"
		}
		d.states[IDRanges] = s
	}
}

// addCPUSet binds to the first processor that the caller may use.
func addCPUSet(s *Spec) error {
	var own unix.CPUSet
	if err := unix.SchedGetaffinity(0, &own); err != nil {
		return os.NewSyscallError("sched_getaffinity", err)
	}
	first := 0
	for !own.IsSet(first) && first < len(own)*strconv.IntSize {
		first++
	}
	s.Limits.CPUSet = strconv.Itoa(first)
	return nil
}

// addIOMax bounds a disk, if one can be found by the paths that every host has.
func addIOMax(s *Spec) error {
	var failed []error
	for _, path := range []string{"/", ".", os.TempDir(), "/usr", "/var"} {
		_, err := cgroup.DeviceOf(path)
		if err == nil {
			const plenty = 1 << 40
			s.Limits.IOMax = []IOLimit{{Path: path, ReadBPS: plenty, WriteBPS: plenty}}
			return nil
		}
		failed = append(failed, err)
	}
	return &OpError{Index: -1, Op: "find a disk to bound", Err: failed[0]}
}

// hugePages is where the kernel lists the sizes of its huge pages.
const hugePages = "/sys/kernel/mm/hugepages"

func addHugetlbMax(s *Spec) error {
	entries, err := os.ReadDir(hugePages)
	for _, e := range entries {
		kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimPrefix(e.Name(), "hugepages-"), "kB"), 10, 64)
		if err == nil {
			s.Limits.HugetlbMax = []HugetlbMax{{PageSize: kilobytes << 10, Max: kilobytes << 10}}
			return nil
		}
	}
	if err == nil {
		err = fmt.Errorf("%s is empty", hugePages)
	}
	return &UnsupportedError{Feature: HugetlbLimit, Needs: "a kernel with huge pages, and /sys to list them", Err: err}
}

// unsupportedIn returns every *UnsupportedError that err is or joins.
func unsupportedIn(err error) []*UnsupportedError {
	switch e := any(err).(type) {
	case *UnsupportedError:
		return []*UnsupportedError{e}
	case interface{ Unwrap() []error }:
		var all []*UnsupportedError
		for _, one := range e.Unwrap() {
			all = append(all, unsupportedIn(one)...)
		}
		return all
	case interface{ Unwrap() error }:
		return unsupportedIn(e.Unwrap())
	}
	return nil
}
