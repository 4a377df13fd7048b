package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
)

// tree is a host that was never there. Each line is a cgroup: its path below /sys/fs/cgroup, then words:
//
//	mine              the user may divide it
//	told              systemd says that it is delegated
//	procs=1,2         its processes; the caller is 1000
//	has=cpu,memory    its controllers
//	on=cpu            those that are enabled for what is below it
//	type=threaded     its type; the first line is the root of all cgroups, unless it has one
type tree struct {
	own   string // the caller's cgroup
	mount string // words of the mount: "ro", "v1", "part=/a/b"
	uid   int
	files []string // other files that exist
	lines string
}

const mountAt = "/sys/fs/cgroup"

func (tr tree) host() host {
	fsys := fstest.MapFS{}
	file := func(name, data string) { fsys[inFS(name)] = &fstest.MapFile{Data: []byte(data)} }
	mine, told := map[string]bool{}, map[string]bool{}
	for i, line := range strings.Split(strings.TrimSpace(tr.lines), "\n") {
		words := strings.Fields(line)
		dir := path.Join(mountAt, words[0])
		var kind string
		if i > 0 {
			kind = "domain"
		}
		for _, w := range words[1:] {
			key, value, _ := strings.Cut(w, "=")
			value = strings.ReplaceAll(value, ",", " ")
			switch key {
			case "mine":
				mine[dir] = true
			case "told":
				told[dir] = true
			case "procs":
				file(dir+"/cgroup.procs", strings.ReplaceAll(value, " ", "\n")+"\n")
			case "has":
				file(dir+"/cgroup.controllers", value+"\n")
			case "on":
				file(dir+"/cgroup.subtree_control", value+"\n")
			case "type":
				kind = value
			}
		}
		for _, name := range []string{"cgroup.procs", "cgroup.controllers", "cgroup.subtree_control"} {
			if fsys[inFS(dir+"/"+name)] == nil {
				file(dir+"/"+name, "")
			}
		}
		if kind != "" {
			file(dir+"/cgroup.type", kind+"\n")
			file(dir+"/cgroup.events", "populated 0\nfrozen 0\n")
		}
	}
	for _, name := range tr.files {
		file(name, "")
	}
	how, root := "rw", "/"
	mountinfo := "20 1 0:2 / / rw - ext4 /dev/vda rw\n"
	for w := range strings.FieldsSeq(tr.mount) {
		switch key, value, _ := strings.Cut(w, "="); key {
		case "ro":
			how = "ro"
		case "v1":
			mountinfo += "30 20 0:3 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
		case "part":
			root = value
		}
	}
	file("/proc/self/cgroup", "1:name=systemd:/x\n0::"+tr.own+"\n")
	file("/proc/self/mountinfo", mountinfo+"31 20 0:4 "+root+" "+mountAt+" "+how+",nosuid - cgroup2 cgroup2 rw,nsdelegate\n")
	return host{
		FS: fsys,
		writable: func(name string) error {
			switch {
			case how == "ro":
				return &fs.PathError{Op: "write to", Path: name, Err: syscall.EROFS}
			case fsys[inFS(name)] == nil && !isDir(fsys, name):
				return &fs.PathError{Op: "write to", Path: name, Err: fs.ErrNotExist}
			case tr.uid == 0 || mine[name] || mine[path.Dir(name)] && strings.HasPrefix(path.Base(name), "cgroup."):
				return nil
			}
			return &fs.PathError{Op: "write to", Path: name, Err: syscall.EACCES}
		},
		delegated: func(name string) bool { return told[name] },
		pid:       1000,
		uid:       tr.uid,
	}
}

func isDir(fsys fs.FS, name string) bool {
	info, err := fs.Stat(fsys, inFS(name))
	return err == nil && info.IsDir()
}

// plan prints a choice.
func (c choice) String() string {
	s := fmt.Sprintf("%v: %s", c.way, strings.TrimPrefix(c.dir, mountAt))
	if c.mkdir {
		s += ", make it"
	}
	if c.move {
		s += ", move the caller"
	}
	for _, e := range c.enable {
		s += fmt.Sprintf(", enable %v in %s", e.controllers, "/"+strings.TrimPrefix(strings.TrimPrefix(e.dir, mountAt), "/"))
	}
	return s
}

// session is the tree of a host with systemd, on which the user has logged in.
const session = `
/                                                    has=cpuset,cpu,io,memory,pids on=cpu,memory,pids
/user.slice                                          has=cpu,memory,pids on=cpu,memory,pids
/user.slice/user-1000.slice                          has=cpu,memory,pids on=memory,pids
/user.slice/user-1000.slice/session-2.scope          has=memory,pids procs=900,1000
/user.slice/user-1000.slice/user@1000.service        has=memory,pids on=memory,pids mine told
/user.slice/user-1000.slice/user@1000.service/init.scope has=memory,pids mine procs=800
/user.slice/user-1000.slice/user@1000.service/app.slice  has=memory,pids on=memory,pids mine
`

const app = "/user.slice/user-1000.slice/user@1000.service/app.slice"

var chooseTests = []struct {
	name string
	tree tree
	want wants
	// plan is the choice, or part of what the error says.
	plan string
	err  error
}{
	{"a cgroup above that is the user's", tree{own: "/d/init", uid: 1000, lines: `
		/        has=cpu,memory,pids on=cpu,memory,pids
		/d       has=cpu,memory,pids mine
		/d/init  mine procs=1000`},
		wants{need: []Controller{Memory, Pids}}, "the caller's own cgroup: /d, enable [memory pids] in /d", nil},
	{"what is enabled stays", tree{own: "/d/init", uid: 1000, lines: `
		/        has=cpu,memory,pids on=cpu,memory,pids
		/d       has=cpu,memory,pids on=memory mine
		/d/init  mine procs=1000`},
		wants{need: []Controller{Memory, Pids}}, "the caller's own cgroup: /d, enable [pids] in /d", nil},
	{"controllers come from further up", tree{own: "/d/a/init", uid: 1000, lines: `
		/          has=cpu,memory,pids on=cpu,memory,pids
		/d         has=cpu,memory,pids on=memory mine
		/d/a       has=memory mine
		/d/a/init  mine procs=1000`},
		wants{need: []Controller{Memory, Pids}}, "the caller's own cgroup: /d/a, enable [pids] in /d, enable [memory pids] in /d/a", nil},
	{"the caller stands in the way", tree{own: "/d", uid: 1000, lines: `
		/  has=memory on=memory
		/d has=memory mine procs=1000`},
		wants{need: []Controller{Memory}}, "it has processes of its own: the caller", ErrInnerProcesses},
	{"the caller may be moved", tree{own: "/d", uid: 1000, lines: `
		/  has=memory on=memory
		/d has=memory mine procs=1000`},
		wants{need: []Controller{Memory}, move: true}, "the caller's own cgroup: /d, move the caller, enable [memory] in /d", nil},
	{"the caller may be moved and need not", tree{own: "/d/init", uid: 1000, lines: `
		/       has=memory on=memory
		/d      has=memory mine
		/d/init has= mine procs=1000`},
		wants{need: []Controller{Memory}, move: true}, "the caller's own cgroup: /d, enable [memory] in /d", nil},
	{"others are not moved", tree{own: "/d", uid: 1000, lines: `
		/  has=memory on=memory
		/d has=memory mine procs=1000,7,8`},
		wants{need: []Controller{Memory}, move: true}, "it has processes of its own: 7, 8", ErrInnerProcesses},
	{"a long list is cut", tree{own: "/d", uid: 1000, lines: `
		/  has=memory on=memory
		/d has=memory mine procs=1,2,3,4,5,6,7,1000`},
		wants{need: []Controller{Memory}}, "1, 2, 3, 4, 5, …", ErrInnerProcesses},
	{"not the user's", tree{own: "/d", uid: 1000, lines: `
		/  has=memory on=memory
		/d has=memory procs=1000`},
		wants{need: []Controller{Memory}, move: true}, "not delegated to this user", ErrNotDelegated},
	{"a controller is missing", tree{own: "/d/init", uid: 1000, lines: `
		/       has=memory,cpu on=memory
		/d      has=memory mine
		/d/init procs=1000 mine`},
		wants{need: []Controller{Memory, CPU, IO}}, "it lacks the controller cpu, io", ErrNoController},
	{"one that is only liked is missing", tree{own: "/d/init", uid: 1000, lines: `
		/       has=memory,cpu,pids on=memory,pids
		/d      has=memory,pids mine
		/d/init procs=1000 mine`},
		wants{need: []Controller{Memory}, like: []Controller{CPU, Pids, Memory}}, "the caller's own cgroup: /d, enable [memory pids] in /d", nil},
	{"threads", tree{own: "/d", uid: 1000, lines: `
		/  has=memory on=memory
		/d has= mine type=threaded`},
		wants{}, "it is of the type threaded", nil},

	{"a login session", tree{own: "/user.slice/user-1000.slice/session-2.scope", uid: 1000, lines: session},
		wants{need: []Controller{Memory}, move: true}, "not delegated to this user", ErrNotDelegated},
	{"a unit of the user's that is not delegated", tree{own: app + "/a.service", uid: 1000, lines: session + app + "/a.service has=memory,pids mine procs=1000"},
		wants{need: []Controller{Memory}, move: true}, "systemd manages a.service", ErrNotDelegated},
	{"a unit that is", tree{own: app + "/a.service", uid: 1000, lines: session + app + "/a.service has=memory,pids mine told procs=1000"},
		wants{need: []Controller{Memory}, move: true}, "the caller's own cgroup: " + app + "/a.service, move the caller, enable [memory] in " + app + "/a.service", nil},
	{"with DelegateSubgroup=", tree{own: app + "/a.service/sub", uid: 1000, lines: session + app + "/a.service has=memory,pids mine told\n" + app + "/a.service/sub mine procs=1000"},
		wants{need: []Controller{Memory}}, "the caller's own cgroup: " + app + "/a.service, enable [memory] in " + app + "/a.service", nil},
	{"the manager's own", tree{own: "/user.slice/user-1000.slice/user@1000.service/init.scope", uid: 1000, lines: session},
		wants{need: []Controller{Memory}, move: true}, "systemd manages init.scope", ErrNotDelegated},
	{"a system service with User=, of a systemd that does not tell", tree{own: "/system.slice/a.service", uid: 1000, lines: `
		/                       has=memory on=memory
		/system.slice           has=memory on=memory
		/system.slice/a.service has=memory mine procs=1000`},
		wants{need: []Controller{Memory}, move: true}, "the caller's own cgroup: /system.slice/a.service, move the caller, enable [memory] in /system.slice/a.service", nil},
	{"root in a service that is not delegated", tree{own: "/system.slice/a.service", uid: 0, lines: `
		/                       has=memory on=memory
		/system.slice           has=memory on=memory
		/system.slice/a.service has=memory procs=1000`},
		wants{need: []Controller{Memory}, move: true}, "systemd manages a.service", ErrNotDelegated},

	{"root without systemd", tree{own: "/", uid: 0, lines: "/ has=memory,pids procs=1,1000"},
		wants{need: []Controller{Memory}}, "a directory of its own: /ringfence, make it, enable [memory] in /, enable [memory] in /ringfence", nil},
	{"root without systemd, again", tree{own: "/sshd", uid: 0, lines: `
		/          has=memory,pids on=memory procs=1
		/ringfence has=memory on=memory
		/sshd      has=memory procs=1000,1001`},
		wants{need: []Controller{Memory}}, "a directory of its own: /ringfence", nil},

	{"a container with processes at its top", tree{own: "/", uid: 0, lines: "/ type=domain has=memory procs=1,1000"},
		wants{need: []Controller{Memory}, move: true}, "it has processes of its own: 1", ErrInnerProcesses},
	{"a container that is the caller", tree{own: "/", uid: 0, lines: "/ type=domain has=memory procs=1000"},
		wants{need: []Controller{Memory}, move: true}, "the container's cgroup: , move the caller, enable [memory] in /", nil},
	{"a container whose processes are in one below", tree{own: "/init", uid: 0, lines: "/ type=domain has=memory\n/init procs=1,1000"},
		wants{need: []Controller{Memory}}, "the container's cgroup: , enable [memory] in /", nil},
	{"a container that may not write", tree{own: "/", uid: 0, mount: "ro", lines: "/ type=domain has=memory procs=1000"},
		wants{need: []Controller{Memory}, move: true}, "read-only file system", syscall.EROFS},
	{"a part of the tree", tree{own: "/docker/x/init", uid: 0, mount: "part=/docker/x", lines: "/ type=domain has=memory\n/init procs=1,1000"},
		wants{need: []Controller{Memory}}, "the container's cgroup: , enable [memory] in /", nil},
}

func TestChooseOwn(t *testing.T) {
	for _, test := range chooseTests {
		h := test.tree.host()
		p, err := locate(h)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		c, err := chooseOwn(h, p, test.want)
		switch {
		case err == nil && c.String() != test.plan:
			t.Errorf("%s:\n%v, want\n%s", test.name, c, test.plan)
		case err != nil && (!strings.Contains(err.Error(), test.plan) || test.err != nil && !errors.Is(err, test.err)):
			t.Errorf("%s: %v, want %q", test.name, err, test.plan)
		}
	}
}

func TestChooseGiven(t *testing.T) {
	tr := tree{own: "/other", uid: 1000, lines: `
		/              has=memory on=memory
		/other         has=memory procs=1000
		/mine.service  has=memory mine
		/full          has=memory mine procs=5`}
	for _, test := range []struct {
		dir, want string
		err       error
	}{
		{mountAt + "/mine.service/", "the given cgroup: /mine.service, enable [memory] in /mine.service", nil},
		{mountAt + "/full", "processes of its own: 5", ErrInnerProcesses},
		{mountAt + "/other", "not delegated", ErrNotDelegated},
		{mountAt + "/none", "/none", fs.ErrNotExist},
		{"mine.service", "not an absolute path", nil},
	} {
		c, err := chooseGiven(tr.host(), test.dir, wants{need: []Controller{Memory}, move: true})
		switch {
		case err == nil && c.String() != test.want:
			t.Errorf("%s: %v", test.dir, c)
		case err != nil && (!strings.Contains(err.Error(), test.want) || test.err != nil && !errors.Is(err, test.err)):
			t.Errorf("%s: %v", test.dir, err)
		}
	}
}

// The hosts of which DESIGN.md's users have most trouble, and what they are told.
func TestRemedies(t *testing.T) {
	own := func(err error) []Attempt { return []Attempt{{Own, err}} }
	for _, test := range []struct {
		name     string
		tree     tree
		attempts func(error) []Attempt
		want     string
	}{
		{"version 1", tree{own: "/", mount: "v1", lines: "/ has="}, own, "systemd.unified_cgroup_hierarchy=1"},
		{"a container", tree{own: "/", mount: "ro", lines: "/ type=domain has=memory"}, own, "writable-cgroups=true"},
		{"systemd that keeps the processors", tree{own: "/user.slice/user-1000.slice/session-2.scope", uid: 1000, lines: session, files: []string{"/run/systemd/system/x"}},
			func(err error) []Attempt {
				return append(own(err), Attempt{UserManager, &Error{Op: "enable controllers", Err: &MissingError{[]Controller{CPU}}}})
			}, "user@.service.d/delegate.conf"},
		{"systemd that does not answer", tree{own: "/user.slice/user-1000.slice/session-2.scope", uid: 1000, lines: session, files: []string{"/run/systemd/system/x"}},
			func(err error) []Attempt {
				return append(own(err), Attempt{UserManager, &Error{Op: "connect to systemd", Err: fs.ErrNotExist}})
			}, "systemd-run --user --scope -p Delegate=yes"},
		{"no systemd", tree{own: "/d", uid: 1000, lines: "/ has=memory\n/d has=memory procs=1000"}, own, "have root give you one: mkdir -p /sys/fs/cgroup/NAME/caller, chown both"},
	} {
		h := test.tree.host()
		p, located := locate(h)
		err := located
		if located == nil {
			_, err = chooseOwn(h, p, wants{need: []Controller{Memory, CPU}})
		}
		attempts := test.attempts(err)
		e := &FindError{attempts, remedy(h, p, located, attempts)}
		if !strings.Contains(e.Error(), test.want) {
			t.Errorf("%s: %v", test.name, e)
		}
		if !errors.Is(e, errors.ErrUnsupported) || !errors.Is(e, err) {
			t.Errorf("%s: %v does not match its causes", test.name, e)
		}
		if strings.Contains(e.Error(), ": cgroup: ") {
			t.Errorf("%s: names the package more than once: %v", test.name, e)
		}
	}
}

func TestLocate(t *testing.T) {
	for _, test := range []struct {
		name, membership, mounts, want string
	}{
		{"as systemd mounts it", "0::/a\n", "1 0 0:2 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw", "/sys/fs/cgroup/a"},
		{"hybrid", "3:pids:/x\n0::/a b\n", "1 0 0:2 / /sys/fs/cgroup/pids rw - cgroup c rw,pids\n2 0 0:3 / /sys/fs/cgroup/unified rw - cgroup2 c rw", "/sys/fs/cgroup/unified/a b"},
		{"a blank in the name", "0::/a\n", `1 0 0:2 / /a\040b rw - cgroup2 c rw`, "/a b/a"},
		{"one that can be written to", "0::/a\n", "1 0 0:2 / /x ro - cgroup2 c rw\n2 0 0:2 / /y rw - cgroup2 c rw", "/y/a"},
		{"the wider one", "0::/a/b\n", "1 0 0:2 /a /x rw - cgroup2 c rw\n2 0 0:2 / /y rw - cgroup2 c rw", "/y/a/b"},
		{"one that is covered", "0::/a/b\n", "1 0 0:2 / /x rw - cgroup2 c rw\n2 0 0:2 /a /x rw - cgroup2 c rw", "/x/b"},
		{"one that shows others", "0::/a\n", "1 0 0:2 /b /x rw - cgroup2 c rw", ""},
		{"like it in name only", "0::/ab\n", "1 0 0:2 /a /x rw - cgroup2 c rw", ""},
		{"outside of the namespace", "0::/../a\n", "1 0 0:2 / /x rw - cgroup2 c rw", ""},
		{"removed", "0::/a (deleted)\n", "1 0 0:2 / /x rw - cgroup2 c rw", "/x/a"},
	} {
		own, _ := parseMembership(test.membership)
		m, rel, ok := covering(parseMounts(test.mounts), own)
		got := path.Join(m.point, rel)
		if !ok {
			got = ""
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
	if _, err := locate(fstest.MapFS{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a host without /proc: %v", err)
	}
	none := fstest.MapFS{"proc/self/cgroup": {Data: []byte("0::/\n")}, "proc/self/mountinfo": {}}
	if _, err := locate(none); !errors.Is(err, ErrNoCgroup2) {
		t.Errorf("a host without cgroup2: %v", err)
	}
}

func TestCommonAncestor(t *testing.T) {
	for _, test := range []struct{ a, b, want string }{
		{"/a/b", "/a/c", "/a"}, {"/a", "/a/c", "/a"}, {"/a/b", "/a", "/a"}, {"/a", "/b", "/"}, {"/ab", "/a", "/"}, {"/a/b", "/a/b", "/a/b"},
	} {
		if got := commonAncestor(test.a, test.b); got != test.want {
			t.Errorf("%s and %s: %s, want %s", test.a, test.b, got, test.want)
		}
	}
}

func TestWaysHaveNames(t *testing.T) {
	var names []string
	for w := Given; w <= OwnDirectory; w++ {
		names = append(names, w.String())
	}
	slices.Sort(names)
	if n := len(slices.Compact(names)); n != 6 || slices.ContainsFunc(names, func(s string) bool { return strings.HasPrefix(s, "Way(") }) {
		t.Errorf("%q", names)
	}
}
