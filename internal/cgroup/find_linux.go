package cgroup

import (
	"context"
	"errors"
	"os"
	"path"
	"strconv"
)

// Options says what subtree is looked for.
type Options struct {
	// Path is the directory of a delegated cgroup. If it is not empty, no other way is tried.
	Path string
	// Need are controllers without which no subtree will do.
	Need []Controller
	// Like are controllers that are enabled where they can be had.
	Like []Controller
	// Move lets the caller's process be moved to a cgroup of its own, where it is the only one in the
	// cgroup that was delegated to it. There it stays: leaving cgroups is not what moving them back is.
	Move bool
}

// Find finds a subtree that the caller may divide, in the order of the ways, each of them tried until a
// process was in a cgroup there. The error is a *FindError, or ctx's.
//
// What callers that are dead now left in the subtree is removed.
func Find(ctx context.Context, o Options) (*Tree, error) {
	f := &finder{host: thisHost(ctx), wants: wants{o.Need, o.Like, o.Move}}
	var located error
	f.place, located = locate(f.host)
	if located != nil {
		return nil, f.failed(located, []Attempt{{Own, &Error{Op: "find the caller's cgroup", Err: located}}})
	}
	var attempts []Attempt
	for _, way := range f.ways(o.Path) {
		tree, err := way.try(ctx)
		if err == nil {
			return tree, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		attempts = append(attempts, Attempt{way.way, err})
	}
	return nil, f.failed(nil, attempts)
}

type finder struct {
	host
	place
	wants
}

func (f *finder) failed(located error, attempts []Attempt) error {
	return &FindError{attempts, remedy(f.host, f.place, located, attempts)}
}

type way struct {
	way Way
	try func(context.Context) (*Tree, error)
}

func (f *finder) ways(given string) []way {
	if given != "" {
		return []way{{Given, func(ctx context.Context) (*Tree, error) { return f.chosen(ctx)(chooseGiven(f.host, given, f.wants)) }}}
	}
	all := []way{{Own, func(ctx context.Context) (*Tree, error) { return f.chosen(ctx)(chooseOwn(f.host, f.place, f.wants)) }}}
	if f.uid == 0 {
		return append(all, way{SystemManager, func(ctx context.Context) (*Tree, error) { return f.managed(ctx, SystemManager) }})
	}
	return append(all, way{UserManager, func(ctx context.Context) (*Tree, error) { return f.managed(ctx, UserManager) }})
}

// chosen makes a tree of a choice.
func (f *finder) chosen(ctx context.Context) func(choice, error) (*Tree, error) {
	return func(c choice, err error) (*Tree, error) {
		if err != nil {
			return nil, err
		}
		return f.open(ctx, c, nil)
	}
}

// managed makes a tree of a unit of systemd.
func (f *finder) managed(ctx context.Context, w Way) (*Tree, error) {
	u, dir, err := requestUnit(ctx, f.place, w == SystemManager)
	if err != nil {
		return nil, err
	}
	c := choice{way: w, dir: dir}
	if err = f.mayDivide(dir); err == nil {
		err = f.settle(&c, []string{dir}, wants{need: f.need, like: f.like})
	}
	var tree *Tree
	if err == nil {
		tree, err = f.open(ctx, c, u)
	}
	if err != nil {
		return nil, oneLine(err, u.stop(context.WithoutCancel(ctx)))
	}
	return tree, nil
}

// open takes possession of a subtree. If it cannot be, what was done to it is undone.
func (f *finder) open(ctx context.Context, c choice, u *unit) (*Tree, error) {
	t := &Tree{way: c.way, unit: u, own: f.own, have: c.have, chain: c.chain}
	if err := t.possess(ctx, c); err != nil {
		t.abandon()
		return nil, err
	}
	return t, nil
}

func (t *Tree) possess(ctx context.Context, c choice) error {
	if c.mkdir {
		if err := os.Mkdir(c.dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return &Error{Op: "make a cgroup", Path: c.dir, Err: errors.Unwrap(err)}
		}
	}
	var err error
	if t.dir, err = openDir(c.dir); err != nil {
		return err
	}
	if c.move {
		if err := t.moveCaller(); err != nil {
			return err
		}
	}
	for _, step := range c.enable {
		if err := step.do(); err != nil {
			return err
		}
	}
	t.stale = t.dir.removeStale(ctx)
	return t.findEntry(ctx)
}

// do enables controllers one by one, so that an error names the one that cannot be.
func (e enabling) do() error {
	d, err := openDir(e.dir)
	if err != nil {
		return err
	}
	defer d.close()
	for _, c := range e.controllers {
		if err := d.write("cgroup.subtree_control", "+"+string(c)); err != nil {
			return &Error{Op: "enable the controller " + string(c), Path: e.dir, Err: err, Remedy: enableRemedy(c, err)}
		}
	}
	return nil
}

// moveCaller moves this process to a cgroup of its own below t.
func (t *Tree) moveCaller() error {
	pid := os.Getpid()
	leaf, err := t.dir.create(callerPrefix)
	if err != nil {
		return err
	}
	t.caller = leaf
	if err := leaf.addProcess(pid); err != nil {
		return &Error{Op: "move the caller, process " + strconv.Itoa(pid), Path: leaf.path, Err: err}
	}
	t.own = leaf.path
	return nil
}

// abandon undoes what possess did.
func (t *Tree) abandon() {
	if t.caller != nil {
		_ = t.dir.addProcess(os.Getpid()) // as long as no controller is enabled
		_ = t.dir.remove(path.Base(t.caller.path))
		t.caller.close()
	}
	if t.dir != nil {
		t.dir.close()
	}
}
