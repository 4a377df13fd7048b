package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/cgroup"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// Facts about what a Result says was used: others that count come to the same.

// gnuTime is the requirement that there is GNU time, of which busybox has a likeness.
func gnuTime() sandboxtest.Requirement {
	return sandboxtest.Requirement{Name: "time", Check: func() error {
		out, err := exec.Command("/usr/bin/time", "--version").CombinedOutput()
		if err == nil && !bytes.Contains(out, []byte("GNU")) {
			err = errors.New("/usr/bin/time is another program")
		}
		return err
	}}
}

// What a command used is what GNU time says of the same run, with and without a cgroup.
func TestUsageIsThatOfGNUTime(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.UserNamespaces(), gnuTime())
	ways := map[string]func(*Spec){"no cgroup": func(*Spec) {}}
	if sandboxtest.CgroupV2().Check() == nil {
		ways["a cgroup"] = inCgroup(t, Limits{})
	}
	for name, change := range ways {
		var said bytes.Buffer
		// 64 MiB of memory of its own, and time of both kinds.
		const work = "dd if=/dev/zero of=/dev/null bs=64M count=30 2>/dev/null; i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"
		spec := Spec{Args: []string{"/usr/bin/time", "-q", "-f", "%U %S %M", "sh", "-c", work}, Stderr: &said}
		change(&spec)
		r, err := Run(t.Context(), spec)
		if err != nil || r.Err() != nil {
			t.Fatal(r, err, said.String())
		}
		var user, system, kib float64 // seconds, seconds, KiB
		if _, err := fmt.Sscan(said.String(), &user, &system, &kib); err != nil {
			t.Fatalf("%v: %q", err, said.String())
		}
		u := r.Usage
		t.Logf("%s: %v user, %v system, %d KiB; GNU time says %s", name, u.User, u.System, u.MemoryPeak>>10, said.String())
		// Both end at ticks of 10 ms, and here is the set-up too, or time itself. Which kind of time it was, the
		// kernel shares out by samples where it counts for a process.
		const tick = 10 * time.Millisecond
		theirs := time.Duration((user + system) * float64(time.Second))
		if own := u.User + u.System; own < theirs-2*tick || own > theirs+theirs/10+sandboxtest.Slow(50*time.Millisecond) {
			t.Errorf("%s: %v of processor time, GNU time says %v", name, own, theirs)
		}
		// A cgroup's peak has the memory of the kernel and of all processes, and the files that were read.
		peak, most := float64(u.MemoryPeak)/1024, kib*1.02
		if name == "a cgroup" {
			most = kib + 32<<10
		}
		if peak < 64<<10 || peak < kib*0.9 || peak > most {
			t.Errorf("%s: a peak of %.0f KiB, GNU time says %.0f", name, peak, kib)
		}
	}
}

// What Stats and Result say are the kernel's own numbers. Of what stands still they are the same to the last one.
func TestCgroupUsageIsThatOfTheKernelsFiles(t *testing.T) {
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	disk := os.Getenv("RINGFENCE_VM_DISK")
	script := "dd if=/dev/zero of=/dev/shm/x bs=1M count=20 2>/dev/null; (exit 3); "
	if disk != "" {
		script += "dd if=/dev/zero of=/disk/x bs=64k count=16 oflag=direct 2>/dev/null || dd if=/dev/zero of=/disk/x bs=64k count=16 conv=fsync; "
	}
	spec := Spec{Args: []string{"sh", "-c", script + "echo; read x; exit 5"}, Stdin: in}
	if disk != "" {
		dir, err := os.MkdirTemp(disk, "usage")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		spec.Mounts = []Mount{{Source: dir, Target: "/disk", Writable: true}}
	}
	inCgroup(t, Limits{MemoryMax: 64 << 20, PidsMax: 8, CPUMax: 1})(&spec)
	c := Command(t.Context(), spec)
	ready, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(ready, make([]byte, 1)); err != nil {
		t.Error(err)
	}
	if err := c.Pause(); err != nil {
		t.Fatal(err)
	}
	s := stats(t, c)
	leaf := c.cell.leaf.Path()
	us := func(d time.Duration) int64 { return int64(d / time.Microsecond) }
	for _, n := range []struct {
		file, key string
		got       int64
	}{
		{"cpu.stat", "user_usec", us(s.User)}, {"cpu.stat", "system_usec", us(s.System)}, {"cpu.stat", "throttled_usec", us(s.Throttled)},
		{"memory.current", "", s.Memory}, {"memory.peak", "", s.MemoryPeak},
		{"memory.swap.current", "", s.Swap}, {"memory.swap.peak", "", s.SwapPeak},
		{"pids.current", "", s.Pids + c.cell.overhead}, {"pids.peak", "", s.PidsPeak + c.cell.overhead}, {"pids.events", "max", s.PidsMaxEvents},
		{"io.stat", "rbytes", s.ReadBytes}, {"io.stat", "wbytes", s.WriteBytes}, {"io.stat", "rios", s.ReadOps}, {"io.stat", "wios", s.WriteOps},
	} {
		want, known := kernelSays(t, filepath.Join(leaf, n.file), n.key)
		if !known {
			// -1, or where it can be estimated, Sampled.
			if n.got >= 0 && !s.Sampled && n.got != c.cell.overhead-1 {
				t.Errorf("%s %s is not there, and told to be %d", n.file, n.key, n.got)
			}
			continue
		}
		// Each processor has some pages in reserve, which it gives back when it likes.
		if near := int64(1 << 20); n.file == "memory.current" && n.got > want-near && n.got < want+near {
			continue
		}
		if n.got != want {
			t.Errorf("%s %s: %d, the kernel says %d", n.file, n.key, n.got, want)
		}
	}
	if disk != "" && s.WriteBytes < 1<<20 {
		t.Errorf("%d bytes were written to a disk, want 1 MiB", s.WriteBytes)
	}
	if s.Memory < 20<<20 {
		t.Errorf("%d bytes are used, with a file of 20 MiB in memory", s.Memory)
	}
	if err := c.Resume(); err != nil {
		t.Error(err)
	}
	out.Close()
	r, err := c.Wait()
	if err != nil || r.ExitCode != 5 {
		t.Fatal(r, err)
	}
	for name, pair := range map[string][2]int64{
		"user": {int64(r.Usage.User), int64(s.User)}, "system": {int64(r.Usage.System), int64(s.System)},
		"memory": {r.Usage.MemoryPeak, s.MemoryPeak}, "pids": {r.Usage.PidsPeak, s.PidsPeak}, "written": {r.Usage.WriteBytes, s.WriteBytes},
	} {
		if pair[0] < pair[1] {
			t.Errorf("%s: %d at the end, and %d before", name, pair[0], pair[1])
		}
	}
}

// kernelSays reads a number: the only one of a file, or the sum of those with a key.
func kernelSays(t testing.TB, file, key string) (sum int64, known bool) {
	t.Helper()
	data, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return 0, false
	}
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(strings.ReplaceAll(string(data), "=", " "))
	if key == "" {
		key, fields = "only", append([]string{"only"}, fields...)
	}
	for i, f := range fields[:max(len(fields)-1, 0)] {
		if f == key {
			n, err := strconv.ParseInt(fields[i+1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			sum += n
		}
	}
	return sum, true
}

// Huge pages are bounded when they are reserved, so that a program is told by mmap, and not killed later.
func TestCgroupHoldsHugePages(t *testing.T) {
	const page = 2 << 20
	free := inCgroup(t, Limits{})
	where, err := place(t.Context(), &Spec{Limits: Limits{HugetlbMax: []HugetlbMax{{PageSize: page}}}, Cgroup: CgroupOptions{MoveCaller: true}})
	if err != nil {
		t.Fatal(err)
	}
	if !where.has(cgroup.Hugetlb) {
		sandboxtest.Skip(t, "hugetlb", "the controller is not delegated")
	}
	if n, _ := kernelSays(t, "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", ""); n < 4 {
		sandboxtest.Skip(t, "hugetlb", "the host has no huge pages of 2 MiB")
	}
	limit := inCgroup(t, Limits{HugetlbMax: []HugetlbMax{{PageSize: page, Max: 2 * page}}})
	if r, o := forbidden(t, "huge:4", free); o == nil || o.Err != "" {
		t.Errorf("4 pages without a limit: %v, %v", r, o)
	}
	if r, o := forbidden(t, "huge:2", limit); o == nil || o.Err != "" {
		t.Errorf("2 pages of 2: %v, %v", r, o)
	}
	r, o := forbidden(t, "huge:3", limit)
	if o == nil || o.Err != "ENOMEM" {
		t.Errorf("3 pages of 2: %v, %v", r, o)
	}
	if got := by(r, HugetlbLimit); got != "cgroup hugetlb.max" {
		t.Errorf("enforced by %q", got)
	}
	if r, o := forbidden(t, "huge:1", inCgroup(t, Limits{HugetlbMax: []HugetlbMax{{PageSize: page}}})); o == nil || o.Err != "ENOMEM" {
		t.Errorf("a page of none: %v, %v", r, o)
	}
	if runtime.GOARCH != "amd64" {
		return // others have pages of more sizes
	}
	spec := Spec{Args: []string{"true"}, Limits: Limits{HugetlbMax: []HugetlbMax{{PageSize: 64 << 10, Max: page}}}}
	if _, err := Run(t.Context(), spec); !errors.Is(err, unix.ENOENT) {
		t.Errorf("pages of a size that there is not: %v", err)
	}
}
