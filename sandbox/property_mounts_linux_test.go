package sandbox

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/testing/victim"
)

// What a Spec says about files.

// sourceMounts returns the mount that holds source, and those below it, as they will be below target.
func (w *world) sourceMounts(t *testing.T, source, target string) []victim.MountPoint {
	from, err := filepath.EvalSymlinks(source)
	if err == nil {
		from, err = filepath.Abs(from)
	}
	if err != nil {
		t.Fatal(err)
	}
	var holder victim.MountPoint
	for _, m := range w.host.Mounts { // the last one is on top
		if isBelow(from, m.Point) && len(m.Point) >= len(holder.Point) {
			holder = m
		}
	}
	all, inside := []victim.MountPoint{holder}, map[string]bool{holder.ID: true}
	all[0].Point = target
	for again := true; again; {
		again = false
		for _, m := range w.host.Mounts {
			if inside[m.Parent] && !inside[m.ID] && m.Point != from && isBelow(m.Point, from) {
				inside[m.ID], again = true, true
				m.Point = path.Join(target, strings.TrimPrefix(m.Point, from))
				all = append(all, m)
			}
		}
	}
	return all
}

// flags are what a Spec says of a mount.
func flags(options []string, of ...string) string {
	var f []string
	for _, o := range of {
		if slices.Contains(options, o) {
			f = append(f, o)
		}
	}
	return strings.Join(f, ",")
}

// expectedMounts returns the mounts of the Spec as lines "point type flags".
func (p *property) expectedMounts(spec *Spec) []string {
	var want []string
	bind := func(source, target string, writable bool) {
		for _, m := range p.world.sourceMounts(p.t, source, target) {
			options := append(slices.Clone(m.Options), "nosuid", "nodev")
			if !writable {
				options = append(options, "ro")
			}
			want = append(want, fmt.Sprintf("%q %s %s", m.Point, m.Type, flags(options, "ro", "nosuid", "nodev", "noexec")))
		}
	}
	if r := spec.Root; r.Path != "" {
		bind(r.Path, "/", r.Writable)
	}
	for _, m := range spec.Mounts {
		at := p.world.resolve(spec.Root, m.Target)
		switch {
		case m.Type == Bind:
			bind(m.Source, at, m.Writable)
		case m.Type == File && !m.Writable:
			want = append(want, fmt.Sprintf("%q tmpfs ro,nosuid,nodev", at))
		case m.Type == File || m.Type == Tmpfs:
			want = append(want, fmt.Sprintf("%q tmpfs nosuid,nodev", at))
		case m.Type == Proc:
			want = append(want, fmt.Sprintf("%q proc nosuid,nodev,noexec", at))
		case m.Type == Devpts:
			want = append(want, fmt.Sprintf("%q devpts nosuid,noexec", at))
		case m.Type == Mqueue:
			want = append(want, fmt.Sprintf("%q mqueue nosuid,nodev,noexec", at))
		}
	}
	return want
}

// baseMount says whether a mount is one of those that every sandbox has: those of the base system, or those
// that cover a tree.
func baseMount(m victim.MountPoint, tree bool) bool {
	is := flags(m.Options, "ro", "nosuid", "nodev", "noexec")
	switch {
	case m.Point == "/proc":
		return m.Type == "proc" && is == "nosuid,nodev,noexec"
	case isBelow(m.Point, "/proc"):
		return strings.HasPrefix(is, "ro,nosuid")
	case m.Point == "/dev/pts":
		return m.Type == "devpts" && is == "nosuid,noexec"
	case m.Point == "/dev/shm":
		return m.Type == "tmpfs" && is == "nosuid,nodev"
	case m.Point == "/dev":
		return tree && m.Type == "tmpfs" && is == "ro,nosuid,noexec"
	case path.Dir(m.Point) == "/dev":
		return slices.Contains([]string{"null", "zero", "full", "random", "urandom", "tty"}, path.Base(m.Point)) && is == "ro,nosuid,noexec"
	case tree:
		return false
	case m.Point == "/":
		return m.Type == "tmpfs" && is == "ro,nosuid,nodev"
	case m.Point == "/tmp", m.Point == "/home/sandbox":
		return m.Type == "tmpfs" && is == "nosuid,nodev"
	case isBelow(m.Point, "/usr"), isBelow(m.Point, "/etc"), slices.Contains([]string{"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}, m.Point):
		return strings.HasPrefix(is, "ro,nosuid,nodev")
	}
	return false
}

func (p *property) checkMounts(how string, o *victim.Observation, spec *Spec) {
	want := p.expectedMounts(spec)
	for _, m := range o.Mounts {
		if len(m.Tags) > 0 {
			p.t.Errorf("%s: the mount on %s propagates: %v", how, m.Point, m.Tags)
		}
		line := fmt.Sprintf("%q %s %s", m.Point, m.Type, flags(m.Options, "ro", "nosuid", "nodev", "noexec"))
		if i := slices.Index(want, line); i >= 0 {
			want = slices.Delete(want, i, i+1)
		} else if !baseMount(m, spec.Root.Path != "") && !p.hidesHost(spec, m) {
			p.t.Errorf("%s: nobody asked for the mount %s", how, line)
		}
	}
	if len(want) > 0 {
		p.t.Errorf("%s: there are no mounts %q", how, want)
	}
}

// hidesHost says whether a mount is in a /proc of the Spec's, where it can only take away.
func (p *property) hidesHost(spec *Spec, m victim.MountPoint) bool {
	return slices.Contains(m.Options, "ro") && slices.ContainsFunc(spec.Mounts, func(o Mount) bool {
		return o.Type == Proc && isBelow(m.Point, p.world.resolve(spec.Root, o.Target))
	})
}

// basePaths are always looked at; whether each can be written to is the value.
var basePaths = map[string]bool{"/": false, "/etc": false, "/usr": false, "/run": false, "/var": false, "/home": false, "/dev": false, "/dev/shm": true,
	"/tmp": true, "/home/sandbox": true, "/etc/hostname": false, "/etc/passwd": false, "/proc/sys/kernel/hostname": false, "/proc/sys/kernel/core_pattern": false,
	"/root": false, "/srv": false, "/opt": false, "/mnt": false}

// What tells of the host in a /proc, and what changes it.
const interrupts, corePattern = "/interrupts", "/sys/kernel/core_pattern"

func (p *property) pathsToLookAt() []string {
	var all []string
	if p.spec.Root.Path == "" {
		for name := range basePaths {
			all = append(all, name)
		}
	}
	for _, m := range p.spec.Mounts {
		all = append(all, m.Target)
		if m.Type == Proc {
			all = append(all, m.Target+interrupts, m.Target+corePattern)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (p *property) checkPaths(how string, o *victim.Observation, spec *Spec) {
	w := &p.world
	for i, m := range spec.Mounts {
		if w.visible(spec, i) && m.Target != victim.Path {
			got := o.Paths[m.Target]
			if got.Err == "EACCES" && p.ofFirst {
				continue // in the home or the Tmpfs of another user of the sandbox
			}
			p.checkMount(fmt.Sprintf("%s: Mounts[%d]", how, i), got, spec, i)
			if m.Type == Proc {
				p.expect(how, m.Target+interrupts, o.Paths[m.Target+interrupts].Data, "")
				p.expect(how, m.Target+corePattern, o.Paths[m.Target+corePattern].WriteErr != "", true)
			}
		}
	}
	if spec.Root.Path != "" {
		return
	}
	for name, writable := range basePaths {
		if slices.ContainsFunc(spec.Mounts, func(m Mount) bool { return isBelow(name, w.resolve(spec.Root, m.Target)) }) {
			continue
		}
		got := o.Paths[name]
		if name == "/home/sandbox" {
			writable = p.mayWriteHome(spec)
		}
		if slices.Contains([]string{"/root", "/srv", "/opt", "/mnt"}, name) {
			p.expect(how, name, got.Err, "ENOENT")
		} else if got.Err != "" || writable != (got.WriteErr == "") {
			p.t.Errorf("%s: %s is %+v, want it writable: %v", how, name, got, writable)
		}
	}
	if !slices.ContainsFunc(spec.Mounts, func(m Mount) bool { return isBelow(w.resolve(spec.Root, m.Target), "/etc") }) {
		p.expect(how, "/etc/hostname", o.Paths["/etc/hostname"].Data, o.Hostname+"\n")
	}
	known := "bin dev etc home lib lib32 lib64 libx32 proc run sbin tmp usr var victim"
	for _, name := range o.Paths["/"].Names {
		if !slices.Contains(strings.Fields(known), name) && !slices.Contains(p.below(spec, -1, "/"), name) {
			p.t.Errorf("%s: the root holds %q", how, name)
		}
	}
}

// below returns the names that later mounts make in a directory.
func (p *property) below(spec *Spec, i int, dir string) []string {
	var names []string
	for _, m := range spec.Mounts[i+1:] {
		at := p.world.resolve(spec.Root, m.Target)
		if at != dir && isBelow(at, dir) {
			name, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(at, dir), "/"), "/")
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// checkMount compares what is at the target of a mount.
func (p *property) checkMount(how string, got victim.Place, spec *Spec, i int) {
	m := spec.Mounts[i]
	uids, gids, user := p.world.ids(spec)
	how += " on " + m.Target
	at := p.world.resolve(spec.Root, m.Target)
	// The permission bits say whether the command, who owns it or not, may.
	may := func(mode fs.FileMode, owns bool, bit fs.FileMode) bool {
		if owns {
			return mode&(bit<<6) != 0
		}
		return mode&bit != 0
	}
	switch m.Type {
	case Tmpfs:
		mode, bits := m.Mode, uint32(m.Mode.Perm())
		if mode == 0 {
			mode, bits = fs.ModeSticky|0o777, 0o1777
		} else if mode&fs.ModeSticky != 0 {
			bits |= 0o1000
		}
		size := m.Size
		if size == 0 {
			size = DefaultTmpfsSize
		}
		const page = 4096
		maker := p.ownerOfMounts(spec)
		p.expect(how, "the mode and owner", fmt.Sprintf("%o %d:%d", got.Mode, got.UID, got.GID), fmt.Sprintf("%o %d:%d", unix.S_IFDIR|bits, maker.UID, maker.GID))
		p.expect(how, "the size", got.Size, (size+page-1)/page*page)
		if maker.UID != user.UID && maker.GID == user.GID {
			return // the bits of the group are the third kind
		}
		p.expect(how, "whether it can be written", got.WriteErr == "", may(mode, maker.UID == user.UID, 2))
		if got.ReadErr == "" {
			p.expect(how, "what is in it", sorted(got.Names), p.below(spec, i, at))
		}
	case File:
		mode := m.Mode
		if mode == 0 {
			mode = 0o644
		}
		owner := User{UID: uids[0].ContainerID, GID: gids[0].ContainerID}
		owns := user.UID == owner.UID
		p.expect(how, "the mode and owner", fmt.Sprintf("%o %d:%d", got.Mode, got.UID, got.GID), fmt.Sprintf("%o %d:%d", unix.S_IFREG|uint32(mode), owner.UID, owner.GID))
		if !owns && user.GID == owner.GID || slices.Contains(user.Groups, owner.GID) {
			return // the bits of the group are the third kind
		}
		p.expect(how, "whether it can be written", got.WriteErr == "", m.Writable && may(mode, owns, 2))
		p.expect(how, "whether it can be read", got.ReadErr == "", may(mode, owns, 4))
		p.expect(how, "whether it can be executed", got.ExecErr == "", may(mode, owns, 1))
		if got.ReadErr == "" {
			p.expect(how, "the contents", got.Data, string(m.Data[:min(len(m.Data), 4096)]))
		}
	case Bind:
		ours := strings.HasPrefix(p.absolute(m.Source), p.dir)
		if ours || uids[0].HostID != 0 { // the host's root may write to what is the host's
			p.expect(how, "whether it can be written", got.WriteErr == "", m.Writable && ours)
		}
		if info, err := os.Stat(m.Source); err != nil {
			p.t.Error(err)
		} else if info.IsDir() {
			p.expect(how, "what is in it", sorted(got.Names), p.names(m.Source))
		} else {
			p.expect(how, "the contents", got.Data, "contents of text")
		}
	case Proc:
		p.expect(how, "whether it shows PID 1", slices.Contains(got.Names, "1"), true)
	case Devpts, Mqueue:
		want := []string{"ptmx"}
		if m.Type == Mqueue {
			want = nil
		}
		p.expect(how, "what is in it", got.Names, want)
	}
}

// ownerOfMounts returns to whom belongs what the set-up makes for the command.
func (p *property) ownerOfMounts(spec *Spec) User {
	uids, gids, user := p.world.ids(spec)
	if p.ofFirst {
		return User{UID: uids[0].ContainerID, GID: gids[0].ContainerID}
	}
	return user
}

func (p *property) mayWriteHome(spec *Spec) bool {
	_, _, user := p.world.ids(spec)
	return p.ownerOfMounts(spec).UID == user.UID
}

func (p *property) absolute(source string) string {
	if !path.IsAbs(source) {
		source = path.Join(p.world.cwd, source)
	}
	return source
}

// names lists a directory of the host, as far as the observer does.
func (p *property) names(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		p.t.Error(err)
	}
	var names []string
	for _, e := range entries[:min(len(entries), 100)] {
		names = append(names, e.Name())
	}
	return names
}
