//go:build linux

package sandbox

import (
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/image"
	"github.com/ringfence-go/ringfence/seccomp"
)

// sizeofInstruction is the size of struct sock_filter (linux/filter.h).
const sizeofInstruction = 8

// hearer says who is told of the calls for which a filter does not decide alone.
type hearer int

const (
	byNobody  hearer = iota // such a call is the kernel's to end, or there is none
	byWitness               // a thread of PID 1: the filter kills, and the caller is told for what
	byCaller                // the filter asks a supervisor too
)

// filter is a policy as the kernel takes it.
type filter struct {
	raw   []byte
	heard hearer
	// once says that the filter allows execve of a path at a low address alone (seccomp.ExecWindow).
	once bool
	// policy is what the Spec says, where a kill is one; byCaller only.
	policy *seccomp.Policy
}

// supervised reports whether the policy asks, so that there must be somebody who answers.
func (f filter) supervised() bool {
	return f.heard == byCaller && slices.Contains(actions(f.policy), seccomp.Notify)
}

// listens reports whether the caller gets the listener of the command's filter. In a sandbox that lives each command
// that joins it has one.
func (r *resolved) listens() bool { return r.filter.heard == byCaller && !r.lives }

// joined returns f for a command that joins a sandbox: its joiner is outside, where no thread of it could end
// what is inside, so that the caller hears of kills too.
func (f filter) joined(p *seccomp.Policy) filter {
	if f.heard == byWitness {
		f.heard, f.policy = byCaller, p
	}
	return f
}

// kills reports whether an action ends the process, so that it cannot say why.
func kills(a seccomp.Action) bool { return a == seccomp.KillProcess || a == seccomp.KillThread }

// actions returns every action that a policy may take.
func actions(p *seccomp.Policy) []seccomp.Action {
	all := []seccomp.Action{p.Default, p.BadArch, p.Unknown}
	if p.BadArch == 0 {
		all[1] = seccomp.KillProcess // what the zero value is
	}
	for i := range p.Rules {
		all = append(all, p.Rules[i].Action)
	}
	return all
}

// notifying returns p with a word to the listener wherever p kills. The kernel makes neither call.
func notifying(p *seccomp.Policy) *seccomp.Policy {
	notify := func(a seccomp.Action) seccomp.Action {
		if kills(a) {
			return seccomp.Notify
		}
		return a
	}
	t := *p
	t.Rules = slices.Clone(p.Rules)
	t.Default, t.Unknown = notify(p.Default), notify(p.Unknown)
	if t.BadArch = notify(p.BadArch); p.BadArch == 0 {
		t.BadArch = seccomp.Notify
	}
	for i := range t.Rules {
		t.Rules[i].Action = notify(t.Rules[i].Action)
	}
	return &t
}

// compileFilter compiles a policy for a command. heard says whether there may be a listener, and
// supervised whether the caller answers.
func compileFilter(p *seccomp.Policy, arch string, listens, supervised bool) (filter, error) {
	f := filter{heard: byNobody}
	switch {
	case supervised:
		f.heard, f.policy = byCaller, p.Clone()
	case listens && slices.ContainsFunc(actions(p), kills):
		f.heard = byWitness
	}
	if f.heard != byNobody {
		p = notifying(p)
	}
	compiled, err := p.Compile(arch)
	if err != nil {
		return filter{}, err
	}
	// What the process does between the filter and the command. Ended there, it would look like an end
	// of the command; asked there, nobody could answer yet.
	stops := func(name string, addr uint64) bool {
		call, err := seccomp.Call(arch, name, addr)
		a := compiled.Eval(call)
		return err == nil && (kills(a) || a == seccomp.Trap || a == seccomp.Notify)
	}
	for _, name := range startingCalls {
		switch {
		case !stops(name, image.DataAddr):
		case name == "execve" && !stops(name, image.LowAddr):
			f.once = true
		default:
			return filter{}, fmt.Errorf("it ends the process or notifies at %s, by which the command is started or its failure told", name)
		}
	}
	f.raw = compiled.Raw()
	return f, nil
}

// startingCalls are what a process does between the filter and the command: it executes it, or tells that
// it could not.
var startingCalls = []string{"execve", "write", "exit_group"}

// commandFilter compiles p, which the policy of a Spec has become.
func commandFilter(spec *Spec, p *seccomp.Policy, arch string, listens bool) (filter, error) {
	asks := slices.Contains(actions(p), seccomp.Notify)
	switch {
	case asks && spec.Supervisor == nil:
		return filter{}, &SpecError{Field: "Seccomp", Reason: "it notifies, and without a Supervisor nobody would answer"}
	case !asks && spec.Supervisor != nil:
		return filter{}, &SpecError{Field: "Supervisor", Reason: "set, but Seccomp notifies of no call"}
	}
	f, err := compileFilter(p, arch, listens, asks)
	if err != nil {
		return filter{}, &SpecError{Field: "Seccomp", Reason: err.Error()}
	}
	return f, nil
}

// The filters that do not depend on a Spec are compiled once for each architecture. Nobody writes to
// them: an image holds a copy.
var (
	defaultFilters = perArch(func(arch string) (filter, error) { return compileFilter(seccomp.Default(), arch, true, false) })
	deafFilters    = perArch(func(arch string) (filter, error) { return compileFilter(seccomp.Default(), arch, false, false) })
	initFilters    = perArch(func(arch string) (filter, error) { return ownFilter(initPolicy(), arch) })
	// PID 1 of a sandbox with a terminal closes its master when the caller has it.
	terminalInitFilters = perArch(func(arch string) (filter, error) { return ownFilter(initPolicy("close"), arch) })
	// PID 1 of a sandbox that waits for its command sums up what was used.
	waitingInitFilters = perArch(func(arch string) (filter, error) { return ownFilter(initPolicy("getrusage"), arch) })
	keeperFilters      = perArch(func(arch string) (filter, error) { return ownFilter(keeperPolicy, arch) })
	reaperFilters      = perArch(func(arch string) (filter, error) {
		return ownFilter(onlyPolicy("wait4", "write", "restart_syscall", "exit_group"), arch)
	})
	joinerFilters = perArch(func(arch string) (filter, error) { return ownFilter(onlyPolicy(joinerCalls...), arch) })
	// A joiner closes the master of the terminal when the caller has it.
	terminalJoinerFilters = perArch(func(arch string) (filter, error) {
		return ownFilter(onlyPolicy(append([]string{"close"}, joinerCalls...)...), arch)
	})
)

// ownFilter compiles a policy for a process of this library, in which a kill is one.
func ownFilter(p *seccomp.Policy, arch string) (filter, error) {
	f, err := p.Compile(arch)
	if err != nil {
		return filter{}, err
	}
	return filter{raw: f.Raw()}, nil
}

// defaultPolicy is what the default filters come from. Nobody writes to it.
var defaultPolicy = sync.OnceValue(seccomp.Default)

type archFilters map[string]func() (filter, error)

func perArch(compile func(arch string) (filter, error)) archFilters {
	filters := archFilters{}
	for _, arch := range []string{"amd64", "arm64"} {
		filters[arch] = sync.OnceValues(func() (filter, error) { return compile(arch) })
	}
	return filters
}

func (f archFilters) of(arch string) (filter, error) {
	if compile, ok := f[arch]; ok {
		return compile()
	}
	return filter{}, &UnsupportedError{Feature: SeccompBPF, Needs: "linux on amd64 or arm64, not " + arch}
}

// initPolicy is what init may do once the command runs: look at the lifeline, wait, kill what the
// command has left, report, end. Its witness of refused calls receives one, looks at the listener, kills
// everything, and ends. More names what else it may.
func initPolicy(more ...string) *seccomp.Policy {
	return &seccomp.Policy{
		Default: seccomp.KillProcess,
		Unknown: seccomp.KillProcess,
		Rules: []seccomp.Rule{
			{Names: append([]string{"read", "write", "sendmsg", "wait4", "rt_sigreturn", "restart_syscall", "exit_group"}, more...), Action: seccomp.Allow},
			{Names: []string{"kill"}, Action: seccomp.Allow, Args: []seccomp.Arg{
				{Index: 0, Op: seccomp.Equal, Value: seccomp.Low32, Mask: seccomp.Low32}, // -1: everybody else
				{Index: 1, Op: seccomp.Equal, Value: uint64(unix.SIGKILL), Mask: seccomp.Low32},
			}},
			{Names: []string{"ppoll", "exit"}, Action: seccomp.Allow},
			{Names: []string{"ioctl"}, Action: seccomp.Allow, Args: []seccomp.Arg{
				{Index: 1, Op: seccomp.Equal, Value: unix.SECCOMP_IOCTL_NOTIF_RECV, Mask: seccomp.Low32},
			}},
		},
	}
}

// keeperPolicy is what a PID 1 without a command may do: tell the caller of the start, look at the lifeline,
// wait for its end, and end.
var keeperPolicy = onlyPolicy("sendmsg", "write", "close_range", "ppoll", "read", "rt_sigreturn", "restart_syscall", "exit_group")

// joinerCalls is what a joiner may do once its command runs: tell the caller, wait, tell the end, and end. It
// is outside of the sandbox's PID namespace, and may signal nobody.
var joinerCalls = []string{"sendmsg", "write", "waitid", "wait4", "restart_syscall", "exit_group"}

func onlyPolicy(names ...string) *seccomp.Policy {
	return &seccomp.Policy{
		Default: seccomp.KillProcess, Unknown: seccomp.KillProcess,
		Rules: []seccomp.Rule{{Names: names, Action: seccomp.Allow}},
	}
}
