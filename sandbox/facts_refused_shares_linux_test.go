package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/plan"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// Hosts on which nobody may write to /proc/sys, not to the limits of a user namespace of one's own either, as the
// AppArmor profiles of LXC have it: deny /proc/sys/[^kn]*{,/**} wklx.

const refusedSharesEnv = "RINGFENCE_TEST_REFUSED_SHARES"

func init() { callers["refused shares"] = callRefusedShares }

// refusedShares says what is refused, and to what kind of sandbox; refusedSharesTold is what became of three.
type (
	refusedShares struct {
		Kind, Step string
		Errno      unix.Errno
	}
	refusedSharesTold struct {
		Errs             []string
		Missing, Bounded []bool // of each Result
		Probed           probedState
		Zero             string
	}
)

// startedAs starts the command true in a sandbox of a kind, and returns the plan.
func startedAs(ctx context.Context, kind string) (*Plan, *Result, error) {
	command := Spec{Args: []string{"true"}}
	switch kind {
	case "living":
		s, err := New(ctx, Spec{})
		if err != nil {
			return nil, nil, err
		}
		r, err := s.Run(ctx, command)
		return s.keeper.plan, r, errors.Join(err, s.Close())
	case "pool":
		p, err := NewPool(ctx, Spec{}, PoolOptions{Size: 1})
		if err != nil {
			return nil, nil, err
		}
		r, err := p.Run(ctx, command)
		return p.plan, r, errors.Join(err, p.Close())
	}
	c := Command(ctx, command)
	if err := c.Start(); err != nil {
		return nil, nil, err
	}
	r, err := c.Wait()
	return c.plan, r, err
}

// callRefusedShares puts itself under a filter that refuses one call of the set-up: it is known by its descriptor.
func callRefusedShares() error {
	var refused refusedShares
	if err := json.Unmarshal([]byte(os.Getenv(refusedSharesEnv)), &refused); err != nil {
		return err
	}
	ctx := context.Background()
	p, _, err := startedAs(ctx, refused.Kind)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(p.program.Ops, func(op *plan.Op) bool { return strings.HasPrefix(op.Label, refused.Step) })
	if i < 0 {
		return fmt.Errorf("no step %s", refused.Step)
	}
	call := p.program.Ops[i].Call
	nr, length := uint32(unix.SYS_OPENAT2), uint32(0)
	if call.Name == "write" {
		nr, length = unix.SYS_WRITE, uint32(call.Args[2].Value)
	}
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: nr, Jf: 5},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 16}, // args[0]
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(call.Args[0].Value), Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 16 + 8*2},
		{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, K: length + 1, Jt: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(refused.Errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	if call.Name != "write" {
		filter[4] = unix.SockFilter{Code: unix.BPF_LD | unix.BPF_IMM} // 0
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if err := loadFilter(filter, unix.SECCOMP_FILTER_FLAG_TSYNC); err != nil {
		return err
	}
	thisHost = hostCache{} // as if nothing had been found out
	told := refusedSharesTold{}
	for range 3 {
		_, r, err := startedAs(ctx, refused.Kind)
		if err == nil {
			err = r.Err()
		}
		told.Errs = append(told.Errs, fmt.Sprint(err))
		if r != nil {
			told.Missing = append(told.Missing, slices.Contains(r.Missing, InotifyLimit))
			told.Bounded = append(told.Bounded, slices.ContainsFunc(r.Enforced, func(e Enforcement) bool { return e.Feature == InotifyLimit }))
		}
	}
	host, err := Probe(ctx)
	if err != nil {
		return err
	}
	for _, s := range host.Features() {
		if s.Feature == InotifyLimit {
			told.Probed = stateOf(s)
		}
	}
	told.Zero = fmt.Sprint(host.Err())
	return json.NewEncoder(os.Stdout).Encode(told)
}

func toldOfRefusedShares(t *testing.T, refused refusedShares) refusedSharesTold {
	t.Helper()
	text, err := json.Marshal(refused)
	if err != nil {
		t.Fatal(err)
	}
	cmd := caller(t, "refused shares")
	cmd.Env = append(cmd.Env, refusedSharesEnv+"="+string(text))
	var told refusedSharesTold
	if out := output(t, cmd); json.Unmarshal(out, &told) != nil {
		t.Fatalf("%s", out)
	}
	return told
}

// Where the host refuses the limits, a sandbox has none, and says so: before, every start failed there with
// "open max_inotify_instances: permission denied", and no Spec could do without.
func TestWhereSharesAreRefusedTheResultSaysSo(t *testing.T) {
	t.Parallel()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	for _, refused := range []refusedShares{
		{"run", "open max_inotify", unix.EACCES}, // LXC
		{"run", "open max_inotify", unix.EPERM},
		{"run", "open max_inotify", unix.EROFS},
		{"run", "open max_inotify", unix.ENOENT},
		{"run", "set max_inotify", unix.EPERM},
		{"living", "open max_inotify", unix.EACCES},
		{"pool", "open max_inotify", unix.EACCES},
	} {
		told := toldOfRefusedShares(t, refused)
		if !slices.Equal(told.Errs, []string{"<nil>", "<nil>", "<nil>"}) || slices.Contains(told.Missing, false) || slices.Contains(told.Bounded, true) {
			t.Errorf("%v: errors %q, %s missing: %v, enforced: %v", refused, told.Errs, InotifyLimit, told.Missing, told.Bounded)
		}
		if s := told.Probed; refused.Kind == "run" && (s.State != Missing || !s.Unsupported || !strings.Contains(s.Remedy, "AppArmor") || told.Zero != "<nil>") {
			t.Errorf("%v: probed %+v; the zero Spec: %s", refused, s, told.Zero)
		}
	}
}

// What is no refusal is an error, and nothing is done without.
func TestWhereSharesFailOtherwiseTheStartFails(t *testing.T) {
	t.Parallel()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	for _, refused := range []refusedShares{{"run", "open max_inotify", unix.ENOMEM}, {"run", "set max_inotify", unix.EINVAL}} {
		told := toldOfRefusedShares(t, refused)
		for _, err := range told.Errs {
			if !strings.Contains(err, refused.Step) {
				t.Errorf("%v: %s, want an error of the step", refused, err)
			}
		}
	}
}

// Where they are not refused, every Result says that they hold.
func TestSharesAreAmongWhatHolds(t *testing.T) {
	t.Parallel()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	for _, kind := range []string{"run", "living", "pool"} {
		_, r, err := startedAs(t.Context(), kind)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(r.Enforced, func(e Enforcement) bool { return e.Feature == InotifyLimit }) || slices.Contains(r.Missing, InotifyLimit) {
			t.Errorf("%s: enforced %v, missing %v", kind, r.Enforced, r.Missing)
		}
	}
}
