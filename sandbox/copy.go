package sandbox

import (
	"io/fs"
	"path"
	"strings"
)

// CopyOptions says how Sandbox.CopyIn copies; the zero value is what most want.
type CopyOptions struct {
	// MaxBytes is how much is written, of all files together; zero is DefaultCollectBytes.
	MaxBytes int64

	// MaxFiles is how many files and directories are made; zero is DefaultCollectFiles.
	MaxFiles int

	// Overwrite removes what is in the place of a file, be it a link, and makes the file anew. Without it that
	// is an error, fs.ErrExist. Directories that are there are kept in any case.
	Overwrite bool

	// Symlinks makes the symbolic links of the source inside, as links. Without it one is an ErrNotCollected.
	Symlinks bool
}

// validateInside holds what is true of a path inside that files are copied from or to.
func validateInside(f *faults, field, p string) {
	if !validatePath(f, field, p) {
		return
	}
	switch clean := path.Clean(p); {
	case !path.IsAbs(p):
		f.add(field, "%s is relative: it is a path inside the sandbox, which starts with /", brief(p))
	case hasDotDot(p):
		f.add(field, "%s holds %q", brief(p), "..")
	case clean == "/proc" || strings.HasPrefix(clean, "/proc/"):
		f.add(field, "%s is /proc or below it, where the kernel makes files up", brief(p))
	}
}

func validateCopyIn(f *faults, dst string, src fs.FS, o *CopyOptions) {
	validateInside(f, "CopyIn.Destination", dst)
	if src == nil {
		f.add("CopyIn.Source", "nil")
	}
	if o.MaxBytes < 0 {
		f.add("CopyIn.MaxBytes", "%d is negative", o.MaxBytes)
	}
	if o.MaxFiles < 0 {
		f.add("CopyIn.MaxFiles", "%d is negative", o.MaxFiles)
	}
}
