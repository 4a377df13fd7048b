package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// host is a file system with cgroups in it, and what cannot be read from one.
type host struct {
	fs.FS
	// writable returns nil if the caller may write to a file or directory.
	writable func(path string) error
	// delegated says whether systemd has left the inside of a unit's cgroup to others, as far as it tells.
	delegated func(path string) bool
	pid, uid  int // of the caller
}

// choice is a cgroup that will do.
type choice struct {
	way    Way
	dir    string     // below which cgroups are made
	mkdir  bool       // it is to be made first
	move   bool       // the caller is to leave it first
	enable []enabling // then these, in order
	have   []Controller
	chain  []string // dir, and what is above it that is the caller's too
}

// enabling hands controllers on from a cgroup to those below it.
type enabling struct {
	dir         string
	controllers []Controller
}

// wants is what a cgroup is chosen by.
type wants struct {
	need []Controller // no cgroup will do without them
	like []Controller // they are taken where they can be had
	move bool         // the caller may be moved to another cgroup
}

// chooseGiven examines the cgroup at dir, which the user named.
func chooseGiven(h host, dir string, w wants) (choice, error) {
	if !path.IsAbs(dir) {
		return choice{}, &Error{Op: "use the given cgroup", Path: dir, Err: errors.New("not an absolute path")}
	}
	c := choice{way: Given, dir: path.Clean(dir)}
	if err := h.mayDivide(c.dir); err != nil {
		return c, err
	}
	if err := h.settle(&c, []string{c.dir}, w); err != nil {
		return c, err
	}
	return c, nil
}

// chooseOwn examines the caller's own cgroup and those above it, as far as they are the caller's. The first
// that has no processes will do; else the caller's own, if the caller is alone there and may be moved.
func chooseOwn(h host, p place, w wants) (choice, error) {
	chain, end := h.owned(p)
	if len(chain) == 0 {
		return choice{way: Own}, end
	}
	var first error
	for _, move := range []bool{false, w.move} {
		for i, dir := range chain {
			c := choice{way: Own, dir: dir}
			switch {
			case dir == p.mount && p.namespace:
				c.way = Namespace
			case h.isRoot(dir):
				c.way, c.dir, c.mkdir = OwnDirectory, path.Join(dir, directory), !h.exists(path.Join(dir, directory))
			}
			err := h.settle(&c, chain[i:], wants{need: w.need, like: w.like, move: move && i == 0})
			if err == nil {
				return c, nil
			}
			// A controller that is nowhere is more to the point than who is in the way.
			if first == nil || errors.Is(err, ErrNoController) && !errors.Is(first, ErrNoController) {
				first = err
			}
		}
	}
	return choice{way: Own}, first
}

// directory is the name of the cgroup that holds those of root callers, on a host without systemd.
const directory = "ringfence"

// owned returns the caller's cgroup and those above it that are the caller's, and why there are no more.
func (h host) owned(p place) (chain []string, end error) {
	for dir := p.own; ; dir = path.Dir(dir) {
		if err := h.mayDivide(dir); err != nil {
			return chain, err
		}
		if unit := path.Base(dir); dir != p.mount && !h.handedOver(dir, unit) {
			return chain, &Error{Op: "make cgroups", Path: dir, Err: ErrNotDelegated,
				Remedy: "systemd manages " + unit + "; start the program in a unit with Delegate=yes"}
		}
		chain = append(chain, dir)
		if dir == p.mount || dir == "/" {
			return chain, nil
		}
	}
}

// mayDivide returns nil if the caller may make cgroups below dir and put processes into them (section
// "Model of Delegation").
func (h host) mayDivide(dir string) error {
	for _, name := range []string{"", "cgroup.procs", "cgroup.subtree_control"} {
		if err := h.writable(path.Join(dir, name)); err != nil {
			cause := err
			if errors.Is(err, fs.ErrPermission) {
				cause = fmt.Errorf("%w: %w", ErrNotDelegated, err)
			}
			return &Error{Op: "make cgroups", Path: dir, Err: cause}
		}
	}
	return nil
}

// handedOver reports whether systemd leaves the inside of a cgroup to others. Its units have names by which
// they are told from other cgroups. If it does not tell, a directory that the user owns in one that the user
// does not can only have been given; within the tree of the user's own manager everything belongs to the
// user, and that says nothing (https://systemd.io/CGROUP_DELEGATION, "Three Different Tree Models").
func (h host) handedOver(dir, unit string) bool {
	switch path.Ext(unit) {
	case ".slice":
		return false
	case ".service", ".scope", ".socket", ".mount", ".swap":
	default:
		return true
	}
	if unit == "init.scope" || strings.HasPrefix(unit, "user@") {
		return false // the manager's own
	}
	return h.delegated(dir) || h.uid != 0 && h.writable(path.Dir(dir)) != nil
}

// settle completes a choice: whom to move, what to enable. chain begins with the directory of the choice,
// or the one in which it is to be made, and goes up from there.
func (h host) settle(c *choice, chain []string, w wants) error {
	dir := chain[0]
	switch kind := h.read(path.Join(dir, "cgroup.type")); kind {
	case "", "domain":
	default:
		return &Error{Op: "make cgroups", Path: dir, Err: errors.New("it is of the type " + kind)}
	}
	if err := h.clear(c, dir, w.move); err != nil {
		return err
	}
	if c.dir != dir { // the directory to be made
		chain = append([]string{c.dir}, chain...)
	}
	c.chain = chain
	return h.plan(c, w)
}

// clear sees to it that the cgroup has no processes of its own.
func (h host) clear(c *choice, dir string, move bool) error {
	procs := strings.Fields(h.read(path.Join(dir, "cgroup.procs")))
	if len(procs) == 0 || h.isRoot(dir) {
		return nil
	}
	if procs = slices.DeleteFunc(procs, func(p string) bool { return p == strconv.Itoa(h.pid) }); len(procs) == 0 {
		if c.move = move; move {
			return nil
		}
		return &Error{Op: "enable controllers", Path: dir, Err: fmt.Errorf("%w: the caller", ErrInnerProcesses),
			Remedy: "let the caller be moved to a cgroup of its own, or start it in one below"}
	}
	const most = 5
	list := strings.Join(procs[:min(most, len(procs))], ", ")
	if len(procs) > most {
		list += ", …"
	}
	return &Error{Op: "enable controllers", Path: dir, Err: fmt.Errorf("%w: %s", ErrInnerProcesses, list),
		Remedy: "move them to a cgroup below it"}
}

// plan finds for each controller the nearest cgroup of the chain that has it, from which it is handed down.
func (h host) plan(c *choice, w wants) error {
	var missing []Controller
	chain := c.chain
	steps := make([][]Controller, len(chain))
	for _, list := range [][]Controller{w.need, w.like} {
		for _, controller := range list {
			if slices.Contains(c.have, controller) {
				continue
			}
			from := slices.IndexFunc(chain, func(dir string) bool { return h.lists(dir, "cgroup.controllers", controller) })
			if from < 0 {
				if slices.Contains(w.need, controller) {
					missing = append(missing, controller)
				}
				continue
			}
			c.have = append(c.have, controller)
			for i := from; i >= 0; i-- {
				if !h.lists(chain[i], "cgroup.subtree_control", controller) {
					steps[i] = append(steps[i], controller)
				}
			}
		}
	}
	if missing != nil {
		return &Error{Op: "enable controllers", Path: c.dir, Err: &MissingError{missing}}
	}
	for i := len(chain) - 1; i >= 0; i-- {
		if steps[i] != nil {
			c.enable = append(c.enable, enabling{chain[i], steps[i]})
		}
	}
	return nil
}

func (h host) lists(dir, file string, c Controller) bool {
	return slices.Contains(strings.Fields(h.read(path.Join(dir, file))), string(c))
}

// isRoot reports whether dir is the root of all cgroups, which alone has no type.
func (h host) isRoot(dir string) bool {
	return h.exists(path.Join(dir, "cgroup.procs")) && !h.exists(path.Join(dir, "cgroup.type"))
}

func (h host) exists(name string) bool {
	_, err := fs.Stat(h.FS, inFS(name))
	return err == nil
}

// read returns the contents of a file without the blanks around; "" if there is none.
func (h host) read(name string) string {
	data, err := fs.ReadFile(h.FS, inFS(name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// commonAncestor returns the lowest cgroup that is above both, or is one of them. Moving a process takes
// the right to write to its cgroup.procs (section "Delegation Containment").
func commonAncestor(a, b string) string {
	for ; ; a = path.Dir(a) {
		if _, ok := below(a, b); ok {
			return a
		}
	}
}

// remedy says what would help, by what is in the way.
func remedy(h host, p place, located error, attempts []Attempt) string {
	if errors.Is(located, ErrNoCgroup2) {
		if p.legacy {
			return "the host has cgroup v1: boot it with systemd.unified_cgroup_hierarchy=1 cgroup_no_v1=all, or mount cgroup2 alone"
		}
		return "mount it: mount -t cgroup2 none /sys/fs/cgroup"
	}
	var missing *MissingError
	for _, a := range attempts {
		readOnly := errors.Is(a.Err, syscall.EROFS)
		if readOnly && p.namespace {
			return "start the container with a writable /sys/fs/cgroup: docker run --security-opt writable-cgroups=true, podman run --security-opt unmask=/sys/fs/cgroup"
		}
		if a.Way == UserManager && errors.As(a.Err, &missing) {
			return "let systemd delegate it: put \"[Service]\" and \"Delegate=cpu cpuset io memory pids\" into /etc/systemd/system/user@.service.d/delegate.conf, " +
				"run systemctl daemon-reload and log in again; before version 252 it delegates memory and pids alone"
		}
	}
	switch {
	case h.exists("/run/systemd/system") && h.uid == 0:
		return "start the program in a unit that is delegated: systemd-run --scope -p Delegate=yes PROGRAM"
	case h.exists("/run/systemd/system"):
		return "start the program in a unit that is delegated: systemd-run --user --scope -p Delegate=yes PROGRAM"
	case h.uid == 0 || slices.ContainsFunc(attempts, func(a Attempt) bool { return errors.Is(a.Err, ErrInnerProcesses) }):
		return "" // what was in the way was said with its remedy
	}
	return fmt.Sprintf("have root give you one: mkdir -p %[1]s/NAME/caller, chown both and their cgroup.procs, cgroup.threads and cgroup.subtree_control to user %[2]d, and start the program in the latter", p.mount, h.uid)
}
