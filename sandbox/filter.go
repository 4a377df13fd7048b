//go:build linux

package sandbox

import (
	"encoding/binary"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/seccomp"
)

// sizeofInstruction is the size of struct sock_filter (linux/filter.h).
const sizeofInstruction = 8

// compileFilter returns a policy as the kernel takes it.
func compileFilter(p *seccomp.Policy, arch string) ([]byte, error) {
	f, err := p.Compile(arch)
	if err != nil {
		return nil, err
	}
	var b []byte
	for _, in := range f.Instructions() {
		b = binary.LittleEndian.AppendUint16(b, in.Code)
		b = append(b, in.JT, in.JF)
		b = binary.LittleEndian.AppendUint32(b, in.K)
	}
	return b, nil
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
		Rules: []seccomp.Rule{
			{Names: []string{"read", "write", "sendmsg", "wait4", "rt_sigreturn", "restart_syscall", "exit_group"}, Action: seccomp.Allow},
			{Names: []string{"kill"}, Action: seccomp.Allow, Args: []seccomp.Arg{
				{Index: 0, Op: seccomp.Equal, Value: seccomp.Low32, Mask: seccomp.Low32}, // -1: everybody else
				{Index: 1, Op: seccomp.Equal, Value: uint64(unix.SIGKILL), Mask: seccomp.Low32},
			}},
		},
	}
}
