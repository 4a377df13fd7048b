package sandbox

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/seccomp"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
	"github.com/ringfence-go/ringfence/testing/victim"
)

// Facts about every call there is, and numbers that none has, by every way into the kernel: what happens is
// what the policy says.

// unconfined runs acts without a sandbox and without a filter, but in namespaces where what some calls make is
// gone with them.
func unconfined(t *testing.T, acts ...string) outcomes {
	t.Helper()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	cmd, err := victim.Outside(append([]string{"nonewprivs"}, acts...)...)
	if err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWIPC | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}},
	}
	return told(t, output(t, cmd))
}

// under runs acts as bare does, but with the filter of a policy. A filter of a sandbox's ends everything
// where it kills; one that the victim has loaded ends a child alone.
func under(t *testing.T, p *seccomp.Policy, acts ...string) outcomes {
	t.Helper()
	f, err := p.Compile(runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "filter")
	if err := os.WriteFile(file, f.Raw(), 0o600); err != nil {
		t.Fatal(err)
	}
	got := unconfined(t, append([]string{"filter:" + file}, acts...)...)
	got.want("filter:"+file, "ok")
	return got
}

// Without the filter each call is the kernel's to answer, which is the control: what the policy refuses ends
// otherwise, and what it allows ends as it would. Seen to fail with a rule in front of the sandbox's policy that
// allows ptrace ("ptrace: ESRCH, want EPERM"), and with a BadArch that is an error ("want killed by SIGSYS").
func TestEveryCallByEveryABIMeetsThePolicy(t *testing.T) {
	t.Parallel()
	if len(victim.Gates()) == 0 {
		sandboxtest.Skip(t, "gates", "there is no assembly for calls of "+runtime.GOARCH)
	}
	for _, gate := range victim.Gates() {
		t.Run(gate, func(t *testing.T) {
			t.Parallel()
			every := "every:" + gate
			switch {
			case gate == victim.Native:
				meetsPolicy(t, gate, unconfined(t, every), under(t, seccomp.Default(), every))
				meetsPolicy(t, gate, inside(t, noFilter, every), inside(t, nil, every))
			case gate == "vsyscall":
				without := unconfined(t, every)
				meetsPolicy(t, gate, without, under(t, seccomp.Default(), every))
				vsyscallIsSeen(t, without)
			case !leadsIn(t, gate) && gate != "x32": // x32 is killed for by its numbers
				t.Logf("%s does not lead into this kernel", gate)
			default:
				isKilled(t, gate, unconfined(t, every), under(t, seccomp.Default(), every))
				isForeign(t, gate, inside(t, foreignAnswers(unix.EDOTDOT), every))
			}
		})
	}
}

// leadsIn says whether a call can be made by a gate: processors of Intel have sysenter, those of AMD syscall
// in 32-bit mode, and a kernel may have no programs of 32 bits.
func leadsIn(t *testing.T, gate string) bool {
	t.Helper()
	got := unconfined(t, "by:"+gate+",exit_group").of(gate + " exit_group")
	return got.Err == "errno 255" // its argument is -1
}

// meetsPolicy holds what became of the calls of a gate that are the architecture's own against the policy.
func meetsPolicy(t *testing.T, gate string, without, with outcomes) {
	t.Helper()
	p := seccomp.Default()
	f, err := p.Compile(runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	var allowed, refused, answered int
	for _, c := range victim.Tries(gate) {
		act, d := c.Act(gate), seccomp.Data{Nr: int32(c.Number), Arch: c.Arch.AuditArch(), Args: c.Args}
		action := p.Decide(d, runtime.GOARCH)
		if got := f.Eval(d); got != action {
			t.Errorf("%s: the filter says %v, the policy %v", act, got, action)
		}
		got, free := with.of(act), without.of(act)
		if free.Err != "ENOSYS" {
			answered++
		}
		if action == seccomp.Allow {
			allowed++
			if got.Err != free.Err {
				t.Errorf("%s is allowed: %v, without the filter %v", act, got, free)
			}
			continue
		}
		refused++
		want := errnoName(t, action)
		if got.Err != want {
			t.Errorf("%s: %v, want %s", act, got, want)
		}
		if free.Err == want && c.Name != "" && !slices.Contains(saysTheSame, c.Name) {
			t.Errorf("%s: %s without the filter too: this proves nothing", act, want)
		}
	}
	t.Logf("%s: %d calls are allowed, %d refused; without a filter the kernel answers %d", gate, allowed, refused, answered)
}

// isKilled checks that every call by a foreign gate ends its process.
func isKilled(t *testing.T, gate string, without, with outcomes) {
	t.Helper()
	answered := 0
	for _, c := range victim.Tries(gate) {
		act := c.Act(gate)
		with.want(act, "killed by SIGSYS")
		switch free := without.of(act).Err; free {
		case "killed by SIGSYS":
			t.Errorf("%s: killed without the filter too: this proves nothing", act)
		case "ENOSYS":
		default:
			answered++
		}
	}
	t.Logf("%s: %d calls are killed; without a filter the kernel answers %d", gate, len(victim.Tries(gate)), answered)
}

// foreignAnswers makes the default policy answer calls of foreign ABIs with an error that the kernel has
// for nothing, so that a whole list can be tried in one sandbox.
func foreignAnswers(errno syscall.Errno) func(*Spec) {
	return func(s *Spec) {
		s.Seccomp = seccomp.Default()
		s.Seccomp.BadArch = seccomp.Errno(errno)
	}
}

// isForeign checks that a sandbox's own filter takes every call by a gate for foreign.
func isForeign(t *testing.T, gate string, with outcomes) {
	t.Helper()
	var arch string
	for _, c := range victim.Tries(gate) {
		arch = string(c.Arch)
		if gate == "int80" || gate == "x32" {
			with.want(c.Act(gate), "EDOTDOT")
			continue
		}
		// There is no way back from the others; a call that is not made does not end the process as it would.
		if got := with.of(c.Act(gate)); got.Err != "killed by SIGSEGV" {
			t.Errorf("%s: %v, want it not made", c.Act(gate), got)
		}
	}
	// As it is by default: one such call ends the run.
	exit := "by:" + gate + ",exit_group"
	r, _ := forbidden(t, exit)
	wantKilled(t, exit, r, "exit_group ("+arch+")")
}

// vsyscallIsSeen checks that a filter refuses calls also by the page of vsyscalls.
func vsyscallIsSeen(t *testing.T, without outcomes) {
	t.Helper()
	if !without.of("vsyscall time").OK() {
		t.Log("this kernel has no page of vsyscalls")
		return
	}
	p := seccomp.Default()
	p.Rules = append([]seccomp.Rule{{Names: []string{"gettimeofday", "time", "getcpu"}, Action: seccomp.Errno(unix.EDOTDOT)}}, p.Rules...)
	got := under(t, p, "every:vsyscall")
	for _, c := range victim.Tries("vsyscall") {
		got.want(c.Act("vsyscall"), "EDOTDOT")
	}
}
