package sandbox

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/idmap"
	"github.com/ringfence-go/ringfence/seccomp"
	"github.com/ringfence-go/ringfence/testing/victim"
)

// What a Spec says about all but files: read beside spec.go.

// processes says how a command stands among the processes of its sandbox.
type processes int

const (
	firstProcess  processes = iota // started by PID 1
	joinedProcess                  // started from outside
)

// check compares everything that was observed with what spec says.
func (p *property) check(how string, o *victim.Observation, spec Spec, as processes) {
	p.t.Helper()
	if o == nil {
		return
	}
	p.checkCommand(how, o, &spec)
	p.checkProcess(how, o, &spec, as)
	p.checkIDs(how, o, &spec)
	p.checkFDs(how, o, &spec)
	p.checkLimits(how, o, &spec)
	p.checkMounts(how, o, &spec)
	p.checkPaths(how, o, &spec)
}

func (p *property) checkCommand(how string, o *victim.Observation, spec *Spec) {
	p.expect(how, "Args", fmt.Sprintf("%q", o.Args), fmt.Sprintf("%q", spec.Args))
	if spec.Env == nil {
		var keys []string
		for _, e := range o.Env {
			key, _, _ := strings.Cut(e, "=")
			keys = append(keys, key)
		}
		p.expect(how, "the keys of Env", sorted(keys), []string{"HOME", "LANG", "PATH"})
	} else {
		last := map[string]string{}
		for _, e := range spec.Env {
			key, value, _ := strings.Cut(e, "=")
			last[key] = value
		}
		want := make([]string, 0, len(last))
		for key, value := range last {
			want = append(want, key+"="+value)
		}
		p.expect(how, "Env", fmt.Sprintf("%q", sorted(o.Env)), fmt.Sprintf("%q", sorted(want)))
	}
	dir := spec.Dir
	if dir == "" {
		dir = "/"
	}
	p.expect(how, "the working directory", o.Dir, p.world.resolve(spec.Root, dir))
	name := spec.Hostname
	if name == "" {
		name = "sandbox"
	}
	p.expect(how, "the host's name", o.Hostname, name)
	interfaces := map[string]string{"lo": "up|loopback|running"}
	if spec.Network != nil {
		interfaces = p.world.host.Interfaces
	}
	p.expect(how, "interfaces", o.Interfaces, interfaces)
	calls := map[string]string{"mkdir": "ENOENT", "keyctl": "EPERM", "unshare": "EPERM"}
	if spec.Seccomp != nil && spec.Seccomp.Default == seccomp.Allow {
		calls["keyctl"], calls["unshare"] = "ENOTSUP", "EINVAL"
	} else if spec.Seccomp != nil {
		calls["mkdir"] = "EDOM"
	}
	p.expect(how, "what calls return", o.Calls, calls)
}

func (p *property) checkProcess(how string, o *victim.Observation, spec *Spec, as processes) {
	pid, ppid := 2, 1
	if as == joinedProcess {
		pid, ppid = o.PID, 0 // its parent is outside
	}
	p.expect(how, "PID, parent, session and group", []int{o.PID, o.PPID, o.SID, o.PGID}, []int{pid, ppid, pid, pid})
	p.expect(how, "the processes that it sees", o.PIDs, []int{1, pid})
	for key, want := range map[string]string{"NoNewPrivs": "1", "Seccomp": "2", "Umask": "0022", "TracerPid": "0",
		"SigIgn": strings.Repeat("0", 16), "SigBlk": strings.Repeat("0", 16), "ShdPnd": strings.Repeat("0", 16)} {
		p.expect(how, key, o.Status[key], want)
	}
	for kind, outside := range p.world.host.Namespaces {
		same := kind == "time" || kind == "time_for_children" || kind == "net" && spec.Network != nil
		if (o.Namespaces[kind] == outside) != same {
			p.t.Errorf("%s: the %s namespace is %s, outside it is %s", how, kind, o.Namespaces[kind], outside)
		}
	}
	screen := victim.Screen{Err: "ENXIO"}
	if t := spec.Terminal; t != nil {
		screen = victim.Screen{Rows: 24, Cols: 80, SID: o.SID, PGID: o.PGID}
		if t.Rows > 0 {
			screen.Rows = t.Rows
		}
		if t.Cols > 0 {
			screen.Cols = t.Cols
		}
	}
	p.expect(how, "the terminal", o.Terminal, screen)
	p.expect(how, "standard input", o.Stdin, p.text)
}

// ids returns which IDs exist inside, and who the command is.
func (w *world) ids(spec *Spec) (uids, gids idmap.Map, user User) {
	uids, gids = idmap.Single(w.uid, w.uid), idmap.Single(w.gid, w.gid)
	if w.uid == 0 {
		uids, gids = idmap.Single(1000, w.subordinate("/etc/subuid")), idmap.Single(1000, w.subordinate("/etc/subgid"))
	}
	if spec.UIDs != nil {
		uids = spec.UIDs
	}
	if spec.GIDs != nil {
		gids = spec.GIDs
	}
	user = User{UID: uids[0].ContainerID, GID: gids[0].ContainerID}
	if spec.User != nil {
		user = *spec.User
	}
	return uids, gids, user
}

// subordinate returns the first subordinate ID of root, or else 65534.
func (w *world) subordinate(file string) int {
	for _, f := range []string{"/etc/subuid", "/etc/subgid"} { // of both or of neither
		if data, err := os.ReadFile(f); err != nil || !strings.Contains("\n"+string(data), "\nroot:") {
			return 65534
		}
	}
	data, _ := os.ReadFile(file)
	_, line, _ := strings.Cut("\n"+string(data), "\nroot:")
	id, _ := strconv.Atoi(line[:strings.Index(line, ":")])
	return id
}

func (p *property) checkIDs(how string, o *victim.Observation, spec *Spec) {
	uids, gids, user := p.world.ids(spec)
	p.expect(how, "uid_map", o.UIDMap, strings.Join(strings.Fields(uids.String()), " "))
	p.expect(how, "gid_map", o.GIDMap, strings.Join(strings.Fields(gids.String()), " "))
	p.expect(how, "Uid", o.Status["Uid"], strings.TrimSpace(strings.Repeat(fmt.Sprintf("%d ", user.UID), 4)))
	p.expect(how, "Gid", o.Status["Gid"], strings.TrimSpace(strings.Repeat(fmt.Sprintf("%d ", user.GID), 4)))
	groups := user.Groups
	if p.world.uid != 0 && len(gids) == 1 && gids[0].HostID == p.world.gid {
		for _, g := range p.world.groups { // they cannot be dropped
			if g == p.world.gid {
				groups = append(groups, gids[0].ContainerID)
			} else {
				groups = append(groups, 65534)
			}
		}
	}
	var want []string
	for _, g := range groups {
		want = append(want, strconv.Itoa(g))
	}
	p.expect(how, "Groups", sorted(strings.Fields(o.Status["Groups"])), sorted(want))
	caps := uint64(0)
	for _, c := range spec.Capabilities {
		caps |= 1 << c
	}
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		p.expect(how, set, o.Status[set], fmt.Sprintf("%016x", caps))
	}
}

func (p *property) checkFDs(how string, o *victim.Observation, spec *Spec) {
	want := map[int]string{}
	null := fmt.Sprintf("%o %d", unix.S_IFCHR, unix.Mkdev(1, 3))
	stream := func(fd int, v any) {
		switch f := v.(type) {
		case nil:
			want[fd] = null
		case *os.File:
			want[fd] = p.world.file(p.t, f)
		default:
			want[fd] = fmt.Sprintf("%o 0", unix.S_IFIFO)
		}
	}
	stream(0, spec.Stdin)
	stream(1, spec.Stdout)
	stream(2, spec.Stderr)
	if spec.Terminal != nil {
		want[0] = fmt.Sprintf("%o %d", unix.S_IFCHR, unix.Mkdev(136, 0))
		want[1], want[2] = want[0], want[0]
	}
	for i, f := range spec.ExtraFiles {
		if f != nil {
			stream(3+i, f)
		}
	}
	got := map[int]string{}
	for fd, f := range o.FDs {
		if f.CloseOnExec {
			p.t.Errorf("%s: descriptor %d is closed on exec", how, fd)
		}
		got[fd] = fmt.Sprintf("%o %d", f.Type, f.Rdev)
		if strings.Contains(want[fd], "inode") {
			got[fd] += fmt.Sprintf(" inode %d:%d access %d", f.Dev, f.Ino, f.Access)
		}
	}
	p.expect(how, "descriptors", fmt.Sprint(got), fmt.Sprint(want))
	if p.stderr == "same" && spec.Stdout != nil && o.FDs[1].Ino != o.FDs[2].Ino {
		p.t.Errorf("%s: Stdout and Stderr are the same and have two pipes", how)
	}
	if spec.Terminal == nil && p.stderr == "writer" && p.stdout != "nothing" && o.FDs[1].Ino == o.FDs[2].Ino {
		p.t.Errorf("%s: Stdout and Stderr differ and share a pipe", how)
	}
}

// file describes an open file as checkFDs does.
func (w *world) file(t *testing.T, f *os.File) string {
	var st unix.Stat_t
	var flags int
	c, err := f.SyscallConn()
	if err != nil {
		return "closed: nothing is known of it" // the answer's, which the command has seen
	}
	if e := c.Control(func(fd uintptr) {
		if err = unix.Fstat(int(fd), &st); err == nil {
			flags, err = unix.FcntlInt(fd, unix.F_GETFL, 0)
		}
	}); e != nil || err != nil {
		return fmt.Sprintf("%o 0", unix.S_IFIFO) // the answer's, which is closed by now
	}
	return fmt.Sprintf("%o %d inode %d:%d access %d", st.Mode&unix.S_IFMT, st.Rdev, st.Dev, st.Ino, flags&unix.O_ACCMODE)
}

func (p *property) checkLimits(how string, o *victim.Observation, spec *Spec) {
	want := slices.Clone(p.world.host.Limits)
	want[unix.RLIMIT_CORE] = [2]uint64{}
	soft := p.world.host.NofileSoft
	for _, l := range spec.Limits.Rlimits {
		want[rlimitResources[l.Type]] = [2]uint64{l.Soft, l.Hard}
		if l.Type == "RLIMIT_NOFILE" {
			soft = strconv.FormatUint(l.Soft, 10)
		}
	}
	want[unix.RLIMIT_NOFILE][0] = o.Limits[unix.RLIMIT_NOFILE][0] // the observer's runtime has raised it
	for _, name := range slices.Sorted(maps.Keys(rlimitResources)) {
		p.expect(how, name, o.Limits[rlimitResources[name]], want[rlimitResources[name]])
	}
	if o.NofileSoft != "" {
		p.expect(how, "the soft RLIMIT_NOFILE", o.NofileSoft, soft)
	}
}
