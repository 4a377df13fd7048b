package sandbox

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
	"github.com/ringfence-go/ringfence/internal/plan"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// Facts about what the kernel counts for a user, or for everybody, and no cgroup bounds: a sandbox that takes
// all it can get leaves enough for its caller, and for the other sandboxes of the same caller.

// Before the steps of compileShares, and before the terminals had a bound, the first sandbox got all 128
// instances of inotify, which were root's with a caller that is root, and all 3072 terminals: the second
// sandbox had none, EMFILE and ENOSPC, and the caller no inotify either.
func TestPayloadLeavesOthersInotifyAndTerminals(t *testing.T) {
	t.Parallel()
	payloadLeavesOthers(t)
}

func TestRootPayloadLeavesOthersInotifyAndTerminals(t *testing.T) { payloadLeavesOthers(t) }

func payloadLeavesOthers(t *testing.T) {
	for _, thing := range []struct {
		name, err   string
		most        int
		file, shows string // where its share is told, inside, and the sysctl that it is a share of
		few         int    // so many are quickly taken
	}{
		{"inotify", "EMFILE", 0, "/proc/sys/user/max_inotify_instances", "/proc/sys/fs/inotify/max_user_instances", 200},
		{"watch", "ENOSPC", 0, "/proc/sys/user/max_inotify_watches", "/proc/sys/fs/inotify/max_user_watches", 5000},
		{"terminal", "ENOSPC", maxTerminals, "", "", 1000},
	} {
		if thing.file != "" {
			all := min(number(t, thing.file), number(t, thing.shows))
			thing.most = share(all)
			read := "read:" + thing.file
			if o := inside(t, nil, read).of(read); strings.TrimSpace(o.Detail) != strconv.Itoa(thing.most) {
				t.Errorf("%s is %v, want a quarter of %d", thing.file, o, all)
			}
		}
		if thing.most > thing.few {
			continue // it takes its time
		}
		first, one := "take:"+thing.name+",100000", "take:"+thing.name+",1"
		if thing.name != "watch" { // which makes files
			// The control: more than a sandbox gets is to be had, unless others of the user's have it.
			more := fmt.Sprintf("take:%s,%d", thing.name, thing.most+2)
			if o := outside(t, more).of(more); !o.OK() {
				sandboxtest.Skip(t, "free-"+thing.name, fmt.Sprintf("%v, want %d and one for another sandbox and for the caller", o, thing.most))
			}
		}
		outcome, end := taken(t, nil, first)
		// Fewer if others took some meanwhile.
		if n, err := strconv.Atoi(outcome.Detail); outcome.Err != thing.err || err != nil || n < 1 || n > thing.most {
			t.Errorf("%s: one sandbox has %s, then %s, want %d at most and %s", thing.name, outcome.Detail, outcome.Err, thing.most, thing.err)
		}
		inside(t, nil, one).want(one, "ok")
		if thing.name != "watch" {
			outside(t, one).want(one, "ok")
		}
		end()
	}
}

// number is what a file of /proc/sys says.
func number(t *testing.T, file string) int {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A caller that is itself bounded gives a share of what it has: a sandbox in a sandbox once got as much as the outer one
// had, a quarter of the host's.
func TestShareIsOfWhatTheCallerMayHave(t *testing.T) {
	t.Parallel()
	const read, take = "read:/proc/sys/user/max_inotify_instances", "take:inotify,100"
	told := lacking(t, `echo 32 >/proc/sys/user/max_inotify_instances && exec "$0"`, lackingRun{Acts: []string{read, take}}).ran(t)
	if o := told.of(read); strings.TrimSpace(o.Detail) != "8" {
		t.Errorf("the limit is %v, want a quarter of 32", o)
	}
	if o := told.of(take); o.Err != "EMFILE" || o.Detail != "8" {
		t.Errorf("%v, want EMFILE after 8", o)
	}
}

// Signals that wait and message queues are counted for the caller's user too. A sandbox may take all that the
// caller may, unless the Spec bounds it.
func TestRlimitsLeaveOthersSignalsAndQueues(t *testing.T) {
	// Nothing of this package runs beside it, which would lack both.
	bounded := func(s *Spec) {
		s.Limits.Rlimits = []Rlimit{{"RLIMIT_SIGPENDING", 100, 100}, {"RLIMIT_MSGQUEUE", 200_000, 200_000}}
	}
	for thing, err := range map[string]string{"signal": "EAGAIN", "queue": "EMFILE"} {
		first, one := "take:"+thing+",1000000", "take:"+thing+",1"
		for name, change := range map[string]func(*Spec){"bounded": bounded, "not bounded": nil} {
			outcome, end := taken(t, change, first)
			if outcome.Err != err {
				t.Errorf("%s, %s: %v, want %s in the end", thing, name, outcome, err)
			}
			if change != nil {
				inside(t, nil, one).want(one, "ok")
				outside(t, one).want(one, "ok")
			} else {
				inside(t, nil, one).want(one, err) // the control
			}
			end()
		}
	}
}

// Nothing else of /proc/sys may be written to.
func TestSharesAreTheOnlyLimitsOfTheKernelThatAreSet(t *testing.T) {
	seen := 0
	eachGolden(t, func(t *testing.T, _ string, p *Plan) {
		for i, op := range p.program.Ops {
			if !strings.HasPrefix(op.Label, "open max_inotify_") {
				continue
			}
			seen++
			for _, path := range []string{"sys/kernel/core_pattern", "sys/user/../kernel/core_pattern", "sys/user/max_user_namespaces", "1/mem"} {
				changed := *p.program
				changed.Ops = append([]*plan.Op{}, p.program.Ops...)
				other := *op
				other.Call = kernel.Openat2(int(op.Call.Args[0].Value), path, unix.O_WRONLY|unix.O_CLOEXEC, unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_XDEV)
				changed.Ops[i] = &other
				if err := plan.Check(&changed); err == nil {
					t.Errorf("%s may be opened", path)
				}
			}
		}
	})
	if seen == 0 {
		t.Error("no plan has such a step")
	}
}
