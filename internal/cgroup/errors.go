package cgroup

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// prefix begins every error of this package.
const prefix = "cgroup: "

// Error is a step that did not succeed.
type Error struct {
	Op     string // what was attempted: "set memory.max to 1000"
	Path   string // on what
	Remedy string // what the user can do; "" if nothing is known
	Err    error  // the cause
}

func (e *Error) Error() string {
	s := prefix + e.Op
	if e.Path != "" {
		s += " in " + e.Path
	}
	s += ": " + e.Err.Error()
	if e.Remedy != "" {
		s += " (" + e.Remedy + ")"
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Causes that are no errno.
var (
	// ErrNotDelegated says that a cgroup is not the caller's to divide.
	ErrNotDelegated = errors.New("not delegated to this user")
	// ErrInnerProcesses says that a cgroup has processes of its own, so that its controllers cannot be
	// handed on (section "No Internal Process Constraint").
	ErrInnerProcesses = errors.New("it has processes of its own")
	// ErrNoController says that a controller is not to be had.
	ErrNoController = errors.New("a controller is missing")
	// ErrNoCgroup2 says that the host has no usable cgroups of version 2.
	ErrNoCgroup2 = errors.New("no cgroup v2 with controllers")
	// ErrRemoved says that the cgroup does not exist any more.
	ErrRemoved = errors.New("the cgroup was removed")
)

// MissingError says which controllers a cgroup lacks. It matches ErrNoController.
type MissingError struct{ Controllers []Controller }

func (e *MissingError) Error() string {
	names := make([]string, len(e.Controllers))
	for i, c := range e.Controllers {
		names[i] = string(c)
	}
	return "it lacks the controller " + strings.Join(names, ", ")
}

// Is reports whether target is ErrNoController.
func (e *MissingError) Is(target error) bool { return target == ErrNoController }

// Way is how a subtree was come by.
type Way int

// The ways, in the order in which they are tried.
const (
	Given         Way = iota + 1 // Options.Path
	Own                          // the caller's own cgroup, or one above it, is delegated
	Namespace                    // the root of the caller's cgroup namespace, in a container
	UserManager                  // a unit of the user's systemd
	SystemManager                // a unit of the system's systemd, for a root caller
	OwnDirectory                 // a directory of its own below the root of all cgroups, for a root caller
)

// String returns the way in words.
func (w Way) String() string {
	switch w {
	case Given:
		return "the given cgroup"
	case Own:
		return "the caller's own cgroup"
	case Namespace:
		return "the container's cgroup"
	case UserManager:
		return "the user's systemd"
	case SystemManager:
		return "the system's systemd"
	case OwnDirectory:
		return "a directory of its own"
	}
	return fmt.Sprintf("Way(%d)", int(w))
}

// Attempt is a way that did not lead to a subtree.
type Attempt struct {
	Way Way
	Err error
}

// FindError says that no subtree was found. It matches errors.ErrUnsupported, and the cause of each attempt.
type FindError struct {
	Attempts []Attempt
	Remedy   string // what helps on this host
}

func (e *FindError) Error() string {
	var b strings.Builder
	b.WriteString(prefix + "find a delegated subtree: ")
	for i, a := range e.Attempts {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%v: %s", a.Way, strings.TrimPrefix(a.Err.Error(), prefix)) // named once
	}
	if e.Remedy != "" {
		fmt.Fprintf(&b, " (%s)", e.Remedy)
	}
	return b.String()
}

// Unwrap returns errors.ErrUnsupported and the causes.
func (e *FindError) Unwrap() []error {
	all := []error{errors.ErrUnsupported}
	for _, a := range e.Attempts {
		all = append(all, a.Err)
	}
	return all
}

// lineError is several errors in one line.
type lineError []error

func (l lineError) Error() string {
	texts := make([]string, len(l))
	for i, err := range l {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (l lineError) Unwrap() []error { return l }

// oneLine joins errors; nil if there is none.
func oneLine(all ...error) error {
	all = slices.DeleteFunc(slices.Clone(all), func(err error) bool { return err == nil })
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	return lineError(all)
}
