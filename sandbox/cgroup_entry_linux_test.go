package sandbox

import (
	"context"
	"encoding/json"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A filter such as that of a container may answer ENOSYS to clone3(2), by which alone a process can be born in a
// cgroup. Then the caller moves the set-up there, which waits for that before all else: the limits hold as they
// would, and the Result says which way it was.
func TestCgroupIsEnteredWithoutClone3(t *testing.T) {
	subtree := subtreeOf(t)
	for kind, way := range map[string]string{"limited": "clone3(CLONE_INTO_CGROUP)", "limited without clone3": "cgroup.procs"} {
		cmd := caller(t, kind)
		cmd.Env = append(cmd.Env, cgroupVariable+"="+subtree)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", kind, err, out)
		}
		var r limitedRun
		if err := json.Unmarshal(out, &r); err != nil {
			t.Fatalf("%s: %v\n%s", kind, err, out)
		}
		if !strings.HasSuffix(r.Cgroup, ", "+way) {
			t.Errorf("%s: in %s, want %s", kind, r.Cgroup, way)
		}
		// PidsMax, PID 1 and its witness, and for a moment the stub.
		if r.Inside != "33554432\n9\n0::/\n" && r.Inside != "33554432\n10\n0::/\n" {
			t.Errorf("%s: limits inside are %q", kind, r.Inside)
		}
		if r.Bomb != OutOfMemory.String() {
			t.Errorf("%s: a program without bounds %s", kind, r.Bomb)
		}
	}
}

// subtreeOf returns the directory in which the cgroups of this program are, for others that it starts.
func subtreeOf(t testing.TB) string {
	t.Helper()
	var spec Spec
	inCgroup(t, Limits{})(&spec)
	where, err := place(t.Context(), &spec)
	if err != nil {
		t.Fatal(err)
	}
	return where.tree.Path()
}

func init() {
	callers["limited"] = callLimited
	callers["limited without clone3"] = func() error {
		if err := hideClone3(); err != nil {
			return err
		}
		return callLimited()
	}
}

// limitedRun is what a caller tells of its runs.
type limitedRun struct{ Cgroup, Inside, Bomb string }

func callLimited() error {
	ctx := context.Background()
	spec := Spec{
		Args:   []string{"cat", "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/pids.max", "/proc/self/cgroup"},
		Limits: Limits{MemoryMax: 32 << 20, PidsMax: 7}, Cgroup: CgroupOptions{MoveCaller: true},
	}
	var told limitedRun
	var out strings.Builder
	spec.Stdout = &out
	r, err := Run(ctx, spec)
	if err != nil {
		return err
	}
	told.Cgroup, told.Inside = by(r, Cgroup), out.String()
	spec.Args, spec.Stdout = []string{"dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"}, nil
	if r, err = Run(ctx, spec); err != nil {
		return err
	}
	told.Bomb = r.Ended.String()
	if err := ReleaseCgroups(ctx); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(told)
}

// hideClone3 makes clone3 unknown to this program, but for the set-up of sandboxes, which has its one page of
// code at an address where nothing of a Go program is. Without that exception there are no namespaces to be had,
// and the error says so.
func hideClone3() error {
	const (
		page          = 0x400000
		pageEnd       = 0x401000
		number        = 0 // struct seccomp_data of linux/seccomp.h
		pointer       = 8
		pointerHigher = 12
	)
	refuse := uint32(unix.SECCOMP_RET_ERRNO | unix.ENOSYS)
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: number},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_CLONE3, Jf: 6},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: pointerHigher},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 0, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: pointer},
		{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, K: pageEnd, Jt: 1},
		{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, K: page, Jt: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: refuse},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	runtime.LockOSThread() // whose no_new_privs the others get with the filter
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return setFilter(filter)
}
