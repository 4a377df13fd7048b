package sandbox

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
	"github.com/ringfence-go/ringfence/internal/plan"
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
	for _, share := range []struct {
		thing string
		most  string
		err   string
	}{
		{"inotify", maxInotify, "EMFILE"}, {"watch", maxWatches, "ENOSPC"}, {"terminal", fmt.Sprint(maxTerminals), "ENOSPC"},
	} {
		first, one := "take:"+share.thing+",100000", "take:"+share.thing+",1"
		outcome, end := taken(t, nil, first)
		if outcome.Err != share.err || outcome.Detail != share.most {
			t.Errorf("%s: one sandbox has %s, then %s, want %s and %s", share.thing, outcome.Detail, outcome.Err, share.most, share.err)
		}
		inside(t, nil, one).want(one, "ok")
		if share.thing != "watch" { // which makes files
			// The control: more than a sandbox gets is to be had.
			more := "take:" + share.thing + ",33"
			outside(t, more).want(more, "ok")
		}
		end()
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
				other.Call = kernel.Openat2(int(op.Call.Args[0].Value), path, unix.O_WRONLY|unix.O_CLOEXEC, unix.RESOLVE_NO_SYMLINKS)
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
