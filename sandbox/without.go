//go:build linux

package sandbox

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/seccomp"
)

// What the command's filter takes over from a namespace that the host cannot give, where the Spec allows that.
// Without one the command shares the host's, and what is in it is for nobody to reach.

// stands is what stands for a missing namespace: rules before all others of the policy, so that none of those
// opens what they close.
var stands = map[Feature]struct {
	rules []seccomp.Rule
	by    string
}{
	NetworkNamespace: {socketsRefused(), "which refuse sockets"},
	IPCNamespace: {[]seccomp.Rule{{
		// What a kernel without them answers.
		Action: seccomp.Errno(unix.ENOSYS),
		Names: []string{
			"shmget", "shmat", "shmdt", "shmctl", "semget", "semop", "semtimedop", "semctl", "msgget", "msgsnd", "msgrcv", "msgctl",
			"mq_open", "mq_unlink",
		},
	}}, "which refuse System V IPC and message queues"},
}

// socketsRefused leaves the pairs of connected sockets that programs have instead of pipes. Datagrams are none: with
// an address they go to any socket of the host's, the abstract ones too (unix_dgram_sendmsg in net/unix/af_unix.c).
// A bound socket of a pair would take a name of the host's away. io_uring(7) makes sockets past every filter.
func socketsRefused() []seccomp.Rule {
	const sockTypeMask = 0xf // linux/net.h: SOCK_TYPE_MASK
	family := seccomp.Arg{Index: 0, Op: seccomp.Equal, Value: unix.AF_UNIX, Mask: seccomp.Low32}
	refused := func(errno unix.Errno, names ...string) seccomp.Rule {
		return seccomp.Rule{Names: names, Action: seccomp.Errno(errno)}
	}
	rules := []seccomp.Rule{
		refused(unix.EAFNOSUPPORT, "socket"),
		refused(unix.EACCES, "bind"),
		refused(unix.ENOSYS, "io_uring_setup", "io_uring_enter", "io_uring_register"),
	}
	for _, t := range []uint64{unix.SOCK_STREAM, unix.SOCK_SEQPACKET} {
		rules = append(rules, seccomp.Rule{Names: []string{"socketpair"}, Action: seccomp.Allow, Args: []seccomp.Arg{
			family, {Index: 1, Op: seccomp.Equal, Value: t, Mask: sockTypeMask},
		}})
	}
	return append(rules, refused(unix.EAFNOSUPPORT, "socketpair"))
}

// without returns the features of namespaces that the sandbox does without, as the Spec allows: the kernel does not
// have them, or the user may make none. Of what else keeps one from being made the kernel's error tells.
func without(spec *Spec, host *Host) []Feature {
	_, hostNet := spec.Network.(HostNetwork)
	var all []Feature
	for _, ns := range namespaces {
		forbidden := slices.Contains(host.facts.Forbidden, ns.name)
		wanted := ns.feature != NetworkNamespace || !hostNet
		if wanted && !ns.essential() && (forbidden || !host.has(ns.name)) && slices.Contains(spec.AllowMissing, ns.feature) {
			all = append(all, ns.feature)
		}
	}
	return all
}

// essential reports whether nothing can be built without a namespace of this kind.
func (ns namespaceKind) essential() bool {
	return ns.feature == UserNamespace || ns.feature == MountNamespace || ns.feature == PIDNamespace
}

// forbidden tells of which kind of namespace the user may have none, if that is why clone3(2) refused: it says so of
// all kinds with one errno.
func (r *resolved) forbidden(cause error) error {
	if !usedUp(cause) {
		return nil
	}
	var all []error
	for _, ns := range namespaces {
		if r.namespaces&ns.flag != 0 && slices.Contains(r.facts.Forbidden, ns.name) {
			all = append(all, &UnsupportedError{Feature: ns.feature, Needs: "a host that lets this user make " + string(ns.feature) + "s",
				Remedy: "raise sysctl user.max_" + ns.name + "_namespaces, which is 0", Err: cause})
		}
	}
	return errors.Join(all...)
}

// closed returns p with what stands for the features that are missing. nil is the default policy, and stays nil
// where there is nothing to add.
func closed(p *seccomp.Policy, missing []Feature) *seccomp.Policy {
	var rules []seccomp.Rule
	for _, f := range missing {
		rules = append(rules, stands[f].rules...)
	}
	if rules == nil {
		return p
	}
	if p == nil {
		p = defaultPolicy()
	}
	t := *p
	t.Rules = slices.Concat(rules, p.Rules)
	if t.BadArch == seccomp.Notify {
		t.BadArch = seccomp.KillProcess // or a Supervisor would let through by another ABI what the rules refuse
	}
	return &t
}

// standsFor says what the filter stands for.
func standsFor(missing []Feature) string {
	text := ""
	for _, f := range missing {
		if by := stands[f].by; by != "" {
			text += ", " + by
		}
	}
	return text
}
