//go:build linux

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/cgroup"
)

// placement says in which cgroup a sandbox's processes are to be.
type placement struct {
	// tree holds the sandbox's cgroup. nil is none: the processes stay where the caller is.
	tree *cgroup.Tree
	// cause is why there is no tree, if one was looked for.
	cause error
	// assumed says that nothing was looked for: a plan that is only printed has the cgroup that a host
	// with every controller would give.
	assumed bool
	// ceiling has the caller's own hard limits, by their names: those that stand for limits of a cgroup cannot
	// be set above them. One that is not in it bounds nothing.
	ceiling map[string]uint64
}

// placed reports whether the sandbox has a cgroup of its own.
func (p placement) placed() bool { return p.tree != nil || p.assumed }

// has reports whether a controller limits that cgroup.
func (p placement) has(c cgroup.Controller) bool {
	return p.assumed || p.tree != nil && p.tree.Has(c)
}

// moved reports whether the caller moves the set-up into it; else it is born there.
func (p placement) moved() bool {
	return p.tree != nil && p.tree.Entry() != cgroup.EnterByClone
}

// wantsCgroup reports whether a Spec needs a cgroup, and whether it can do without.
func wantsCgroup(spec *Spec) (wanted, needed bool) {
	for _, l := range cgroupLimits {
		if l.asked(&spec.Limits) {
			wanted = true
			needed = needed || !slices.Contains(spec.AllowMissing, l.feature)
		}
	}
	asked := spec.Cgroup.Always || spec.Cgroup.Path != ""
	return wanted || asked || spec.Limits.CPUTime > 0, needed || asked
}

// place finds the subtree for a Spec. That there is none is in the placement: what it means is for resolve
// to say.
func place(ctx context.Context, spec *Spec) (placement, error) {
	wanted, needed := wantsCgroup(spec)
	if !wanted {
		return placement{}, nil
	}
	o := cgroup.Options{Path: spec.Cgroup.Path, Move: spec.Cgroup.MoveCaller, Like: []cgroup.Controller{cgroup.Memory, cgroup.Pids, cgroup.CPU, cgroup.IO}}
	if o.Path == "" {
		o.Path = os.Getenv(cgroupVariable)
	}
	for _, l := range cgroupLimits {
		switch {
		case !l.asked(&spec.Limits):
		case slices.Contains(spec.AllowMissing, l.feature):
			o.Like = append(o.Like, l.controller)
		default:
			o.Need = append(o.Need, l.controller)
		}
	}
	search := ctx
	if !needed {
		var cancel context.CancelFunc
		search, cancel = context.WithTimeout(ctx, patienceWithout)
		defer cancel()
	}
	tree, err := trees.get(search, o)
	if ctx.Err() != nil {
		return placement{}, ctx.Err()
	}
	return placement{tree: tree, cause: err, ceiling: hardLimits("RLIMIT_DATA", "RLIMIT_NPROC")}, nil
}

// hardLimits reads the caller's own.
func hardLimits(names ...string) map[string]uint64 {
	all := map[string]uint64{}
	for _, name := range names {
		number, _ := rlimitResource(name)
		var own unix.Rlimit
		if err := unix.Getrlimit(number, &own); err == nil { // no other number is asked for
			all[name] = own.Max
		}
	}
	return all
}

// patienceWithout bounds the search for a cgroup that a Spec can do without: a bus may not answer.
const patienceWithout = 2 * time.Second

// cgroupVariable is the environment variable that Spec.Cgroup.Path has its default from.
const cgroupVariable = "RINGFENCE_CGROUP"

// treeCache keeps the subtrees that were found. Finding one tries it out, and may ask systemd for it; what
// was found is the caller's until it ends. One search goes on at a time: everybody wants the same.
type treeCache struct {
	searching chan struct{} // holds one value during a search

	mu     sync.Mutex              // guards what follows, and is never held for long
	trees  map[string]*cgroup.Tree // by Options.Path
	failed map[string]treeFailure
}

// treeFailure is a search that found nothing.
type treeFailure struct {
	err   error
	until time.Time // which it is not tried again
}

var trees = treeCache{searching: make(chan struct{}, 1)}

// get returns a subtree in which the needed controllers are enabled.
func (c *treeCache) get(ctx context.Context, o cgroup.Options) (*cgroup.Tree, error) {
	key := fmt.Sprint(o.Path, o.Need, o.Move)
	if tree, err, known := c.known(key, o); known {
		return tree, err
	}
	select {
	case c.searching <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-c.searching }()
	if tree, err, known := c.known(key, o); known {
		return tree, err
	}
	began := time.Now()
	tree, err := cgroup.Find(ctx, o)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		// A caller that gives up says nothing about the host; one that can do without has given it its time.
		if ctx.Err() == nil || len(o.Need) == 0 && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			const most = 64 // Specs may name any number of paths
			if c.failed == nil || len(c.failed) > most {
				c.failed = map[string]treeFailure{}
			}
			// What took long is not tried again soon: it would hold up every start.
			c.failed[key] = treeFailure{err, time.Now().Add(max(hostMaxAge, 10*time.Since(began)))}
		}
		return nil, err
	}
	if c.trees == nil {
		c.trees = map[string]*cgroup.Tree{}
	}
	c.trees[key] = tree
	if c.trees[o.Path] == nil {
		c.trees[o.Path] = tree
	}
	return tree, nil
}

// known returns what was found before: the subtree for the same needs, or the first one if it will do.
func (c *treeCache) known(key string, o cgroup.Options) (*cgroup.Tree, error, bool) {
	c.mu.Lock()
	same, first := c.trees[key], c.trees[o.Path]
	failure, failed := c.failed[key]
	c.mu.Unlock()
	for _, tree := range []*cgroup.Tree{same, first} {
		if tree == nil {
			continue
		}
		// Another search may find a subtree with what this one lacks.
		if tree, err := enabled(tree, o); err == nil || !errors.Is(err, cgroup.ErrNoController) || o.Path != "" {
			return tree, err, true
		}
	}
	if failed && time.Now().Before(failure.until) {
		return nil, failure.err, true
	}
	return nil, nil, false
}

// enabled returns tree if it has what is needed, or can be made to.
func enabled(tree *cgroup.Tree, o cgroup.Options) (*cgroup.Tree, error) {
	for _, c := range o.Need {
		if !tree.Has(c) {
			if err := tree.Enable(c); err != nil {
				return nil, err
			}
		}
	}
	for _, c := range o.Like {
		if !tree.Has(c) {
			_ = tree.Enable(c) // resolve says what it means for the Spec
		}
	}
	return tree, nil
}

// drop forgets a subtree that is gone, as when its unit was stopped.
func (c *treeCache) drop(tree *cgroup.Tree) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.trees, func(_ string, known *cgroup.Tree) bool { return known == tree })
}

// ReleaseCgroups gives back the subtrees in which this program has made cgroups, and a unit of systemd that
// was made for it. Sandboxes that still run there are killed; the next one finds a subtree anew. A program
// need not call it: all that is left when it ends is, if it ran more than one sandbox, an empty cgroup for a
// next one, which goes with its unit of systemd, or with the next start of a program in that subtree.
func ReleaseCgroups(ctx context.Context) error {
	trees.mu.Lock()
	found := trees.trees
	trees.trees, trees.failed = nil, nil
	trees.mu.Unlock()
	var failed []error
	for _, tree := range found { // one that is there twice is closed once
		failed = append(failed, tree.Close(ctx))
	}
	return cgroupError("give the cgroups back", errors.Join(failed...))
}

// unplaced is the error of a Spec that needs a cgroup where there is none.
func (p placement) unplaced(feature Feature, c cgroup.Controller) *UnsupportedError {
	u := &UnsupportedError{Feature: feature, Needs: "a delegated cgroup v2", Err: p.cause}
	if c != "" {
		u.Needs += " with the controller " + string(c)
	}
	var find *cgroup.FindError
	if errors.As(p.cause, &find) {
		bare := *find
		bare.Remedy = "" // which is said once
		u.Remedy, u.Err = find.Remedy, &bare
	}
	var own *cgroup.Error
	if u.Remedy == "" && errors.As(p.cause, &own) {
		u.Remedy = own.Remedy
	}
	return u
}

// String says where the cgroup is, for Result.Enforced.
func (p placement) String() string {
	if p.tree == nil {
		return "a delegated subtree"
	}
	return strings.Join([]string{p.tree.Way().String(), p.tree.Path(), p.tree.Entry().String()}, ", ")
}
