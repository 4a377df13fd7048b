package filetree

import (
	"errors"
	"fmt"
)

// The errors, beside those of the system. Each comes in a *PartError.
var (
	// ErrLimit says that there is more than MaxBytes, MaxFiles or MaxDepth.
	ErrLimit = errors.New("more than the limit")
	// ErrKind says that it is neither a regular file nor a directory, and not what was asked for.
	ErrKind = errors.New("neither a regular file nor a directory")
	// ErrPseudo says that it is of a file system whose files the kernel makes up.
	ErrPseudo = errors.New("of a file system that the kernel makes up")
	// ErrChanged says that it was changed while it was read.
	ErrChanged = errors.New("changed while it was read")
)

// PartError is an error that concerns a part of a tree. One of a Writer comes as it is.
type PartError struct {
	Path string // from the top of the tree, which is "."
	Err  error
}

func (e *PartError) Error() string { return e.Path + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *PartError) Unwrap() error { return e.Err }

// MaxDepth is how many directories below the top are gone into.
const MaxDepth = 100

// caseOf is an error with a text of its own that is a case of another.
type caseOf struct {
	is   error
	text string
}

func (e *caseOf) Error() string        { return e.text }
func (e *caseOf) Is(target error) bool { return target == e.is }

func limit(format string, args ...any) error {
	return &caseOf{ErrLimit, fmt.Sprintf(format, args...)}
}

// problems collects errors that do not end a copy. A tree may hold a million of them.
type problems struct {
	errs []error
	more int
}

// maxProblems is how many errors of one tree are told; the rest is counted.
const maxProblems = 16

func (p *problems) add(err error) {
	if len(p.errs) == maxProblems {
		p.more++
		return
	}
	p.errs = append(p.errs, err)
}

// join returns them all, with the one that ended the copy, if one did.
func (p *problems) join(last error) error {
	errs := p.errs
	if p.more > 0 {
		errs = append(errs, fmt.Errorf("and %d more that were left out", p.more))
	}
	return errors.Join(append(errs, last)...)
}
