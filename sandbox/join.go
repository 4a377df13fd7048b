//go:build linux

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// killSignal ends what nothing else does.
const killSignal = unix.SIGKILL

// complete checks the Spec of a command and fills in what it takes over from the sandbox's.
func (s *Sandbox) complete(spec *Spec) error {
	if err := validateJoin(spec); err != nil {
		return err
	}
	full := commandOf(&s.keeper.spec, spec)
	l := &full.Limits
	l.CPUTime = 0 // the sandbox's
	l.Rlimits = slices.Clone(spec.Limits.Rlimits)
	for _, r := range s.keeper.plan.resolved.rlimits {
		if !slices.ContainsFunc(l.Rlimits, func(own Rlimit) bool { return own.Type == r.Type }) {
			l.Rlimits = append(l.Rlimits, r)
		}
	}
	*spec = full
	return nil
}

// launch starts a command that joins the sandbox.
func (s *Sandbox) launch(c *Cmd, files []*os.File) error {
	host, err := thisHost.get()
	if err != nil {
		return err
	}
	r, err := s.keeper.plan.resolved.join(&c.spec, host)
	if err != nil {
		return err
	}
	if err := r.checkDumpable(); err != nil {
		return err
	}
	if c.plan, err = checked(r, compileJoin(r)); err != nil {
		return err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.joins == nil || s.over() {
		return &OpError{Index: -1, Op: "join the sandbox", Err: ErrEnded}
	}
	joins := s.joins
	if r.terminal != nil {
		joins = append(slices.Clone(joins), s.terminals)
	}
	ctx, done := c.starting()
	defer done()
	if wall := c.spec.Limits.WallTime; wall > 0 {
		// What runs in the sandbox may stop the process of a command that is not executed yet.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, wall)
		defer cancel()
	}
	c.process, err = c.plan.launch(ctx, files, s.keeper.cell, joins)
	if err != nil && ctx.Err() != nil && c.ctx.Err() == nil {
		err = &OpError{Index: -1, Op: "join the sandbox", Err: fmt.Errorf("the command was not executed within %v: %w", c.spec.Limits.WallTime, os.ErrDeadlineExceeded), Remedy: remedyJoin}
	}
	if err != nil {
		if s.over() {
			return &OpError{Index: -1, Op: "join the sandbox", Err: errors.Join(ErrEnded, err)}
		}
		return err
	}
	s.joined.mu.Lock()
	s.joined.all[c.process] = true
	s.joined.mu.Unlock()
	return nil
}

// remedyJoin is for starts that something in the sandbox has prevented.
const remedyJoin = "other processes of the sandbox may stop or kill a command that is about to be executed: run what is hostile in a sandbox of its own"

// checkDumpable refuses another user than the joiner's where a change of the user makes a process traceable: for a
// moment what already runs inside as that user could look into the joiner, which shares its memory with the
// command until the execution.
func (r *resolved) checkDumpable() error {
	if uid, gid := r.ids.first(); r.ids.uid == uid && r.ids.gid == gid {
		return nil
	}
	const file, traceable = "/proc/sys/fs/suid_dumpable", "1"
	if b, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(b)) == traceable {
		return &UnsupportedError{Feature: IDMap, Needs: "a host where a process that changes its user cannot be traced, for a command that joins as another user",
			Remedy: "sysctl fs.suid_dumpable=0, or 2"}
	}
	return nil
}

// over reports whether PID 1 has ended, or is about to.
func (s *Sandbox) over() bool {
	s.keeper.mu.Lock()
	cause := s.keeper.cause
	s.keeper.mu.Unlock()
	return cause != 0 || s.keeper.process.AwaitEnd(0)
}

// join answers what the Spec of a command in a sandbox leaves open. r is the sandbox's.
//
// Preconditions: complete found no fault in spec.
func (r *resolved) join(spec *Spec, host *Host) (*resolved, error) {
	j := *r
	j.lives, j.joins, j.watchCPU = false, true, false
	j.enforced, j.missing = slices.Clone(r.enforced), slices.Clone(r.missing)
	j.rlimits = spec.Limits.Rlimits
	if host.listened && r.filter.heard != byNobody {
		if err := j.resolveFilters(spec, host); err != nil {
			return nil, err
		}
	}
	policy := closed(spec.Seccomp, r.without)
	if policy == nil {
		policy = defaultPolicy()
	}
	j.filter = j.filter.joined(policy)
	if err := j.resolveTerminal(spec, host); err != nil {
		return nil, err
	}
	filters := joinerFilters
	if j.terminal != nil {
		filters = terminalJoinerFilters
	}
	own, err := filters.of(r.facts.Arch)
	if err != nil {
		return nil, err
	}
	j.initFilter = own.raw
	if u := spec.User; u != nil {
		j.ids.uid, j.ids.gid, j.ids.groups = u.UID, u.GID, u.Groups
		if err := j.ids.check(r.facts.Caller); err != nil {
			return nil, err
		}
	}
	if err := j.resolveCommand(spec, host); err != nil {
		return nil, err
	}
	j.enforceCommand(spec)
	return &j, nil
}
