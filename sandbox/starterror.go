//go:build linux

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/ringfence-go/ringfence/idmap"
	"github.com/ringfence-go/ringfence/internal/launch"
	"github.com/ringfence-go/ringfence/internal/plan"
)

// startError turns what launch reports into an error for the user: with the step's label in the place
// of its number, and with what can be done.
func (p *Plan) startError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var failed *launch.FailedError
	if errors.As(err, &failed) {
		return p.stepError(failed)
	}
	if errors.Is(err, launch.ErrImageRefused) {
		return &UnsupportedError{Feature: MemfdExec, Needs: "a memfd or a file in the temporary directory that can be executed",
			Remedy: "set vm.memfd_noexec to 0 or 1, or TMPDIR to a directory of a file system that is not noexec", Err: err}
	}
	var apply *idmap.ApplyError
	if errors.As(err, &apply) {
		return mapError(apply)
	}
	var died *launch.DiedError
	if errors.As(err, &died) && p.resolved.joins {
		return &OpError{Index: -1, Op: "join the sandbox", Err: err, Remedy: remedyJoin}
	}
	e := &OpError{Index: -1, Op: "start the set-up", Err: err}
	if errors.Is(err, syscall.EAGAIN) {
		e.Remedy = moreProcesses
	}
	return e
}

// mapError tells what the host lacks for a map from what failed this time.
func mapError(apply *idmap.ApplyError) error {
	bare := *apply
	bare.Remedy = "" // which is said once
	for _, lack := range []struct {
		cause error
		needs string
	}{
		{idmap.ErrNoHelper, "the programs newuidmap and newgidmap"},
		{idmap.ErrNoPrivilege, "programs newuidmap and newgidmap that get their privilege"},
		{idmap.ErrNoSubordinate, "subordinate IDs of the user"},
		{idmap.ErrNotSubordinate, "IDs that are the user's to map"},
	} {
		if errors.Is(apply.Err, lack.cause) {
			return &UnsupportedError{Feature: IDMap, Needs: lack.needs, Remedy: apply.Remedy, Err: &bare}
		}
	}
	return &OpError{Index: -1, Op: "map IDs", Err: &bare, Remedy: apply.Remedy}
}

// stepError explains a step that did not return what it must.
func (p *Plan) stepError(failed *launch.FailedError) error {
	if failed.Index < 0 || failed.Index >= len(p.program.Ops) {
		return &OpError{Index: failed.Index, Op: "set up the sandbox", Err: failed}
	}
	op := p.program.Ops[failed.Index]
	if op.Process == plan.Command && op.Call.Name == "execve" {
		return p.commandError(op, failed)
	}
	cause := resultError(op, failed.Result)
	if u := p.unsupported(op, cause); u != nil {
		return u
	}
	return &OpError{Index: failed.Index, Op: op.Label, Call: op.Syscall(), Remedy: remedy(op, cause), Err: cause}
}

// resultError returns the errno in a result, or says what was wrong with it.
func resultError(op *plan.Op, result int64) error {
	const maxErrno = 4095 // MAX_ERRNO of linux/err.h
	if result < 0 && result >= -maxErrno {
		return syscall.Errno(-result)
	}
	if op.Call.Name == "write" {
		return fmt.Errorf("%d bytes written of %d: %w", result, op.Want, syscall.ENOSPC)
	}
	if op.Call.Name == "read" && result == 0 {
		return errors.New("the caller is gone")
	}
	return fmt.Errorf("returned %d, want %d", result, op.Want)
}

// The steps at which hosts are known to refuse. A test finds each in the plan.
const (
	stepDenySetgroups = "write setgroups"
	stepMapUsers      = "write uid_map"
	stepMountProc     = "mount proc on /proc"
	stepMountDev      = "mount tmpfs on /dev"
	stepLoadFilter    = "load the seccomp filter"
)

// makesProc reports whether a step is the one at which the kernel refuses a new proc, for /proc or for a Mount.
func makesProc(label string) bool {
	return strings.HasPrefix(label, "make a proc for ") && strings.HasSuffix(label, ": mount it")
}

// unsupported recognizes the steps at which hosts refuse user namespaces.
func (p *Plan) unsupported(op *plan.Op, cause error) error {
	switch {
	case errors.Is(cause, syscall.EAGAIN), errors.Is(cause, syscall.ENOMEM):
		return nil // the host can, only not now
	case op.Label == stepLoadFilter && errors.Is(cause, syscall.EBUSY):
		// seccomp(2): of the filters of a process only one may have a listener.
		return &UnsupportedError{Feature: SeccompNotify, Needs: "a caller that is under no filter with a listener: the kernel allows a process one", Err: cause}
	case p.resolved.bare != nil:
		return nil
	case op.Kind == plan.Fork && op.Process == plan.Stub:
		if u := p.resolved.forbidden(cause); u != nil {
			return u
		}
		return &UnsupportedError{Feature: UserNamespace, Needs: "a host that lets this user make namespaces", Remedy: namespaceRemedy(cause), Err: cause}
	case errors.Is(cause, syscall.ENOSYS):
		return &UnsupportedError{Feature: MountNamespace, Needs: "Linux 5.15 or later, for " + op.Call.Name, Err: cause}
	case noShares(op, cause) != nil:
		return noShares(op, cause)
	case errors.Is(cause, syscall.EPERM), errors.Is(cause, syscall.EACCES):
		switch {
		case op.Label == stepDenySetgroups, op.Label == stepMapUsers:
			return &UnsupportedError{Feature: UserNamespace, Needs: "a host that lets this user use its namespaces",
				Remedy: "on Ubuntu: an AppArmor profile with userns for this program, or sysctl kernel.apparmor_restrict_unprivileged_userns=0", Err: cause}
		case makesProc(op.Label):
			needs := "a host whose /proc is fully visible"
			if covered := p.resolved.facts.ProcCovered; len(covered) > 0 {
				needs += ", but " + covered[0] + " is covered"
			}
			return &UnsupportedError{Feature: NewProc, Needs: needs, Err: cause,
				Remedy: "docker: --security-opt systempaths=unconfined; kubernetes: procMount: Unmasked"}
		case gated(op, cause):
			feature := MountNamespace
			if op.Call.Name == "sethostname" {
				feature = UTSNamespace
			}
			return &UnsupportedError{Feature: feature, Needs: "a host that lets this user call " + op.Call.Name + " in namespaces of its own", Err: cause,
				Remedy: "in a container: " + containerRemedy + "; on Ubuntu: an AppArmor profile with userns for this program"}
		}
	}
	return nil
}

// gated reports whether a step was refused by a filter or a profile: it is one of the calls that those keep for
// CAP_SYS_ADMIN, and in a namespace of its own the kernel has no reason. What open_tree may not reach is EACCES.
func gated(op *plan.Op, cause error) bool {
	name := op.Call.Name
	return op.Process == plan.Init && slices.Contains(gatedCalls[:], name) && (name != "open_tree" || !errors.Is(cause, syscall.EACCES))
}

// containerRemedy is for containers of which nothing is known.
const containerRemedy = "docker or podman: --security-opt seccomp=unconfined --security-opt apparmor=unconfined; kubernetes: hostUsers: false, seccompProfile and appArmorProfile {type: Unconfined}"

// moreProcesses is the remedy where there is no room for another process (fork(2), EAGAIN).
const moreProcesses = "raise RLIMIT_NPROC or pids.max"

// namespaceRemedy says what to do when clone3(2) refuses; the causes are those of its manual page.
func namespaceRemedy(cause error) string {
	switch {
	case errors.Is(cause, syscall.ENOSPC), errors.Is(cause, syscall.EUSERS):
		return "raise sysctl user.max_user_namespaces and its siblings for other namespaces"
	case errors.Is(cause, syscall.ENOSYS):
		return "a container's seccomp profile hides clone3: allow it, with CLONE_NEWUSER; " + containerRemedy
	case errors.Is(cause, syscall.EPERM), errors.Is(cause, syscall.EACCES):
		return "sysctl kernel.unprivileged_userns_clone=1 on Debian; an AppArmor profile with userns on Ubuntu; a seccomp profile that allows CLONE_NEWUSER in a container: " + containerRemedy
	case errors.Is(cause, syscall.EINVAL):
		return "a kernel with every kind of namespace configured"
	}
	return ""
}

// remedy says what to do about a step, where it is known.
func remedy(op *plan.Op, cause error) string {
	switch {
	case errors.Is(cause, syscall.EROFS) && (op.Call.Name == "mkdirat" || op.Call.Name == "mknodat"):
		return "the target must exist there, since the tree is read-only"
	case errors.Is(cause, syscall.ENOENT) && (op.Label == stepMountDev || op.Label == stepMountProc):
		return "a root that is not Writable must have the directories /dev and /proc"
	case errors.Is(cause, syscall.ENOTDIR) && op.Call.Name == "move_mount":
		return "what is mounted and what it is mounted on must both be directories, or both be none"
	case errors.Is(cause, syscall.ENOSPC) && (op.Call.Name == "move_mount" || op.Call.Name == "open_tree"):
		return "raise sysctl fs.mount-max"
	case errors.Is(cause, syscall.EMFILE):
		return "raise RLIMIT_NOFILE: every bind takes a descriptor while it is set up"
	case errors.Is(cause, syscall.EAGAIN) && op.Kind == plan.Fork:
		return moreProcesses
	case op.Call.Name == "openat2" && errors.Is(cause, syscall.ELOOP),
		errors.Is(cause, syscall.EINVAL) && (op.Label == stepMountDev || op.Label == stepMountProc):
		return "a symbolic link stands where a directory must be"
	case op.Call.Name == "prlimit64" && errors.Is(cause, syscall.EPERM):
		return "a hard limit cannot be raised above the caller's"
	}
	return ""
}

// commandError explains why the command could not be executed.
func (p *Plan) commandError(op *plan.Op, failed *launch.FailedError) error {
	name := p.resolved.argv[0]
	e := &OpError{Index: failed.Index, Op: "execute " + name, Call: op.Syscall()}
	cause := resultError(op, failed.Result)
	at := p.firstFound(failed.Notes)
	switch {
	case errors.Is(cause, syscall.ENOENT) && at >= 0:
		e.Op, e.Err = "execute "+p.resolved.candidates[at], ErrNoInterpreter
	case (errors.Is(cause, syscall.ENOENT) || errors.Is(cause, syscall.ENOTDIR)) && !p.refused(failed.Notes):
		e.Err = ErrNotFound
		e.Remedy = "it is looked up inside the sandbox"
	case errors.Is(cause, syscall.ENOENT), errors.Is(cause, syscall.ENOTDIR), errors.Is(cause, syscall.EACCES):
		e.Err = ErrNotExecutable
	case errors.Is(cause, syscall.ENOEXEC):
		e.Err = fmt.Errorf("%w: %w", ErrNotExecutable, cause)
	default:
		e.Err = cause
	}
	return e
}

// firstFound returns the candidate that exists and may be executed; -1 if none does.
func (p *Plan) firstFound(notes []int64) int {
	for i, result := range notes {
		if i < len(p.resolved.candidates) && result == 0 {
			return i
		}
	}
	return -1
}

// refused reports whether a candidate was there that may not be executed.
func (p *Plan) refused(notes []int64) bool {
	for _, result := range notes {
		if result == -int64(syscall.EACCES) {
			return true
		}
	}
	return false
}
