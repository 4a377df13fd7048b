package sandbox

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/idmap"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
	"github.com/ringfence-go/ringfence/testing/victim"
)

// Facts about ways out that are known from elsewhere. Each is tried with the filter, and without it, with
// every capability that there is inside: then the kernel itself says no.

// unbound is a sandbox without a filter whose command has every capability.
func unbound(t *testing.T) func(*Spec) {
	return func(s *Spec) { every(t)(s); noFilter(s) }
}

// Out of a jail of chroot(2) the act does lead, which is the control: it ends at the sandbox's root.
func TestPayloadCannotLeaveItsRootByChroot(t *testing.T) {
	t.Parallel()
	file, _ := hostSecret(t)
	acts := []string{"chrootescape", "list:/", "read:" + file, "read:/.." + file}
	got := inside(t, unbound(t), acts...)
	if o := got.of("chrootescape"); !o.OK() || o.Detail != "inner" {
		t.Errorf("in the jail: %v", o)
	}
	if o := got.of("list:/"); !strings.Contains(" "+o.Detail+" ", " victim ") {
		t.Errorf("after the escape from the jail: %v, want the root of the sandbox", o)
	}
	got.want("read:"+file, "ENOENT")
	got.want("read:/.."+file, "ENOENT")
	inside(t, nil, acts[:1]...).want("chrootescape", "EPERM")
}

// A handle opens a file past every mount, for whoever may (CAP_DAC_READ_SEARCH of the host): a bind of one
// directory would give all files of its file system.
func TestRootPayloadCannotOpenByHandle(t *testing.T) {
	dir := t.TempDir()
	file, public := filepath.Join(dir, "secret"), filepath.Join(dir, "public")
	if err := os.WriteFile(file, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(public, 0o755); err != nil {
		t.Fatal(err)
	}
	h := outside(t, "handle:"+file).of("handle:" + file)
	if !h.OK() {
		sandboxtest.Skip(t, "file-handles", "the file system of "+dir+" has no handles: "+h.Err)
	}
	if o := outside(t, "byhandle:"+public+","+h.Detail).of("byhandle:" + public + "," + h.Detail); o.Detail != "secret" {
		t.Errorf("outside: %v: this proves nothing", o)
	}
	bind := func(s *Spec) { s.Mounts = append(s.Mounts, Mount{Source: public, Target: "/public"}) }
	act := "byhandle:/public," + h.Detail
	inside(t, bind, act).want(act, "EPERM")
	inside(t, func(s *Spec) { unbound(t)(s); bind(s) }, act).want(act, "EPERM")
}

func TestRootPayloadCannotMakeDevices(t *testing.T) {
	act := "mknod:" + filepath.Join(t.TempDir(), "null")
	outside(t, act).want(act, "ok")
	got := inside(t, unbound(t), "mknod:/tmp/null", "mknod:/dev/shm/null")
	got.want("mknod:/tmp/null", "EPERM")
	got.want("mknod:/dev/shm/null", "EPERM")
}

func TestRootFileCapabilitiesGiveNothingInside(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "capable")
	copyFile(t, self, file)
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// struct vfs_cap_data of linux/capability.h, version 2, effective: CAP_NET_RAW and CAP_SYS_ADMIN.
	data := binary.LittleEndian.AppendUint32(nil, 0x02000001)
	data = append(binary.LittleEndian.AppendUint32(data, 1<<unix.CAP_NET_RAW|1<<unix.CAP_SYS_ADMIN), make([]byte, 12)...)
	if err := unix.Setxattr(file, "security.capability", data, 0); err != nil {
		t.Fatal(err)
	}
	const none = `CapEff:\t0000000000000000`
	for name, change := range map[string]func(*Spec){"default": func(*Spec) {}, "no filter": noFilter} {
		act := "runas:/b/capable,read:/proc/self/status"
		got := inside(t, func(s *Spec) {
			change(s)
			s.UIDs, s.GIDs, s.User = idmap.Map{{ContainerID: 0, HostID: 0, Size: 65536}}, idmap.Map{{ContainerID: 0, HostID: 0, Size: 65536}}, &User{UID: 33, GID: 33}
			s.Mounts = append(s.Mounts, Mount{Source: dir, Target: "/b"})
		}, act).of(act)
		if !got.OK() || !strings.Contains(got.Detail, none) {
			t.Errorf("%s: %.300v, want no capability", name, got)
		}
	}
	cmd := exec.Command(file, "read:/proc/self/status")
	cmd.Args[0] = victim.Path
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 33, Gid: 33}}
	if out := output(t, cmd); bytes.Contains(out, []byte(none)) {
		t.Errorf("outside it has no capability either: this proves nothing: %s", out)
	}
}

// newNamespaces are the flags of clone(2), unshare(2) and clone3(2) for namespaces.
var newNamespaces = map[string]int{
	"mnt": unix.CLONE_NEWNS, "cgroup": unix.CLONE_NEWCGROUP, "uts": unix.CLONE_NEWUTS, "ipc": unix.CLONE_NEWIPC,
	"user": unix.CLONE_NEWUSER, "pid": unix.CLONE_NEWPID, "net": unix.CLONE_NEWNET, "time": unix.CLONE_NEWTIME,
}

// A filter cannot see the flags of clone3, so that it is refused as a whole, as if the kernel did not have it.
func TestPayloadCannotMakeNamespaces(t *testing.T) {
	t.Parallel()
	if len(victim.Gates()) == 0 {
		sandboxtest.Skip(t, "gates", "there is no assembly to make calls in a child")
	}
	var acts []string
	wants := map[string]string{}
	for name, flag := range newNamespaces {
		for _, with := range []int{0, unix.CLONE_NEWUSER} {
			calls := map[string]string{fmt.Sprintf("child:unshare,%d", flag|with): "EPERM", fmt.Sprintf("clone3:%d", flag|with): "ENOSYS"}
			if name != "time" { // clone(2) has the signal in its bits
				calls[fmt.Sprintf("child:clone,%d", flag|with|int(unix.SIGCHLD))] = "EPERM"
			}
			for act, want := range calls {
				acts, wants[act] = append(acts, act), want
			}
		}
	}
	plain := []string{"child:unshare," + fmt.Sprint(unix.CLONE_FS), fmt.Sprintf("child:clone,%d", unix.SIGCHLD)}
	got, control := inside(t, nil, append(acts, plain...)...), inside(t, noFilter, acts...)
	for _, act := range acts {
		got.want(act, wants[act])
	}
	for _, act := range plain {
		got.want(act, "ok")
	}
	for name, flag := range newNamespaces { // with a user namespace of its own everybody may make the rest
		flag |= unix.CLONE_NEWUSER
		control.want(fmt.Sprintf("child:unshare,%d", flag), "ok")
		control.want(fmt.Sprintf("clone3:%d", flag), "ok")
		if name != "time" {
			control.want(fmt.Sprintf("child:clone,%d", flag|int(unix.SIGCHLD)), "ok")
		}
	}
}

// Of its own namespaces a process has descriptors; of PID 1's, which are the same, it gets none.
func TestPayloadCannotEnterNamespaces(t *testing.T) {
	t.Parallel()
	var own, all []string
	for _, name := range []string{"mnt", "cgroup", "uts", "ipc", "user", "pid", "net", "time"} {
		own = append(own, "setns:/proc/self/ns/"+name)
		all = append(all, "setns:/proc/1/ns/"+name)
	}
	all = append(all, own...)
	for name, got := range map[string]outcomes{"default": inside(t, nil, all...), "no filter": inside(t, noFilter, all...)} {
		for _, act := range all {
			if got.of(act).OK() {
				t.Errorf("%s: %s: %v", name, act, got.of(act))
			}
		}
	}
	// The control: whoever has the capabilities enters its own.
	control := inside(t, unbound(t), own...)
	control.want("setns:/proc/self/ns/net", "ok")
	control.want("setns:/proc/self/ns/uts", "ok")
}

func TestPayloadCannotWriteIntoOtherProcesses(t *testing.T) {
	t.Parallel()
	const ptracer = 0x59616d61 // PR_SET_PTRACER, linux/prctl.h: who may trace under Yama
	anybody := fmt.Sprintf("prctl:%d,-1", ptracer)
	pid1 := []string{"vmwrite:1", "vmread:1", "getfd:1,0", "getfd:1,3", "attach:1", "seize:1"}
	own := []string{"vmwrite:0", "getfd:0,0"}
	got := inside(t, nil, append(append([]string{anybody}, pid1...), own...)...)
	without := inside(t, func(s *Spec) { noFilter(s); s.Stdin = strings.NewReader("x") }, append(append([]string{"await", anybody}, pid1...), own...)...)
	for _, act := range pid1 {
		got.want(act, "EPERM")
		without.want(act, "EPERM")
	}
	for _, act := range own {
		got.want(act, "EPERM")
		without.want(act, "ok") // the control
	}
}

// What /proc/self/mem lets a process write to is its own copy.
func TestPayloadCannotWriteThroughItsMemory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	before := bytes.Repeat([]byte("x"), 4096)
	if err := os.WriteFile(file, before, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o666); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Spec){"default": func(*Spec) {}, "unbound": unbound(t)} {
		got := inside(t, func(s *Spec) {
			change(s)
			s.Mounts = append(s.Mounts, Mount{Source: dir, Target: "/b"})
		}, "forcewrite:/b/file", "forcewrite:/victim", "read:/b/file")
		// Some kernels are set to refuse it altogether (proc_mem.force_override).
		if o := got.of("forcewrite:/b/file"); !strings.HasPrefix(o.Detail, "private=") || strings.Contains(o.Detail, "shared=by the victim") {
			t.Errorf("%s: %v", name, o)
		}
		if o := got.of("read:/b/file"); o.Detail != string(before) {
			t.Errorf("%s: the file inside holds %.20q", name, o.Detail)
		}
		if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, before) {
			t.Errorf("%s: the file holds %.20q, %v", name, now, err)
		}
	}
	control := inside(t, func(s *Spec) { s.Mounts = append(s.Mounts, Mount{Source: dir, Target: "/b", Writable: true}) }, "create:/b/file")
	if now, err := os.ReadFile(file); err != nil || bytes.Equal(now, before) || !control.of("create:/b/file").OK() {
		t.Errorf("a writable bind: %.20q, %v: this proves nothing", now, err)
	}
}

// A program that is in memory alone is as confined as any other.
func TestPayloadInMemoryIsConfinedToo(t *testing.T) {
	t.Parallel()
	for _, act := range []string{"read:/proc/self/status", "call:ptrace", "fds"} {
		got := inside(t, nil, "memfdexec:"+act).of("memfdexec:" + act)
		all, err := victim.Parse([]byte(got.Detail))
		if err != nil || !got.OK() {
			t.Fatalf("%s: %v, %v", act, got, err)
		}
		switch o := all[act]; act {
		case "call:ptrace":
			if o.Err != "EPERM" {
				t.Errorf("%s: %v", act, o)
			}
		case "fds":
			if o.Detail != "0 1 2" {
				t.Errorf("%s: %v", act, o)
			}
		default:
			for _, line := range []string{"NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000"} {
				if !strings.Contains(o.Detail, line+"\n") {
					t.Errorf("no %q", line)
				}
			}
		}
	}
}

// ADDR_NO_RANDOMIZE and READ_IMPLIES_EXEC of linux/personality.h.
func TestPayloadCannotWeakenItsAddressSpace(t *testing.T) {
	t.Parallel()
	acts := []string{fmt.Sprint("personality:", 0x0040000), fmt.Sprint("personality:", 0x0400000)}
	got, control := inside(t, nil, acts...), inside(t, noFilter, acts...)
	for _, act := range acts {
		got.want(act, "EPERM")
		control.want(act, "ok")
	}
}

// Two sandboxes meet where their Specs let them: at a socket in a directory that both may write to, one hands
// the other a descriptor. Nowhere else.
func TestDescriptorsPassOnlyThroughASharedBind(t *testing.T) {
	t.Parallel()
	shared := t.TempDir()
	bind := func(s *Spec) { s.Mounts = append(s.Mounts, Mount{Source: shared, Target: "/shared", Writable: true}) }
	for name, test := range map[string]struct {
		socket string
		change func(*Spec)
		want   string
	}{
		"a shared bind":  {"/shared/socket", bind, "ok"},
		"/tmp":           {"/tmp/socket", func(*Spec) {}, "ENOENT"},
		"/dev/shm":       {"/dev/shm/socket", func(*Spec) {}, "ENOENT"},
		"abstract":       {fmt.Sprintf("@ringfence-rights-%d", os.Getpid()), func(*Spec) {}, "ECONNREFUSED"},
		"the other's fd": {"/proc/2/root/tmp/socket", func(*Spec) {}, "ENOENT"},
	} {
		sender := victimSpec(t, "create:/tmp/mine", "sendfd:"+test.socket+",/tmp/mine")
		test.change(&sender)
		c := Command(t.Context(), sender)
		stdout, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		told := newLines(stdout)
		told.next(t)
		if o := told.next(t); o.Act != "listening" {
			t.Fatalf("%s: %v", name, o)
		}
		act := "recvfd:" + test.socket
		got := inside(t, test.change, act)
		got.want(act, test.want)
		if o := got.of(act); o.OK() && o.Detail != "made by the victim" {
			t.Errorf("%s: %v", name, o)
		}
		if err := c.Signal(unix.SIGKILL); err != nil && test.want != "ok" {
			t.Error(err)
		}
		if _, err := c.Wait(); err != nil {
			t.Error(err)
		}
	}
}
