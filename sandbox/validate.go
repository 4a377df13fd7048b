package sandbox

import (
	"os"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/moby/sys/capability"
)

// What execve(2) takes. The kernel's own bound on the sum depends on the stack limit, at least 128
// KiB and by default 2 MiB; 1 MiB leaves room for the stack, and bounds the size of the image that
// starts the command.
const (
	maxArgLen   = 128 << 10 // MAX_ARG_STRLEN of linux/binfmts.h: 32 pages of 4 KiB, NUL included
	maxArgBytes = 1 << 20   // Args and Env together, with a NUL and a pointer for each string
)

// Bounds on the length of lists. No honest Spec comes near them; they keep a hostile or broken one
// from taking the caller's memory and time.
const (
	maxExtraFiles   = 256
	maxCapabilities = 64 // bits in a capability set (capabilities(7))
	maxAllowMissing = 64
)

// maxHostname is __NEW_UTS_LEN of linux/utsname.h.
const maxHostname = 64

// validate reports every fault of spec that can be seen without looking at a host: each as a
// *SpecError, joined, in the order of the fields. It is a function of spec alone and works on every
// system. The work is linear in the size of spec, and no loop runs on after the faults are too many
// to report.
//
// It establishes: every string ends at its NUL when the kernel reads it; every path is bounded;
// every Target is absolute, clean and unique; every count and sum is bounded; every number is in the
// range of the kernel's type for it. Whether sources exist, limits are allowed and features are there is
// for resolve and compile.
func validate(spec *Spec) error {
	f := &faults{}
	validateNamed(f, spec.Args)
	validateCommand(f, spec)
	validateSandbox(f, spec)
	return f.err()
}

// validateCommand reports the faults of what is one command's, but for a missing name.
func validateCommand(f *faults, spec *Spec) {
	validateArgs(f, spec)
	validateDir(f, spec.Dir)
	validateStreams(f, spec)
	validateTerminal(f, spec)
	validateStop(f, spec)
}

// validateSandbox reports the faults of what holds every command.
func validateSandbox(f *faults, spec *Spec) {
	validateRoot(f, &spec.Root)
	validateMounts(f, spec.Mounts)
	validateHostname(f, spec.Hostname)
	validateNetwork(f, spec.Network)
	validateIDs(f, spec)
	validateCapabilities(f, spec.Capabilities)
	validateLimits(f, &spec.Limits)
	validateCollects(f, spec.Collect)
	if p := spec.Cgroup.Path; p != "" {
		validatePath(f, "Cgroup.Path", p)
	}
	validateAllowMissing(f, spec.AllowMissing)
}

func validateNamed(f *faults, args []string) {
	switch {
	case len(args) == 0:
		f.add("Args", "empty: it names the command")
	case args[0] == "":
		f.add("Args[0]", "empty: it names the command")
	}
}

func validateArgs(f *faults, spec *Spec) {
	total := 0
	for i, s := range spec.Args {
		if total += argSize(s); tooManyBytes(f, "Args", total) || f.full() {
			return
		}
		validateArg(f, "Args", i, s)
	}
	for i, s := range spec.Env {
		if total += argSize(s); tooManyBytes(f, "Env", total) || f.full() {
			return
		}
		validateArg(f, "Env", i, s)
		// Values are often secrets: no message quotes one. Of several values of a key the last one
		// counts, as in os/exec, so a key that is there twice is no fault.
		switch strings.IndexByte(s, '=') {
		case -1:
			f.add(index("Env", i), `not of the form "key=value"`)
		case 0:
			f.add(index("Env", i), "empty key")
		}
	}
}

func tooManyBytes(f *faults, field string, total int) bool {
	if total > maxArgBytes {
		f.add(field, "Args and Env together take more than %d bytes, each string's NUL and pointer included", maxArgBytes)
		return true
	}
	return false
}

// argSize is what s takes of the room for arguments: since Linux 4.13 execve(2) counts the pointers,
// so that a million empty strings are no way around the bound.
func argSize(s string) int { return len(s) + 1 + 8 }

func validateArg(f *faults, list string, i int, s string) {
	switch {
	case len(s) >= maxArgLen:
		f.add(index(list, i), "%d bytes, execve(2) takes at most %d", len(s), maxArgLen-1)
	case strings.IndexByte(s, 0) >= 0:
		f.add(index(list, i), "holds a NUL byte")
	}
}

func validateDir(f *faults, dir string) {
	if dir == "" || !validatePath(f, "Dir", dir) {
		return
	}
	switch clean := path.Clean(dir); {
	case !path.IsAbs(dir):
		f.add("Dir", "%s is relative: it is a path inside the sandbox, which starts with /", brief(dir))
	case hasDotDot(dir):
		f.add("Dir", "%s holds %q", brief(dir), "..")
	case clean == "/proc" || strings.HasPrefix(clean, "/proc/"):
		// CVE-2024-21626: /proc/self/fd/N can be a directory of the host.
		f.add("Dir", "%s is /proc or below it, where a link can lead out", brief(dir))
	}
}

func validateStreams(f *faults, spec *Spec) {
	usable := func(field string, stream any) {
		if v := reflect.ValueOf(stream); v.IsValid() && (v.Kind() == reflect.Pointer || v.Kind() == reflect.Func) && v.IsNil() {
			// os/exec would panic later, or hand over descriptor -1.
			f.add(field, "a nil %s: leave the field nil for the null device", v.Type())
		} else if file, ok := stream.(*os.File); ok && file.Fd() == ^uintptr(0) {
			f.add(field, "a closed file")
		}
	}
	usable("Stdin", spec.Stdin)
	usable("Stdout", spec.Stdout)
	usable("Stderr", spec.Stderr)
	for i, file := range spec.ExtraFiles[:f.count("ExtraFiles", len(spec.ExtraFiles), maxExtraFiles)] {
		if file != nil && file.Fd() == ^uintptr(0) {
			f.add(index("ExtraFiles", i), "a closed file")
		}
	}
}

func validateHostname(f *faults, name string) {
	if len(name) > maxHostname {
		f.add("Hostname", "%d bytes, at most %d are possible", len(name), maxHostname)
		return
	}
	for _, c := range []byte(name) {
		// It becomes a line of /etc/hosts, where white space starts the next name and # a comment.
		if !isAlnum(c) && c != '-' && c != '.' && c != '_' {
			f.add("Hostname", "%s holds %q; letters, digits, '-', '.' and '_' are possible", brief(name), rune(c))
			return
		}
	}
}

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func validateNetwork(f *faults, network Network) {
	switch network.(type) {
	case nil, HostNetwork:
	default:
		// A type that embeds Network, or a pointer.
		f.add("Network", "unknown type %T", network)
	}
}

func validateCapabilities(f *faults, caps []capability.Cap) {
	if len(caps) == 0 {
		return
	}
	known := make(map[capability.Cap]bool, maxCapabilities)
	for _, c := range capability.ListKnown() {
		known[c] = true
	}
	for i, c := range caps[:f.count("Capabilities", len(caps), maxCapabilities)] {
		if !known[c] {
			f.add(index("Capabilities", i), "unknown capability %d", int(c))
		}
	}
}

func validateAllowMissing(f *faults, features []Feature) {
	for i, feature := range features[:f.count("AllowMissing", len(features), maxAllowMissing)] {
		if !knownFeature(feature) {
			f.add(index("AllowMissing", i), "unknown feature %s", brief(string(feature)))
		}
	}
}

// knownFeature reports whether f is one of the constants in feature.go. A test holds the two together.
func knownFeature(f Feature) bool { return slices.Contains(features[:], f) }
