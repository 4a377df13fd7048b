package sandbox

import (
	"fmt"
	"io"
	"io/fs"

	"github.com/ringfence-go/ringfence/internal/filetree"
)

// Collect takes files out of a sandbox, by Spec.Collect or Sandbox.CopyOut. Exactly one of File, Tar and FS is set.
//
// Hostile code decides what is there, and nothing that it does leads out of the sandbox: no symbolic link is
// followed, in Path neither, and only regular files and directories are read, from file systems that hold
// files; whatever else there is, is an error. Files are opened with the rights of the caller; for one that is
// root with those of Spec.User.
type Collect struct {
	// Path is an absolute path inside, without "..".
	Path string

	// File takes the contents of the regular file at Path.
	File io.Writer

	// Tar takes an archive of the file at Path, or of all that is below the directory at Path, with names
	// relative to it. Modes have no setuid, setgid and sticky bit, owners are IDs inside, and a hard link is
	// a file of its own. An error that is no fault of the writer's leaves what it concerns out: the archive is
	// whole as far as it goes, unless a file has changed its size while it was read.
	Tar io.Writer

	// FS is called with the directory at Path. Files can be read until it returns; then everything is
	// closed. Symbolic links are listed and never followed. Its error is that of the Collect.
	FS func(fs.FS) error

	// Symlinks keeps symbolic links in a Tar, as links, and lets fs.ReadLink of an FS read them. Whoever
	// unpacks such an archive must not follow them. Without it one is an ErrNotCollected.
	Symlinks bool

	// MaxBytes is how much is read of all files together; zero is DefaultCollectBytes. A hole in a file
	// counts as what it reads as, and what an FS reads twice counts twice.
	MaxBytes int64

	// MaxFiles is how many files and directories are looked at; zero is DefaultCollectFiles. What an FS looks
	// at twice counts twice.
	MaxFiles int
}

// The limits of a Collect that sets none.
const (
	DefaultCollectBytes = 256 << 20 // bytes; what a tmpfs of the base system holds
	DefaultCollectFiles = 10_000
)

// CollectError says what could not be taken out of a sandbox, or put into it, and why: fs.ErrNotExist,
// fs.ErrPermission, ErrCollectLimit, ErrNotCollected, the error of a writer.
type CollectError struct {
	Op     string // "collect", "copy out" or "copy in"
	Path   string // inside
	Remedy string // what the user can do; "" if nothing is known
	Err    error
}

func (e *CollectError) Error() string {
	s := fmt.Sprintf("sandbox: %s %s: %v", e.Op, brief(e.Path), e.Err)
	if e.Remedy != "" {
		s += " (" + e.Remedy + ")"
	}
	return s
}

// Unwrap returns the cause.
func (e *CollectError) Unwrap() error { return e.Err }

// The causes in a *CollectError, beside those of the system.
var (
	// ErrCollectLimit says that there is more than MaxBytes or MaxFiles, or that directories are nested more
	// than 100 deep.
	ErrCollectLimit = filetree.ErrLimit
	// ErrNotCollected says that something is neither a regular file nor a directory: a symbolic link, a fifo,
	// a socket, a device.
	ErrNotCollected = filetree.ErrKind
)

// maxCollects bounds the list.
const maxCollects = 64

func validateCollects(f *faults, all []Collect) {
	for i := range all[:f.count("Collect", len(all), maxCollects)] {
		validateCollect(f, index("Collect", i), &all[i])
	}
}

func validateCollect(f *faults, field string, c *Collect) {
	validateInside(f, field+".Path", c.Path)
	outputs := 0
	for _, set := range []bool{c.File != nil, c.Tar != nil, c.FS != nil} {
		if set {
			outputs++
		}
	}
	if outputs != 1 {
		f.add(field, "%d of File, Tar and FS are set, and it takes one", outputs)
	}
	if c.MaxBytes < 0 {
		f.add(field+".MaxBytes", "%d is negative", c.MaxBytes)
	}
	if c.MaxFiles < 0 {
		f.add(field+".MaxFiles", "%d is negative", c.MaxFiles)
	}
}
