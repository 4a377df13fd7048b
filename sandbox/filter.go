//go:build linux

package sandbox

import (
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/image"
	"github.com/ringfence-go/ringfence/seccomp"
)

// sizeofInstruction is the size of struct sock_filter (linux/filter.h).
const sizeofInstruction = 8

// commandFilter compiles the policy of a Spec, and refuses one under which no command can start.
func commandFilter(p *seccomp.Policy, arch string) ([]byte, error) {
	notifies := func(r seccomp.Rule) bool { return r.Action == seccomp.Notify }
	if p.Default == seccomp.Notify || p.BadArch == seccomp.Notify || p.Unknown == seccomp.Notify || slices.ContainsFunc(p.Rules, notifies) {
		return nil, &UnsupportedError{Feature: SeccompNotify, Needs: "a later version of this library"}
	}
	f, err := p.Compile(arch)
	if err != nil {
		return nil, &SpecError{Field: "Seccomp", Reason: err.Error()}
	}
	// What the process does between the filter and the command. Ended there, it would look like an end
	// of the command.
	for _, name := range []string{"execve", "write", "exit_group"} {
		call, err := seccomp.Call(arch, name, image.DataAddr)
		if err != nil {
			return nil, err
		}
		switch f.Eval(call) {
		case seccomp.KillProcess, seccomp.KillThread, seccomp.Trap:
			return nil, &SpecError{Field: "Seccomp", Reason: "it ends the process at " + name + ", by which the command is started or its failure told"}
		}
	}
	return f.Raw(), nil
}

// compileFilter returns a policy of this library as the kernel takes it.
func compileFilter(p *seccomp.Policy, arch string) ([]byte, error) {
	f, err := p.Compile(arch)
	if err != nil {
		return nil, err
	}
	return f.Raw(), nil
}

// The filters that do not depend on a Spec are compiled once for each architecture. Nobody writes to
// them: an image holds a copy.
var (
	defaultFilters = perArch(seccomp.Default)
	initFilters    = perArch(initPolicy)
)

func perArch(policy func() *seccomp.Policy) map[string]func() ([]byte, error) {
	filters := map[string]func() ([]byte, error){}
	for _, arch := range []string{"amd64", "arm64"} {
		filters[arch] = sync.OnceValues(func() ([]byte, error) { return compileFilter(policy(), arch) })
	}
	return filters
}

func defaultFilter(arch string) ([]byte, error) { return filterOf(defaultFilters, arch) }

func initFilter(arch string) ([]byte, error) { return filterOf(initFilters, arch) }

func filterOf(filters map[string]func() ([]byte, error), arch string) ([]byte, error) {
	if filter, ok := filters[arch]; ok {
		return filter()
	}
	return nil, &UnsupportedError{Feature: SeccompBPF, Needs: "linux on amd64 or arm64, not " + arch}
}

// initPolicy is what init may do once the command runs: look at the lifeline, wait, kill what the
// command has left, report, end.
func initPolicy() *seccomp.Policy {
	return &seccomp.Policy{
		Default: seccomp.KillProcess,
		Unknown: seccomp.KillProcess,
		Rules: []seccomp.Rule{
			{Names: []string{"read", "write", "sendmsg", "wait4", "rt_sigreturn", "restart_syscall", "exit_group"}, Action: seccomp.Allow},
			{Names: []string{"kill"}, Action: seccomp.Allow, Args: []seccomp.Arg{
				{Index: 0, Op: seccomp.Equal, Value: seccomp.Low32, Mask: seccomp.Low32}, // -1: everybody else
				{Index: 1, Op: seccomp.Equal, Value: uint64(unix.SIGKILL), Mask: seccomp.Low32},
			}},
		},
	}
}
