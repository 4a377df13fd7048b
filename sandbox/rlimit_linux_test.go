package sandbox

import (
	"bytes"
	"fmt"
	"regexp"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRlimitNumbersAreTheKernels(t *testing.T) {
	want := map[string]int{
		"RLIMIT_CPU": unix.RLIMIT_CPU, "RLIMIT_FSIZE": unix.RLIMIT_FSIZE, "RLIMIT_DATA": unix.RLIMIT_DATA,
		"RLIMIT_STACK": unix.RLIMIT_STACK, "RLIMIT_CORE": unix.RLIMIT_CORE, "RLIMIT_RSS": unix.RLIMIT_RSS,
		"RLIMIT_NPROC": unix.RLIMIT_NPROC, "RLIMIT_NOFILE": unix.RLIMIT_NOFILE,
		"RLIMIT_MEMLOCK": unix.RLIMIT_MEMLOCK, "RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_LOCKS": unix.RLIMIT_LOCKS,
		"RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING, "RLIMIT_MSGQUEUE": unix.RLIMIT_MSGQUEUE,
		"RLIMIT_NICE": unix.RLIMIT_NICE, "RLIMIT_RTPRIO": unix.RLIMIT_RTPRIO, "RLIMIT_RTTIME": unix.RLIMIT_RTTIME,
	}
	if len(want) != len(rlimitResources) {
		t.Errorf("%d resources, want %d", len(rlimitResources), len(want))
	}
	for name, number := range want {
		if got, ok := rlimitResource(name); !ok || got != number {
			t.Errorf("rlimitResource(%q) = %d, %v, want %d", name, got, ok, number)
		}
	}
}

// Without a cgroup a resource limit stands for its limits: nobody may raise those above the caller's own,
// which are in force then, and the Result says so.
func TestLimitsWithoutCgroupKeepTheCallersOwn(t *testing.T) {
	run := func(limits Limits) (r *Result, said string, overhead uint64) {
		t.Helper()
		spec := Spec{Args: []string{"cat", "/proc/self/limits"}, Limits: limits, Cgroup: CgroupOptions{Path: t.TempDir()},
			AllowMissing: []Feature{Cgroup, MemoryLimit, PidsLimit}}
		var out bytes.Buffer
		spec.Stdout = &out
		c := Command(t.Context(), spec)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		r, err := c.Wait()
		if err != nil || r.Err() != nil {
			t.Fatal(r, err)
		}
		return r, out.String(), uint64(c.plan.resolved.overhead())
	}
	for _, test := range []struct {
		resource int
		line, by string
		feature  Feature
		limits   func(n int64) Limits
		tasks    bool // the sandbox's own count too
	}{
		{unix.RLIMIT_DATA, "Max data size", "RLIMIT_DATA", MemoryLimit, func(n int64) Limits { return Limits{MemoryMax: n} }, false},
		{unix.RLIMIT_NPROC, "Max processes", "RLIMIT_NPROC", PidsLimit, func(n int64) Limits { return Limits{PidsMax: n} }, true},
	} {
		var own unix.Rlimit
		if err := unix.Getrlimit(test.resource, &own); err != nil {
			t.Fatal(err)
		}
		// As high as nothing else comes near; it cannot be raised again.
		hard := min(own.Max, 1<<40)
		if err := unix.Setrlimit(test.resource, &unix.Rlimit{Cur: min(own.Cur, hard), Max: hard}); err != nil {
			t.Fatal(err)
		}
		for _, limit := range []uint64{hard - 10, hard + 1<<20} {
			r, said, overhead := run(test.limits(int64(limit)))
			want, enforced := limit, test.by
			if test.tasks {
				want += overhead
			}
			if limit > hard {
				want, enforced = hard, fmt.Sprintf("%s, which is %d for the caller itself", test.by, hard)
			}
			if got := by(r, test.feature); got != enforced {
				t.Errorf("%s: enforced by %q, want %q", test.line, got, enforced)
			}
			line := regexp.MustCompile(test.line + ` +(\d+) +(\d+) `).FindStringSubmatch(said)
			if line == nil || line[1] != fmt.Sprint(want) || line[2] != fmt.Sprint(want) {
				t.Errorf("%d wanted, %q in force of\n%s", limit, line, said)
			}
		}
	}
}
