package main

import (
	"bytes"
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringfence-go/ringfence/sandbox"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }

// guess is an interactor that has a number in mind, and exits with 0 if it is found, 1 if not.
const guess = `n=37
while read -r x; do
	if [ "$x" -eq $n ]; then echo found; exit 0
	elif [ "$x" -lt $n ]; then echo more
	else echo less
	fi
done
exit 1`

// bisect is a solution.
const bisect = `low=0 high=100
while :; do
	mid=$(((low + high) / 2))
	echo $mid
	read -r answer || exit 5
	case $answer in
	found) exit 0 ;;
	more) low=$((mid + 1)) ;;
	less) high=$((mid - 1)) ;;
	esac
done`

func sh(script string) sandbox.Spec {
	return sandbox.Spec{Args: []string{"sh", "-c", script}, Limits: sandbox.Limits{WallTime: sandboxtest.Slow(20 * time.Second)}}
}

// exited says that an outcome is an exit with this code.
func exited(code int) func(outcome) bool {
	return func(o outcome) bool {
		return o.Err == nil && o.Result.Ended == sandbox.Exited && o.Result.ExitCode == code
	}
}

func by(e sandbox.Ending, sig syscall.Signal) func(outcome) bool {
	return func(o outcome) bool { return o.Err == nil && o.Result.Ended == e && o.Result.Signal == sig }
}

func TestEachSideHasItsOwnVerdict(t *testing.T) {
	t.Parallel()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	soon := func(s sandbox.Spec) sandbox.Spec {
		s.Limits.WallTime = sandboxtest.Slow(200 * time.Millisecond)
		return s
	}
	for name, test := range map[string]struct {
		interactor, solution sandbox.Spec
		left, right          func(outcome) bool
	}{
		"both well":            {sh(guess), sh(bisect), exited(0), exited(0)},
		"a solution that dies": {sh(guess), sh("echo 50; read -r x; kill -SEGV $$"), exited(1), by(sandbox.Signaled, syscall.SIGSEGV)},
		"one that gives up":    {sh(guess), sh("exit 4"), exited(1), exited(4)},
		// It has closed nothing: its end is what the interactor sees.
		"one that is silent":                {sh(guess), soon(sh("exec sleep 1000")), exited(1), by(sandbox.TimedOut, syscall.SIGKILL)},
		"one that reads what nobody writes": {sh("read -r x; read -r x; exit 1"), soon(sh("echo a; read -r x")), exited(1), by(sandbox.TimedOut, syscall.SIGKILL)},
		// What is not read does not stay anywhere: a full pipe blocks, and then it is broken.
		"one that floods":                 {sh("read -r x; exit 1"), sh("exec yes"), exited(1), by(sandbox.Signaled, syscall.SIGPIPE)},
		"one that floods a deaf one":      {soon(sh("exec sleep 1000")), sh("exec yes"), by(sandbox.TimedOut, syscall.SIGKILL), by(sandbox.Signaled, syscall.SIGPIPE)},
		"two that flood each other":       {soon(sh("exec yes")), soon(sh("exec yes")), by(sandbox.TimedOut, syscall.SIGKILL), func(o outcome) bool { return o.Result != nil && o.failed() }},
		"an interactor that dies":         {sh("kill -9 $$"), sh(bisect), by(sandbox.Signaled, syscall.SIGKILL), func(o outcome) bool { return exited(5)(o) || by(sandbox.Signaled, syscall.SIGPIPE)(o) }},
		"one that leaves somebody behind": {sh(guess), sh("(trap '' HUP; sleep 1000) & exit 4"), exited(1), exited(4)},
		"one that keeps both ends open":   {sh(guess), sh("exec 3<>/proc/self/fd/0 4<>/proc/self/fd/1; exit 4"), exited(1), exited(4)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			left, right := interact(t.Context(), test.interactor, test.solution)
			if !test.left(left) {
				t.Errorf("interactor: %v", left)
			}
			if !test.right(right) {
				t.Errorf("solution: %v", right)
			}
		})
	}
}

func TestOneThatCannotBeStarted(t *testing.T) {
	t.Parallel()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	missing := sandbox.Spec{Args: []string{"nonsense"}}
	if left, right := interact(t.Context(), missing, sh(bisect)); left.Result != nil || right.Result != nil || right.Err == nil {
		t.Errorf("%v, %v", left, right)
	}
	left, right := interact(t.Context(), sh("exec sleep 1000"), missing)
	if left.Result == nil || left.Result.Ended != sandbox.Canceled || right.Result != nil || right.Err == nil {
		t.Errorf("%v, %v", left, right)
	}
}

func TestEndOfTheContextEndsBoth(t *testing.T) {
	t.Parallel()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	ctx, cancel := context.WithTimeout(t.Context(), sandboxtest.Slow(200*time.Millisecond))
	defer cancel()
	left, right := interact(ctx, sh("read -r x"), sh("read -r x"))
	for _, o := range []outcome{left, right} {
		// The other one may have seen the end of its input first.
		if o.Result == nil || o.Result.Ended != sandbox.Canceled && !exited(1)(o) {
			t.Error(o)
		}
	}
	if left.Result.Ended != sandbox.Canceled && right.Result.Ended != sandbox.Canceled {
		t.Errorf("%v, %v", left, right)
	}
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	for _, test := range []struct {
		args []string
		out  string
		code int
	}{
		{[]string{"--", "sh", "-c", guess, "--", "sh", "-c", bisect}, "interactor: exit status 0\nsolution: exit status 0\n", 0},
		{[]string{"--timeout", "20s", "--", "sh", "-c", guess, "--", "true"}, "interactor: exit status 1\nsolution: exit status 0\n", 1},
		{[]string{"true"}, "", 125},
		{[]string{"--", "true", "--"}, "", 125},
		{[]string{"--nonsense"}, "", 125},
		{[]string{"--", "true", "--", "nonsense"}, "solution: sandbox: ", 125},
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), test.args, &out, &errs); code != test.code || !strings.Contains(out.String(), test.out) {
			t.Errorf("%q: %d, %q, %q, want %d, %q", test.args, code, out.Bytes(), errs.Bytes(), test.code, test.out)
		}
	}
}
