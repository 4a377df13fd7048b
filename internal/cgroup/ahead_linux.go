package cgroup

import (
	"context"
	"time"
)

// Making a cgroup and writing its limits is most of what a New costs. Who waits for a sandbox anyway has it
// done meanwhile, for the next one: whose limits are those of the last, more often than not.
//
// A cgroup that was used is not used again: the pages of files that its processes read first stay charged
// to it, and memory.peak cannot be set back before Linux 6.12.

// aheadPatience bounds the removal of a cgroup that was made in vain; nobody is in it.
const aheadPatience = 2 * time.Second

// Ahead makes the cgroup that the next New takes, beside what the caller does, if there is none yet and this
// is not the first: a program may run one sandbox and end. Those limits are in force in it; New changes what
// differs. That it could not be made is for New to say. Close removes it; that of a caller that ends without
// Close is removed at the next start of one.
func (t *Tree) Ahead(limits Limits) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.spare != nil || t.ahead || t.made < 2 {
		return
	}
	t.ahead = true
	go func() {
		t.making.RLock()
		defer t.making.RUnlock()
		l, err := t.make()
		if err == nil {
			err = l.Update(limits)
		}
		t.mu.Lock()
		if err == nil && !t.closed {
			t.spare, l = l, nil
		}
		t.mu.Unlock()
		if l != nil {
			t.scrap(l)
		}
		t.mu.Lock()
		t.ahead = false // now that what was made in vain is gone
		t.mu.Unlock()
	}()
}

// scrap removes a cgroup that nobody was in. What cannot be removed now is removed at the next start.
func (t *Tree) scrap(l *Leaf) {
	ctx, cancel := context.WithTimeout(context.Background(), aheadPatience)
	defer cancel()
	if l.Remove(ctx) != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.dir.close() // and with it the lock
		l.dir = nil
	}
}

// take returns the cgroup that was made ahead, or makes one.
func (t *Tree) take() (*Leaf, error) {
	t.mu.Lock()
	l, closed := t.spare, t.closed
	t.spare = nil
	t.mu.Unlock()
	if closed {
		return nil, &Error{Op: "make a cgroup", Path: t.dir.path, Err: ErrRemoved}
	}
	if l != nil {
		if l.dir.has("cgroup.procs") {
			return l, nil
		}
		t.scrap(l) // somebody removed it
	}
	return t.make()
}
