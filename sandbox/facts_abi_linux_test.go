package sandbox

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
	"github.com/ringfence-go/ringfence/seccomp"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
	"github.com/ringfence-go/ringfence/testing/victim"
)

// Facts about every call that the default policy refuses, by every way to make it: the program's own ABI
// answers with the policy's error, the others end the run.

// refusedCalls returns the calls of this architecture that the policy refuses with the arguments that the
// victim uses, and what it says to each.
func refusedCalls(t testing.TB, p *seccomp.Policy) map[string]seccomp.Action {
	t.Helper()
	arch := kernel.Arch(runtime.GOARCH)
	refused := map[string]seccomp.Action{}
	for i := range arch.Len() {
		_, name := arch.At(i)
		call, err := seccomp.Call(runtime.GOARCH, name, victim.CallArgs(name)...)
		if err != nil {
			t.Fatal(err)
		}
		if action := p.Decide(call, runtime.GOARCH); action != seccomp.Allow {
			refused[name] = action
		}
	}
	if len(refused) < 80 {
		t.Fatalf("the policy refuses %d calls only: %v", len(refused), refused)
	}
	return refused
}

// errnoName returns the name of the error that a policy answers with.
func errnoName(t testing.TB, a seccomp.Action) string {
	t.Helper()
	n, ok := a.Errno()
	if !ok {
		t.Fatalf("%v is no error", a)
	}
	return unix.ErrnoName(syscall.Errno(n))
}

// answering makes every refusal of the default policy an error that the kernel has for nothing, but for
// clone3, without whose ENOSYS a C library makes no thread.
func answering(errno syscall.Errno) func(*Spec) {
	return func(spec *Spec) {
		p := seccomp.Default()
		p.Default = seccomp.Errno(errno)
		for i := range p.Rules {
			if p.Rules[i].Action != seccomp.Allow {
				p.Rules[i].Action = seccomp.Errno(errno)
			}
		}
		p.Rules = append([]seccomp.Rule{{Names: []string{"clone3"}, Action: seccomp.Errno(unix.ENOSYS)}}, p.Rules...)
		spec.Seccomp = p
	}
}

// saysTheSame are refused calls for which the kernel has the policy's error too, for a caller without
// privilege, or since it does not have the call: without the filter there is no difference to see.
var saysTheSame = strings.Fields(`acct afs_syscall bpf clock_settime create_module delete_module epoll_ctl_old epoll_wait_old
	fanotify_init file_getattr file_setattr finit_module fsmount fsopen fspick get_kernel_syms getpmsg init_module
	io_uring_setup iopl ioperm kcmp kexec_file_load kexec_load listns lookup_dcookie lsm_get_self_attr
	lsm_list_modules lsm_set_self_attr memfd_secret modify_ldt mount mount_setattr move_mount open_by_handle_at open_tree
	open_tree_attr perf_event_open pivot_root process_mrelease putpmsg query_module quotactl quotactl_fd reboot
	security setdomainname sethostname swapoff swapon sysfs _sysctl syslog tuxcall umount2 uselib userfaultfd
	ustat vhangup vserver`)

func TestDefaultFilterRefusesWhatNoProgramNeeds(t *testing.T) {
	t.Parallel()
	refused := refusedCalls(t, seccomp.Default())
	var acts []string
	for name := range refused {
		acts = append(acts, "call:"+name)
	}
	slices.Sort(acts)
	got, without := inside(t, nil, acts...), inside(t, noFilter, acts...)
	// It is the filter that answers: told to, it answers with something else.
	other := inside(t, answering(unix.EDOTDOT), acts...)
	for name, action := range refused {
		act, want := "call:"+name, errnoName(t, action)
		got.want(act, want)
		if name != "clone3" {
			other.want(act, "EDOTDOT")
		}
		if without.of(act).Err == want && !slices.Contains(saysTheSame, name) {
			t.Errorf("%s: %s without the filter too: this proves nothing", name, want)
		}
	}
}

// wantKilled checks that the filter ended a run for a call.
func wantKilled(t testing.TB, what string, r *Result, call string) {
	t.Helper()
	if r.Ended != Forbidden || r.Syscall != call || r.Signal != syscall.SIGSYS {
		t.Errorf("%s: %v, want %s forbidden", what, r, call)
	}
}

func TestForeignABIsKill(t *testing.T) {
	t.Parallel()
	if !victim.ForeignABIs {
		sandboxtest.Skip(t, "foreign-abis", "this architecture has no other ABI")
	}
	acts := map[string]string{} // an act, and what the Result calls it
	names := []string{"getpid", "read", "execve"}
	for name := range refusedCalls(t, seccomp.Default()) {
		names = append(names, name)
	}
	var control []string
	for _, name := range names {
		// By the number of 64-bit programs with the bit of x32, whether x32 has the call or not. Here it is
		// the command itself that makes it; what follows is made by a child.
		number, _ := kernel.Number(kernel.AMD64, name)
		number |= kernel.X32Bit
		called, ok := kernel.Name(kernel.X32, number)
		if !ok {
			called = fmt.Sprint(number)
		}
		acts[fmt.Sprintf("number:%d", number)] = called + " (x32)"
		if own, ok := kernel.Number(kernel.X32, name); ok {
			control = append(control, "x32:"+name)
			if own != number {
				acts["x32:"+name] = name + " (x32)"
			}
		}
		if _, ok := kernel.Number(kernel.I386, name); ok {
			control = append(control, "i386:"+name)
			acts["i386:"+name] = name + " (386)"
		}
	}
	if len(acts) < 150 {
		t.Errorf("%d acts only", len(acts))
	}
	all := slices.Sorted(maps.Keys(acts))
	for part := range slices.Chunk(all, (len(all)+3)/4) {
		t.Run("from "+part[0], func(t *testing.T) {
			t.Parallel()
			for _, act := range part {
				r, _ := forbidden(t, act)
				wantKilled(t, act, r, acts[act])
			}
		})
	}
	// Without a sandbox no filter kills: the kernel has the ABI and answers, or says ENOSYS or SIGSEGV.
	slices.Sort(control)
	without := outside(t, control...)
	answers := map[string]int{}
	for _, act := range control {
		o := without.of(act)
		if victim.SplitKilled(o) == "SIGSYS" {
			t.Errorf("%s outside: %v: this proves nothing", act, o)
		}
		abi, _, _ := strings.Cut(act, ":")
		if o.Err != "ENOSYS" && victim.SplitKilled(o) == "" {
			answers[abi]++
		}
	}
	// A number of an ABI that the kernel does not have is killed all the same.
	for _, abi := range []string{"x32", "i386"} {
		t.Logf("this kernel answers %d calls of %s without a filter", answers[abi], abi)
	}
}
