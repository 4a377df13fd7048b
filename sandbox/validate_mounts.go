package sandbox

import (
	"io/fs"
	"path"
	"strings"
)

// Bounds on what a Spec mounts. No honest Spec comes near them; they keep a hostile or broken one
// from taking the caller's memory and time.
const (
	maxMounts   = 1024     // entries of Mounts; the kernel's own bound for a namespace is 100000 (fs.mount-max)
	maxLayers   = 500      // OVL_MAX_STACK of the kernel's fs/overlayfs
	maxFileData = 64 << 20 // bytes of Data of all Mounts together, which the set-up image carries
	maxPath     = 4096     // PATH_MAX of linux/limits.h, NUL included
	maxName     = 255      // NAME_MAX of linux/limits.h, bytes of one component
	maxDepth    = 8192     // components of all Targets together: each takes three steps of the set-up's 65535
)

func validateRoot(f *faults, root *Root) {
	if root.Path != "" {
		validatePath(f, "Root.Path", root.Path)
		if len(root.Layers) > 0 {
			f.add("Root", "both Path and Layers are set")
		}
	}
	for i, layer := range root.Layers[:f.count("Root.Layers", len(root.Layers), maxLayers)] {
		if layer == "" {
			f.add(index("Root.Layers", i), "empty")
		} else {
			validatePath(f, index("Root.Layers", i), layer)
		}
	}
	if root.Upper != "" {
		validatePath(f, "Root.Upper", root.Upper)
		if len(root.Layers) == 0 {
			f.add("Root.Upper", "set without Layers, whose changes it would keep")
		}
	}
	if root.Writable && root.Path == "" {
		f.add("Root.Writable", "set without Path, the only root that it applies to")
	}
}

func validateMounts(f *faults, mounts []Mount) {
	targets := make(map[string]int, min(len(mounts), maxMounts))
	data, depth := 0, 0
	for i := range mounts[:f.count("Mounts", len(mounts), maxMounts)] {
		m, field := &mounts[i], index("Mounts", i)
		validateSource(f, field, m)
		if target, ok := validateTarget(f, field+".Target", m.Target); ok {
			if first, dup := targets[target]; dup {
				f.add(field+".Target", "%s is the target of %s too", brief(target), index("Mounts", first))
			} else {
				targets[target] = i
			}
		}
		validateContents(f, field, m)
		data = min(data+len(m.Data), maxFileData+1)
		depth += strings.Count(m.Target, "/")
	}
	if depth > maxDepth {
		f.add("Mounts", "more than %d components of Targets together", maxDepth)
	}
	if data > maxFileData {
		f.add("Mounts", "more than %d bytes of Data together", maxFileData)
	}
}

func validateSource(f *faults, field string, m *Mount) {
	switch {
	case m.Type < Bind || m.Type > Mqueue:
		f.add(field+".Type", "unknown type %d", int(m.Type))
	case m.Type == Bind && m.Source == "":
		f.add(field+".Source", "empty: a Bind needs a file or directory of the host")
	case m.Type != Bind && m.Source != "":
		f.add(field+".Source", "set: only a Bind has a Source")
	}
	if m.Source != "" {
		validatePath(f, field+".Source", m.Source)
	}
}

func validateContents(f *faults, field string, m *Mount) {
	if m.Type != File && len(m.Data) > 0 {
		f.add(field+".Data", "set: only a File has Data")
	}
	switch {
	case m.Size < 0:
		f.add(field+".Size", "%d is negative", m.Size)
	case m.Size > 0 && m.Type != Tmpfs:
		f.add(field+".Size", "set: only a Tmpfs has a Size")
	}
	possible := fs.ModePerm
	if m.Type == Tmpfs {
		possible |= fs.ModeSticky
	}
	switch {
	case m.Mode == 0:
	case m.Type != File && m.Type != Tmpfs:
		f.add(field+".Mode", "set: only a File and a Tmpfs have a Mode")
	case m.Mode&^possible != 0:
		f.add(field+".Mode", "%v holds more than permission bits, and fs.ModeSticky of a Tmpfs", m.Mode)
	}
}

// validateTarget returns the cleaned target, and whether it is one that can be compared with others.
//
// A target must be clean already: what a mount covers then shows in the Spec as it is written, and
// sorting and comparing targets means what it seems to.
func validateTarget(f *faults, field, target string) (string, bool) {
	if target == "" {
		f.add(field, "empty")
		return "", false
	}
	if !validatePath(f, field, target) {
		return "", false
	}
	clean := path.Clean(target)
	switch {
	case !path.IsAbs(target):
		f.add(field, "%s is relative: it is a path inside the sandbox, which starts with /", brief(target))
		return "", false
	case hasDotDot(target):
		f.add(field, "%s holds %q", brief(target), "..")
		return "", false
	case clean == "/":
		f.add(field, "is /: that is what Root is for")
		return "", false
	case clean != target:
		f.add(field, "%s is not clean: write %s", brief(target), brief(clean))
	}
	return clean, true
}

// validatePath holds what is true of every path that the kernel takes, of the host or inside, and
// reports whether it is.
func validatePath(f *faults, field, p string) bool {
	if len(p) >= maxPath {
		f.add(field, "%d bytes, a path has at most %d", len(p), maxPath-1)
		return false
	}
	if strings.IndexByte(p, 0) >= 0 {
		f.add(field, "holds a NUL byte")
		return false
	}
	for name := range strings.SplitSeq(p, "/") {
		if len(name) > maxName {
			f.add(field, "the component %s has %d bytes, at most %d are possible", brief(name), len(name), maxName)
			return false
		}
	}
	return true
}

func hasDotDot(p string) bool {
	for name := range strings.SplitSeq(p, "/") {
		if name == ".." {
			return true
		}
	}
	return false
}
