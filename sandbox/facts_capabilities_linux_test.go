package sandbox

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/moby/sys/capability"

	"github.com/ringfence-go/ringfence/idmap"
)

// Facts about capabilities that the command keeps.

const (
	ownStatus     = "read:/proc/self/status"
	initStatus    = "read:/proc/1/task/1/status"
	witnessStatus = "read:/proc/1/task/3/status"
)

// wantCapabilities checks every set in a file such as proc_pid_status(5).
func wantCapabilities(t *testing.T, what, status string, want uint64) {
	t.Helper()
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		if line := fmt.Sprintf("%s:\t%016x\n", set, want); !strings.Contains(status, line) {
			_, after, _ := strings.Cut(status, set)
			got, _, _ := strings.Cut(after, "\n")
			t.Errorf("%s: %s%s, want %016x", what, set, got, want)
		}
	}
}

// everyCapability returns those of this kernel that have a name.
func everyCapability(t *testing.T) []capability.Cap {
	t.Helper()
	host, err := Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(capability.ListKnown(), func(c capability.Cap) bool { return int(c) > host.facts.LastCap })
}

func bits(caps []capability.Cap) (set uint64) {
	for _, c := range caps {
		set |= 1 << c
	}
	return set
}

// keepsExactly runs as somebody with different capabilities.
func keepsExactly(t *testing.T, as func(*Spec)) {
	t.Helper()
	for _, caps := range [][]capability.Cap{
		nil, {capability.CAP_NET_RAW}, {capability.CAP_SYS_ADMIN, capability.CAP_CHOWN, capability.CAP_CHOWN}, {capability.CAP_SETPCAP, capability.CAP_BPF}, everyCapability(t),
	} {
		got := inside(t, func(s *Spec) {
			as(s)
			s.Capabilities = caps
			s.Stdin = strings.NewReader("x") // which is there when PID 1 has dropped its own
		}, "await", ownStatus, initStatus, witnessStatus, "runas:"+"/proc/self/exe,"+ownStatus)
		wantCapabilities(t, fmt.Sprint(caps), got.of(ownStatus).Detail, bits(caps))
		wantCapabilities(t, "PID 1", got.of(initStatus).Detail, 0)
		wantCapabilities(t, "its witness", got.of(witnessStatus).Detail, 0)
		// What it executes has no more and no less.
		child := strings.ReplaceAll(got.of("runas:/proc/self/exe,"+ownStatus).Detail, `\t`, "\t")
		wantCapabilities(t, fmt.Sprint(caps, " in a child"), strings.ReplaceAll(child, `\n`, "\n"), bits(caps))
	}
}

func TestCapabilitiesAreExactlyThoseOfTheSpec(t *testing.T) {
	t.Parallel()
	keepsExactly(t, func(*Spec) {})
}

func TestCapabilitiesOfRootInsideAreExactlyThoseOfTheSpec(t *testing.T) {
	t.Parallel()
	keepsExactly(t, func(s *Spec) { s.UIDs, s.GIDs = idmap.Single(0, os.Geteuid()), idmap.Single(0, os.Getegid()) })
}

func TestRootCapabilitiesOfAnotherUserAreExactlyThoseOfTheSpec(t *testing.T) {
	from := func(first int, u User) func(*Spec) {
		m := idmap.Map{{ContainerID: first, HostID: 100000, Size: 1000}, {ContainerID: 5000, HostID: 200000, Size: 10}}
		return func(s *Spec) { s.UIDs, s.GIDs, s.User = m, m, &u }
	}
	for name, as := range map[string]func(*Spec){
		"from root":      from(0, User{UID: 33, GID: 34, Groups: []int{40}}),
		"root":           from(0, User{}),
		"its group":      from(0, User{GID: 34}),
		"other to other": from(7, User{UID: 5003, GID: 8}),
	} {
		t.Run(name, func(t *testing.T) { keepsExactly(t, as) })
	}
	back := idmap.Map{{ContainerID: 7, HostID: 100000, Size: 10}, {ContainerID: 0, HostID: 200000, Size: 1}}
	t.Run("to root", func(t *testing.T) { keepsExactly(t, func(s *Spec) { s.UIDs, s.GIDs, s.User = back, back, &User{} }) })
}

// A capability is a power over what the sandbox owns; without it there is none.
func TestCapabilitiesGiveWhatTheyAreFor(t *testing.T) {
	t.Parallel()
	raw := "socket:2,3,1" // AF_INET, SOCK_RAW, IPPROTO_ICMP
	inside(t, nil, raw).want(raw, "EPERM")
	inside(t, func(s *Spec) { s.Capabilities = []capability.Cap{capability.CAP_NET_RAW} }, raw).want(raw, "ok")
	inside(t, func(s *Spec) { s.Capabilities = []capability.Cap{capability.CAP_NET_ADMIN} }, raw).want(raw, "EPERM")
}

func every(t *testing.T) func(*Spec) {
	return func(s *Spec) { s.Capabilities = everyCapability(t) }
}

// The memory of PID 1 belongs to the parent's user namespace, and it is not dumpable.
func TestPayloadWithEveryCapabilityCannotReachItsInit(t *testing.T) {
	t.Parallel()
	var acts []string
	for _, pid := range []string{"1", "3"} {
		acts = append(acts, "attach:"+pid, "seize:"+pid, "vmread:"+pid)
	}
	for _, file := range []string{"mem", "environ", "maps", "auxv", "syscall", "stack"} {
		acts = append(acts, "read:/proc/1/"+file, "read:/proc/1/task/3/"+file)
	}
	for _, link := range []string{"exe", "cwd", "root", "ns/user", "ns/mnt", "fd/3"} {
		acts = append(acts, "readlink:/proc/1/"+link, "open:/proc/1/"+link)
	}
	acts = append(acts, "list:/proc/1/fd", "list:/proc/1/map_files", "openw:/proc/1/mem", "openw:/proc/1/uid_map")
	signals := []string{"kill:1,9", "kill:1,15", "pidfdkill:1,9", "kill:3,9"}
	r := reserve(t, 100)
	for name, as := range map[string]func(*Spec){
		"range":  withIDs(r, nil),
		"other":  withIDs(r, &User{UID: 7, GID: 8}),
		"own ID": func(*Spec) {},
		"root":   func(s *Spec) { s.UIDs, s.GIDs = idmap.Single(0, os.Geteuid()), idmap.Single(0, os.Getegid()) },
	} {
		got := inside(t, func(s *Spec) { as(s); every(t)(s); noFilter(s) }, slices.Concat(acts, signals, []string{"print:alive"})...)
		for _, act := range acts {
			if got.of(act).OK() {
				t.Errorf("%s: %s: %v", name, act, got.of(act))
			}
		}
		got.want("print:alive", "ok")
	}
	control := inside(t, noFilter, "read:/proc/self/maps", "readlink:/proc/self/exe", "list:/proc/self/fd")
	for act := range control.all {
		control.want(act, "ok")
	}
}

func TestPayloadWithEveryCapabilityCannotReachTheHost(t *testing.T) {
	t.Parallel()
	path, _ := hostSecret(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dial := "dial:tcp," + l.Addr().String()
	self := "kill:" + strconv.Itoa(os.Getpid()) + ",0"
	acts := []string{"read:" + path, dial, self}
	got := inside(t, func(s *Spec) { every(t)(s); noFilter(s) }, append(acts, "setuid:0", "setgroups:0", "mknod:/tmp/null", "create:/usr/made", "openw:/proc/sys/kernel/core_pattern", "interfaces")...)
	got.want("read:"+path, "ENOENT")
	got.want(dial, "ECONNREFUSED")
	got.want(self, "ESRCH")
	got.want("setuid:0", "EINVAL") // nobody inside
	got.want("setgroups:0", "EPERM", "EINVAL")
	got.want("mknod:/tmp/null", "EPERM")
	got.want("create:/usr/made", "EROFS")
	got.want("openw:/proc/sys/kernel/core_pattern", "EROFS", "EACCES")
	control := outside(t, acts...)
	for _, act := range acts {
		control.want(act, "ok")
	}
}

func TestCapabilityToMountDoesNotPassTheDefaultFilter(t *testing.T) {
	t.Parallel()
	admin := func(s *Spec) { s.Capabilities = []capability.Cap{capability.CAP_SYS_ADMIN} }
	acts := []string{"call:mount", "call:umount2", "call:move_mount", "call:fsopen", "call:setns", "call:unshare", "call:pivot_root", "call:bpf", "call:open_by_handle_at"}
	got := inside(t, admin, acts...)
	for _, act := range acts {
		got.want(act, "EPERM", "ENOSYS")
	}
	const script = "mount -t tmpfs none /tmp && grep -c ' /tmp tmpfs ' /proc/mounts; true"
	if out := shell(t, admin, script+"; :"); out != "" {
		t.Errorf("mounted: %q", out)
	}
	// With a policy that allows it, it does what it is for.
	asRoot := func(s *Spec) {
		admin(s)
		noFilter(s)
		s.UIDs, s.GIDs = idmap.Single(0, os.Geteuid()), idmap.Single(0, os.Getegid())
	}
	if out := shell(t, asRoot, script); out != "2\n" {
		t.Errorf("the control: %q, want two mounts on /tmp", out)
	}
}

func TestCapabilityThatTheKernelLacks(t *testing.T) {
	host := pretendHost("amd64", 1000)
	host.facts.LastCap = int(capability.CAP_BPF) - 1
	spec := Spec{Args: []string{"true"}, Capabilities: []capability.Cap{capability.CAP_BPF, capability.CAP_CHOWN, capability.CAP_CHECKPOINT_RESTORE}}
	_, err := Compile(spec, host)
	var missing *UnsupportedError
	if !errors.As(err, &missing) || missing.Feature != Capabilities {
		t.Fatalf("%v, want an *UnsupportedError", err)
	}
	const want = "sandbox: capabilities is not supported here: it needs a kernel with CAP_BPF, whose highest is CAP_PERFMON (leave it out of Capabilities)\n" +
		"sandbox: capabilities is not supported here: it needs a kernel with CAP_CHECKPOINT_RESTORE, whose highest is CAP_PERFMON (leave it out of Capabilities)"
	if err.Error() != want {
		t.Errorf("%q\nwant %q", err, want)
	}
	spec.AllowMissing = []Feature{Capabilities}
	r := &resolved{facts: host.facts} // a plan for such a kernel is refused for another reason: it is too old
	if err := r.resolveCapabilities(&spec, host); err != nil || r.capabilities != 1<<capability.CAP_CHOWN || !slices.Contains(r.missing, Capabilities) {
		t.Errorf("keeps %#x, without %v: %v", r.capabilities, r.missing, err)
	}
}

func TestResultSaysWhichCapabilitiesWereKept(t *testing.T) {
	t.Parallel()
	spec := victimSpec(t, "nothing")
	for _, test := range []struct {
		caps []capability.Cap
		want string
	}{
		{nil, "capset and bounding set, all empty"},
		{[]capability.Cap{capability.CAP_NET_RAW, capability.CAP_CHOWN}, "capset, bounding and ambient set, of its user namespace: CAP_CHOWN CAP_NET_RAW"},
	} {
		spec.Capabilities = test.caps
		r, err := Run(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(r.Enforced, Enforcement{Capabilities, test.want}) {
			t.Errorf("%v: %v", test.caps, r.Enforced)
		}
	}
}
