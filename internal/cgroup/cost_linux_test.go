package cgroup

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// fileCalls are those by which cgroups are made, filled, read and removed; the runtime's own are not among them.
const fileCalls = "openat,read,pread64,write,close,mkdirat,unlinkat,faccessat,faccessat2,flock,fcntl,fstatfs"

// What a cgroup costs is counted, since time means little in a virtual machine: one with three limits, from
// making to removing it, in system calls.
func TestCgroupTakesFewSystemCalls(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.CgroupV2(), sandboxtest.Program("strace"))
	tree := findTree(t, Memory, Pids, CPU, IO)
	if !tree.keepsPeaks(t) {
		t.Log("this kernel keeps no peaks: what is used has to be read as well, and to be sampled")
	}
	count := func(n int) map[string]int {
		t.Helper()
		out := filepath.Join(t.TempDir(), "calls")
		cmd := exec.Command("strace", "-f", "-c", "-U", "calls,name", "-e", "trace="+fileCalls, "-o", out, "/proc/self/exe")
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Args[len(cmd.Args)-1] = exe
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=cycle %s %d", helperEnv, tree.Path(), n))
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, said)
		}
		table, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		calls := map[string]int{}
		for line := range bytes.Lines(table) {
			if f := strings.Fields(string(line)); len(f) == 2 {
				if n, err := strconv.Atoi(f[0]); err == nil && f[1] != "total" {
					calls[f[1]] = n
				}
			}
		}
		return calls
	}
	const few, many = 10, 60
	before, after := count(few), count(many)
	var sum float64
	var list []string
	for name := range strings.SplitSeq(fileCalls, ",") {
		if each := float64(after[name]-before[name]) / (many - few); each != 0 {
			sum += each
			list = append(list, fmt.Sprintf("%s %.1f", name, each))
		}
	}
	t.Logf("%.1f a cgroup: %s", sum, strings.Join(list, ", "))
	// Ten files to read and four limits and a half to write, three calls each, and what is around them.
	const most = 58
	if tree.keepsPeaks(t) && (sum > most || sum < most/2) {
		t.Errorf("%.1f system calls, want %d at most", sum, most)
	}
}

// keepsPeaks reports whether the kernel does.
func (t *Tree) keepsPeaks(tb testing.TB) bool {
	l := newLeaf(tb, t, Limits{})
	return l.dir.has("memory.peak") && l.dir.has("pids.peak")
}
