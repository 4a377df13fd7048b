//go:build linux

package sandbox

import (
	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
	"github.com/ringfence-go/ringfence/internal/plan"
)

// compile writes the program of a sandbox: its processes, and the stages of each in order. Each stage
// is a function of r that appends ops; c carries what one stage opens and a later one uses.
func compile(r *resolved) *plan.Program {
	if r.bare != nil {
		return compileBare(r)
	}
	c := newCompilation(r.own())
	stub := plan.NewBuilder(c.inherited)

	c.compileStub(stub)
	stub.Fork("start PID 1 in namespaces of its own", kernel.CloneFlags(r.namespaces|unix.CLONE_PARENT|unix.CLONE_CLEAR_SIGHAND), c.cloned, plan.Init, func(b *plan.Builder) {
		c.compileMaps(b)
		c.compileHold(b)
		c.compileSources(b)
		c.compileIdentity(b)
		c.compileRoot(b)
		c.compileDev(b)
		c.compileProc(b)
		c.compileBase(b)
		c.compileMounts(b)
		c.compileSeal(b)
		c.compileSystem(b)
		c.compileTerminal(b)
		c.compileConfine(b)
		if c.lives {
			c.compileKeeper(b)
			return
		}
		c.compileWitness(b)
		b.Fork("start PID 2 for the command", c.commandFlags(), c.started, plan.Command, c.compileCommand)
		c.compileInitConfine(b)
		c.compileInitFilter(b)
		c.compileReap(b)
	})
	c.compileStubEnd(stub)

	return c.program(stub)
}

// compileJoin writes the program of one more command in a sandbox that lives.
func compileJoin(r *resolved) *plan.Program {
	c := newCompilation(r)
	b := plan.NewJoiner(c.inherited)

	c.compileStub(b)
	c.compileEnter(b)
	c.compileTerminal(b)
	c.compileLeaveEntries(b)
	c.compileJoinConfine(b)
	c.watched = b.ForkWatched("start a process for the command", c.commandFlags(), c.started, plan.Command, c.compileCommand)
	c.compileInitConfine(b)
	c.compileInitFilter(b)
	c.compileAwait(b)

	return c.program(b)
}

// compileCommand writes what a process does on its way to being the command.
func (c *compilation) compileCommand(b *plan.Builder) {
	c.compileSession(b)
	c.compileLimits(b)
	c.compileReady(b)
	c.compileDir(b)
	c.compileUser(b)
	c.compileOrphan(b)
	c.compileLookup(b)
	c.compileDescriptors(b)
	c.compileCommandFilter(b)
	c.compileExec(b)
}

// compilation is what the stages of one program share.
type compilation struct {
	*resolved

	inherited              int // descriptors at the start: those of the command, then these three
	report, lifeline, word int // word is the pipe on which the caller says when to go on

	cloned, started, ended *kernel.Memory // records

	rootTree *source        // Root.Path
	system   []source       // of the base system
	devices  []source       // below /dev
	sources  map[int]source // of r.mounts, by index
	root     int            // descriptor of the new root, once it is one
	dev      int            // descriptor of the sandbox's /dev
	proc     int            // descriptor of the sandbox's /proc
	pts      int            // descriptor of the sandbox's /dev/pts
	master   int            // descriptor of the caller's end of the terminal, if there is one
	listener int            // descriptor of the command's filter, if it has one
	held     []int          // descriptors for the caller: namespaces and the root
	ruleset  int            // descriptor of the Landlock ruleset, if there is one
	entries  []int          // descriptors of the namespaces that a joiner enters
	watched  int            // descriptor of the joiner's pidfd of the command
	inbox    int            // descriptor on which PID 2 is told what to execute, if it waits for that
	told     *kernel.Memory // what it is told: see inbox.go
	streams  []int          // descriptors that come with it
	// Counters: the witness of refused calls says that it is ready, and PID 1 that it may begin.
	ready, begin int
}

// stdio counts the standard streams.
const stdio = 3

// source is a tree of the host, detached from everything.
type source struct {
	fd    int
	entry entry
}

// entry says what a source is called and where it belongs.
type entry struct {
	path  string // on the host, for labels
	name  string // at the target
	isDir bool
}

func newCompilation(r *resolved) *compilation {
	c := &compilation{resolved: r, sources: map[int]source{}}
	c.report = stdio + len(r.extraFiles)
	c.lifeline = c.report + 1
	c.word = c.lifeline + 1
	c.inherited = c.word
	if r.ids.byCaller && !r.joins || r.placement.moved() {
		c.inherited++
	}
	if r.waits {
		c.inbox = c.inherited
		c.inherited++
		c.told = kernel.Zeroed(inboxSize)
	}
	if r.joins {
		for range r.namespaceKinds() {
			c.entries = append(c.entries, c.inherited)
			c.inherited++
		}
		if r.terminal != nil {
			c.pts = c.inherited
			c.inherited++
		}
	}
	c.cloned = plan.NewRecord(plan.Cloned, 0)
	c.started = plan.NewRecord(plan.Started, len(r.candidates))
	if r.waits {
		c.started = plan.NewRecord(plan.Started, inboxPaths)
	}
	c.ended = plan.NewRecord(plan.Ended, 0)
	if r.joins || r.bare != nil {
		c.ended = plan.NewRecord(plan.Waited, 0)
	}
	return c
}

// payload returns the descriptors that the command gets, and the holes between them: a hole is filled
// until then, so that the set-up opens nothing there.
func (c *compilation) payload() (kept, holes []int) {
	kept = []int{0, 1, 2}
	for i, open := range c.extraFiles {
		if open {
			kept = append(kept, stdio+i)
		} else {
			holes = append(holes, stdio+i)
		}
	}
	return kept, holes
}

func (c *compilation) program(stub *plan.Builder) *plan.Program {
	kept, _ := c.payload()
	p := &plan.Program{
		Arch: kernel.Arch(c.facts.Arch), Ops: stub.Program(),
		Inherited: c.inherited, Payload: kept,
		Report: c.report, Lifeline: c.lifeline, Capabilities: c.capabilities, Terminal: c.terminal != nil, KeepsGroups: c.ids.keepsGroups,
		Keeps: c.lives,
	}
	if c.bare != nil {
		p.Bare, p.TakesIDs, p.Filters = true, c.bare.takesIDs, 1
		if c.bare.ownFilter {
			p.Filters++
		}
	}
	if c.waits {
		p.Inbox, p.InboxFD = c.told, c.inbox
	}
	if c.joins {
		p.Terminals = c.pts
		for i, ns := range c.namespaceKinds() {
			p.Joins = append(p.Joins, plan.Namespace{FD: c.entries[i], Kind: kernel.CloneFlags(ns.flag)})
		}
	}
	return p
}
