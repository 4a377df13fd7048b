package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// Facts about hosts whose kernel gives no new /proc (mount_too_revealing in fs/namespace.c).

func init() {
	callers["listened without a new proc"] = func() error { return callListened("without a new proc") }
	callers["without a new proc"] = callWithoutProc
}

// hosts without a new /proc, by the scripts that make them.
var noProcHosts = map[string][]string{
	// As container engines do it. What systemd has mounted below /proc/sys must not come to light: hence --rbind.
	"covered":   {"unshare", "-Urm", "sh", "-c", `mount -t tmpfs none /proc/sys && exec "$0"`},
	"read-only": {"unshare", "-Urm", "sh", "-c", `mount --rbind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec "$0"`},
}

// Where there can be no new /proc, and that is allowed, there is none: not the caller's, with the processes outside.
// The control is why: a /proc of the caller's that is bound tells of all processes outside, with their arguments.
func TestWithoutANewProcThereIsNone(t *testing.T) {
	t.Parallel()
	for name, host := range noProcHosts {
		noNewProc(t, name, host)
	}
	caller := fmt.Sprintf("/proc/%d/", os.Getpid())
	acts := []string{"read:" + caller + "cmdline", "read:" + caller + "status", "list:" + caller + "fd"}
	run := lackingRun{Allow: []Feature{NewProc}, Acts: acts, Mounts: []Mount{{Source: "/proc", Target: "/proc"}}}
	control := lackingAs(t, noProcHosts["covered"], run).ran(t, NewProc)
	for _, act := range acts {
		control.want(act, "ok")
	}
}

// The kernel minds the time stamps of the mount too, of which nothing tells beforehand: then the first start is made
// twice.
func TestRootWithoutANewProcForWhatNobodySees(t *testing.T) {
	noNewProc(t, "noatime", []string{"unshare", "-m", "sh", "-c", `mount -o remount,bind,noatime /proc && exec "$0"`})
}

// What a start finds out comes one by one, and none of it is lost to the next.
func TestRootWithoutANewProcAndUnderAListener(t *testing.T) {
	cmd := caller(t, "listened without a new proc")
	cmd.Args = append([]string{"unshare", "-m", "sh", "-c", `mount -o remount,bind,noatime /proc && exec "$0"`, cmd.Path}, cmd.Args[1:]...)
	var err error
	if cmd.Path, err = exec.LookPath("unshare"); err != nil {
		sandboxtest.Skip(t, "unshare", err.Error())
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func callWithoutProc() error {
	ctx := context.Background()
	var faults []error
	for range 2 {
		r, err := Run(ctx, Spec{Args: []string{"true"}, AllowMissing: []Feature{NewProc}})
		if err != nil || len(r.Missing) != 1 {
			faults = append(faults, fmt.Errorf("%w: %+v", err, r))
		}
	}
	p, err := NewPool(ctx, Spec{AllowMissing: []Feature{NewProc}}, PoolOptions{Size: 1})
	if err != nil {
		return errors.Join(append(faults, err)...)
	}
	defer p.Close()
	if _, err := p.Run(ctx, Spec{Args: []string{"true"}}); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// noNewProc checks what there is on a host without a new /proc.
func noNewProc(t *testing.T, name string, host []string) {
	t.Helper()
	without := lackingAs(t, host, lackingRun{Acts: []string{"nothing"}})
	if remedy := without.Refused[NewProc]; len(without.Refused) != 1 || !strings.Contains(remedy, "systempaths=unconfined") || !strings.Contains(remedy, "procMount: Unmasked") {
		t.Errorf("%s: %q, refused %q", name, without.Err, without.Refused)
	}
	acts := []string{"list:/proc", "stat:/proc/self", "stat:/proc/1", "create:/proc/x", "readlink:/dev/fd", "list:/dev/fd"}
	for _, lives := range []bool{false, true} {
		got := lackingAs(t, host, lackingRun{Allow: []Feature{NewProc}, Acts: acts, Lives: lives}).ran(t, NewProc)
		if o := got.of("list:/proc"); !o.OK() || o.Detail != "" {
			t.Errorf("%s: /proc holds %v", name, o)
		}
		got.want("stat:/proc/self", "ENOENT")
		got.want("stat:/proc/1", "ENOENT")
		got.want("create:/proc/x", "EROFS", "ENOENT", "EACCES")
		got.want("list:/dev/fd", "ENOENT") // a link that leads nowhere
	}
	also := lackingAs(t, host, lackingRun{Allow: []Feature{NewProc}, Acts: []string{"nothing"}, Mounts: []Mount{{Type: Proc, Target: "/mnt"}}})
	if _, ok := also.Refused[NewProc]; !ok {
		t.Errorf("%s: a Mount of the Type Proc: %+v", name, also)
	}
}
