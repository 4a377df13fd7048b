package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/seccomp"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// A caller that is under a filter with a listener already, as in a sandbox in a sandbox: the kernel gives no
// process a second one (seccomp(2), EBUSY).

func init() {
	callers["listened"] = func() error { return callListened("listened again") }
	callers["listened again"] = callInner
}

// callListened puts itself under a filter that allows everything and has a listener, and goes on as another
// caller, a program in which all threads are under it.
func callListened(next string) error {
	runtime.LockOSThread()
	all, err := (&seccomp.Policy{Default: seccomp.Allow}).Compile(runtime.GOARCH)
	if err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	fd, err := listen(all.Raw())
	if err != nil {
		return err
	}
	// The kernel counts a listener as long as somebody has it.
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
		return err
	}
	if err := os.Setenv(callerEnv, next); err != nil {
		return err
	}
	return syscall.Exec("/proc/self/exe", os.Args, os.Environ())
}

// callInner prints what becomes of sandboxes.
func callInner() error {
	ctx := context.Background()
	p := seccomp.Default()
	p.Rules = append([]seccomp.Rule{{Names: []string{"mkdir", "mkdirat"}, Action: seccomp.KillProcess}}, p.Rules...)
	if err := callInnerPooled(ctx); err != nil {
		return err
	}
	thisHost = hostCache{} // as if nothing had been found out
	if err := callInnerLiving(ctx); err != nil {
		return err
	}
	for range 2 { // the second start knows it beforehand
		for _, spec := range []Spec{
			script("exit 3"),
			{Args: []string{"sh", "-c", "mkdir /tmp/x; exit $(($? - 128))"}, Seccomp: p},
			{Args: []string{"sh", "-c", "exec mkdir /tmp/x"}, Seccomp: p},
		} {
			r, err := Run(ctx, spec)
			if err != nil {
				return err
			}
			listens := false
			for _, e := range r.Enforced {
				listens = listens || e.Feature == SeccompNotify
			}
			fmt.Printf("%v %v %q %v\n", r, r.Ended, r.Syscall, listens)
		}
		spec := script("exit 0")
		supervised(always(Continue()), "getppid")(&spec)
		r, err := Run(ctx, spec)
		var u *UnsupportedError
		if r != nil || !errors.As(err, &u) || !errors.Is(err, errors.ErrUnsupported) {
			return fmt.Errorf("with a supervisor: %v, %w", r, err)
		}
		fmt.Println(u.Feature)
		learned, r, err := Learn(ctx, script("exit 0"))
		if learned != nil || r != nil || !errors.As(err, &u) {
			return fmt.Errorf("learn: %v, %v, %w", learned, r, err)
		}
	}
	return nil
}

// callInnerPooled runs a command in a pool that is the first to meet a listener.
func callInnerPooled(ctx context.Context) error {
	p, err := NewPool(ctx, Spec{}, PoolOptions{Size: 1})
	if err != nil {
		return err
	}
	r, err := p.Run(ctx, script("exit 3"))
	if err := errors.Join(err, p.Close()); err != nil {
		return err
	}
	fmt.Println(r)
	return nil
}

// callInnerLiving starts commands in a sandbox that lives, before anything has met a listener.
func callInnerLiving(ctx context.Context) error {
	s, err := New(ctx, Spec{})
	if err != nil {
		return err
	}
	for range 2 {
		r, err := s.Run(ctx, script("exit 3"))
		if err != nil {
			return errors.Join(err, s.Close())
		}
		fmt.Println(r)
	}
	return s.Close()
}

// In a sandbox in a sandbox nobody is told of calls. The kernel itself ends who makes one.
func TestCallerUnderAListenerLeavesKillsToTheKernel(t *testing.T) {
	t.Parallel()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	got := string(output(t, caller(t, "listened")))
	once := "exit status 3 exited \"\" false\n" +
		fmt.Sprintf("exit status %d exited \"\" false\n", unix.SIGSYS) +
		"signal: bad system call signaled \"\" false\n" +
		string(SeccompNotify) + "\n"
	const pooled, living = "exit status 3\n", "exit status 3\n"
	if want := pooled + living + living + once + once; got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	// Here the same call is told.
	r := runScript(t, "exec mkdir /tmp/x", killFor("mkdir", "mkdirat"))
	if r.Ended != Forbidden || !strings.HasPrefix(r.Syscall, "mkdir") {
		t.Errorf("under no listener: %v", r)
	}
}
