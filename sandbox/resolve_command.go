//go:build linux

package sandbox

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ringfence-go/ringfence/internal/plan"
)

// resolveCommand settles what the command is given, and the paths at which it may be.
func (r *resolved) resolveCommand(spec *Spec, _ *Host) error {
	if r.lives || r.waits {
		return nil
	}
	r.argv, r.extraFiles = spec.Args, nil
	if r.dir = spec.Dir; r.dir == "" {
		r.dir = "/"
	}
	for _, f := range spec.ExtraFiles {
		r.extraFiles = append(r.extraFiles, f != nil)
	}
	r.env = dedupEnv(spec.Env)
	if spec.Env == nil {
		home := baseHome
		if spec.Root.Path != "" || r.bare != nil {
			home = "/"
		}
		r.env = []string{"PATH=" + defaultPath, "HOME=" + home, "LANG=C.UTF-8"}
	}
	r.candidates = candidates(spec.Args[0], lookupPath(r.env))
	// Each candidate keeps one result in the record of the start.
	if n := len(r.candidates); n > plan.MaxNotes {
		return &SpecError{Field: "Env", Reason: fmt.Sprintf("PATH has %d entries or more, at most %d are searched", n, plan.MaxNotes)}
	}
	return nil
}

// dedupEnv keeps the last value of every key, in the place of the last, as os/exec does.
func dedupEnv(env []string) []string {
	seen := make(map[string]bool, len(env))
	out := make([]string, 0, len(env))
	for _, e := range slices.Backward(env) {
		key, _, _ := strings.Cut(e, "=")
		if !seen[key] {
			seen[key] = true
			out = append(out, e)
		}
	}
	slices.Reverse(out)
	return out
}

// lookupPath returns the PATH of an environment.
func lookupPath(env []string) string {
	for _, e := range env {
		if value, ok := strings.CutPrefix(e, "PATH="); ok {
			return value
		}
	}
	return cpath
}

// candidates returns the paths at which execvp(3) would try to execute name, each once.
func candidates(name, searchPath string) []string {
	if strings.Contains(name, "/") {
		return []string{name}
	}
	var list []string
	for dir := range strings.SplitSeq(searchPath, ":") {
		if dir == "" {
			dir = "." // "a zero-length prefix", environ(7)
		}
		p := strings.TrimSuffix(dir, "/") + "/" + name
		if !slices.Contains(list, p) {
			list = append(list, p)
		}
		if len(list) > plan.MaxNotes {
			return list // which is too many: looking on would be quadratic
		}
	}
	return list
}

// resolveUnsupported refuses what this version cannot do, unless it may be left out.
func (r *resolved) resolveUnsupported(spec *Spec, _ *Host) error {
	const later = "a later version of this library"
	for _, part := range []struct {
		asked   bool
		feature Feature
		needs   string
	}{
		{len(spec.Root.Layers) > 0, LayeredRoot, later},
		{slices.ContainsFunc(spec.Mounts, func(m Mount) bool { return m.Type == Overlay }), OverlayMount, later},
	} {
		if !part.asked {
			continue
		}
		if err := r.leaveOut(spec, part.feature, part.needs, "", false); err != nil {
			return err
		}
	}
	return nil
}
