package sandbox

import (
	"slices"
	"testing"
	"time"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
	"github.com/ringfence-go/ringfence/testing/victim"
)

// Bombs: payloads that take as much of one thing as they get. Each is bounded by what needs no cgroup, and
// while it runs its caller and a sandbox beside it go on. cgroup_bombs_linux_test.go has those that nothing
// but a cgroup bounds.

// bomb is a payload and what becomes of it.
type bomb struct {
	name string
	args []string
	// limits are beside a WallTime, which ends what does not end by itself.
	limits Limits
	ended  Ending
	// err is what became of the act that is the payload's last argument, if it is the victim.
	err string
}

// shortWall is for those that do not end by themselves.
const shortWall = 400 * time.Millisecond

func rlimits(all ...Rlimit) Limits { return Limits{Rlimits: all} }

var bombs = []bomb{
	{name: "fork", args: act("forks"), limits: rlimits(Rlimit{"RLIMIT_NPROC", 30, 30}), ended: TimedOut},
	{name: "exec", args: sh("while :; do /bin/true; done"), ended: TimedOut},
	{name: "processes", args: act("take:process,1000"), limits: rlimits(Rlimit{"RLIMIT_NPROC", 40, 40}), ended: Exited, err: "EAGAIN"},
	{name: "zombies", args: act("take:zombie,1000"), limits: rlimits(Rlimit{"RLIMIT_NPROC", 40, 40}), ended: Exited, err: "EAGAIN"},
	{name: "output", args: sh("while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done"), limits: Limits{OutputMax: 100_000}, ended: OutputExceeded},
	{name: "large output", args: sh("cat /dev/zero"), limits: Limits{OutputMax: 10 << 20}, ended: OutputExceeded},
	{name: "one large file", args: act("fill:/tmp/x"), ended: Exited, err: "ENOSPC"},
	{name: "a file beyond its limit", args: sh("trap '' XFSZ; cat /dev/zero >/tmp/x"), limits: rlimits(Rlimit{"RLIMIT_FSIZE", 65536, 65536}), ended: Exited},
	{name: "files", args: act("take:inode,100000"), ended: Exited, err: "ENOSPC"},
	{name: "symbolic links", args: act("take:link,100000"), ended: Exited, err: "ENOSPC"},
	{name: "names of one file", args: act("take:name,100000"), ended: Exited, err: "ENOSPC"},
	{name: "deep directories", args: act("take:directory,100000"), ended: Exited, err: "ENOSPC"},
	{name: "descriptors", args: act("take:pipe,100000"), limits: rlimits(Rlimit{"RLIMIT_NOFILE", 200, 200}), ended: Exited, err: "EMFILE"},
	{name: "message queues", args: act("take:queue,100000"), limits: rlimits(Rlimit{"RLIMIT_MSGQUEUE", 300_000, 300_000}), ended: Exited, err: "EMFILE"},
	{name: "signals that wait", args: act("take:signal,100000"), limits: rlimits(Rlimit{"RLIMIT_SIGPENDING", 500, 500}), ended: Exited, err: "EAGAIN"},
	{name: "signals", args: sh("trap '' USR1 IO; for i in 1 2 3 4; do while :; do kill -USR1 0; kill -IO 1; done & done; wait"), ended: TimedOut},
	{name: "reading of /proc", args: sh("for i in 1 2 3; do while :; do cat /proc/*/* /proc/self/task/*/* /proc/sys/*/* /proc/net/*; done >/dev/null 2>&1 & done; wait"), ended: TimedOut},
	{name: "address space", args: sh("tail /dev/zero"), limits: rlimits(Rlimit{"RLIMIT_AS", 64 << 20, 64 << 20}), ended: Exited},
}

func sh(script string) []string { return []string{"sh", "-c", script} }

func act(name string) []string { return []string{victim.Path, name} }

// In a tmpfs of 512 MiB, which has room for more, the bombs of files and names got all 100,000 that they asked for;
// without their limits the others got all that they asked for, or as much as their caller may have, or ended TimedOut.
func TestBombsHoldNobodyUp(t *testing.T) {
	for _, b := range bombs {
		t.Run(b.name, func(t *testing.T) {
			r, told := b.run(t, func(s *Spec) {
				// 1024 files, with all directories and links.
				s.Mounts = append(s.Mounts, Mount{Type: Tmpfs, Target: "/tmp", Size: 4 << 20})
				s.Dir = "/tmp"
			})
			if r.Ended != b.ended {
				t.Errorf("%v, want %v", r, b.ended)
			}
			if told.Err != b.err {
				t.Errorf("%v, want %s in the end", told, b.err)
			}
			if late := r.Usage.Wall - sandboxtest.Slow(shortWall); b.ended == TimedOut && (late < 0 || late > sandboxtest.Slow(longestGap)) {
				t.Errorf("it ended after %v, want %v", r.Usage.Wall, sandboxtest.Slow(shortWall))
			}
			for _, l := range []struct {
				has bool
				f   Feature
			}{{true, WallTimeLimit}, {b.limits.OutputMax > 0, OutputLimit}, {len(b.limits.Rlimits) > 0, Rlimits}} {
				if l.has && !slices.ContainsFunc(r.Enforced, func(e Enforcement) bool { return e.Feature == l.f }) {
					t.Errorf("%v is not told of: %v", l.f, r.Enforced)
				}
			}
		})
	}
}

// run runs a bomb beside others, and returns what the victim told, if that is what it is.
func (b bomb) run(t *testing.T, change func(*Spec)) (*Result, victim.Outcome) {
	t.Helper()
	spec := victimSpec(t)
	spec.Args, spec.Limits = b.args, b.limits
	if spec.Limits.WallTime = shortWall; b.ended != TimedOut {
		spec.Limits.WallTime = time.Minute
	}
	out := &start{most: 1 << 16}
	spec.Stdout = out
	wall := spec.Limits.WallTime
	change(&spec) // of limits, to others
	spec.Limits.WallTime = sandboxtest.Slow(wall)
	stop := bystanders(t)
	r, err := Run(t.Context(), spec)
	stop()
	if err != nil {
		t.Fatal(err)
	}
	if spec.Args[0] != victim.Path {
		return r, victim.Outcome{}
	}
	all, _ := victim.Parse(out.b) // what is cut off by the end is no outcome
	return r, all[spec.Args[1]]
}

// start keeps the first bytes that are written to it, and takes all.
type start struct {
	b    []byte
	most int
}

func (s *start) Write(b []byte) (int, error) {
	s.b = append(s.b, b[:min(len(b), s.most-len(s.b))]...)
	return len(b), nil
}
