//go:build linux

package plan

import (
	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// Builder writes the ops of one process. It knows which descriptors are open, so that the number that
// the kernel will give to the next one, the lowest that is free (open(2)), can be written down.
type Builder struct {
	process Process
	ops     []*Op
	slab    []Op // where the next ops are put
	fds     descriptors
	forks   []fork
}

type fork struct {
	op    *Op
	child *Builder
}

// NewBuilder starts the program of the stub, which inherits the descriptors below inherited.
func NewBuilder(inherited int) *Builder {
	b := &Builder{process: Stub, fds: descriptors{}}
	for fd := range inherited {
		b.fds[fd] = true
	}
	return b
}

// NewJoiner starts the program of a joiner, which inherits the descriptors below inherited.
func NewJoiner(inherited int) *Builder {
	b := NewBuilder(inherited)
	b.process = Joiner
	return b
}

// Process returns the process whose ops b writes.
func (b *Builder) Process() Process { return b.process }

// Call appends a call that must return 0.
func (b *Builder) Call(label string, c kernel.Call) *Op {
	if len(b.slab) == cap(b.slab) {
		// One allocation for each op would cost more than the rest of it.
		const least, most = 12, 48
		b.slab = make([]Op, 0, min(max(2*cap(b.slab), least), most))
	}
	b.slab = append(b.slab, Op{Kind: Call, Process: b.process, Label: label, Call: c})
	op := &b.slab[len(b.slab)-1]
	b.ops = append(b.ops, op)
	return op
}

// Append appends ops that were made before, by Ops. They are shared, so that nobody may change them.
func (b *Builder) Append(ops []*Op) { b.ops = append(b.ops, ops...) }

// Ops returns what build appends for a process, to be appended to many programs. It may neither open nor
// close descriptors.
func Ops(process Process, build func(*Builder)) []*Op {
	b := &Builder{process: process, fds: descriptors{}}
	build(b)
	return b.ops
}

// Returns sets the result that the call must have.
func (op *Op) Returns(want int64) *Op {
	op.Want = want
	return op
}

// Fails says that the call must fail, with this errno.
func (op *Op) Fails(errno unix.Errno) *Op { return op.Returns(-int64(errno)) }

// ReturnsAny accepts every result that is not an error.
func (op *Op) ReturnsAny() *Op {
	op.Any = true
	return op
}

// Tolerates accepts an error, and says why.
func (op *Op) Tolerates(reason string, errnos ...unix.Errno) *Op {
	op.Tolerate, op.Reason = errnos, reason
	return op
}

// Again makes the call again when it fails with EAGAIN or EINTR.
func (op *Op) Again() *Op {
	op.Retry = true
	return op
}

// Keeps stores the result, whatever it is.
func (op *Op) Keeps(m *kernel.Memory, at int) *Op {
	op.Keep, op.KeepAt = m, at
	return op
}

// Open appends a call that opens a descriptor, and returns its number.
func (b *Builder) Open(label string, c kernel.Call) int {
	fd := b.fds.lowest()
	b.fds[fd] = true
	b.Call(label, c).Returns(int64(fd))
	return fd
}

// Resolve appends a call of openat2(2) that resolves a path within a root, and returns the descriptor's
// number. The kernel answers EAGAIN when a mount or a rename anywhere on the host came between the
// components of a path with ".." in it, in a link too, and wants to be asked again.
func (b *Builder) Resolve(label string, c kernel.Call) int {
	fd := b.Open(label, c)
	b.ops[len(b.ops)-1].Retry = true
	return fd
}

// OnExec makes first and every descriptor above it close when the command is executed.
func (b *Builder) OnExec(label string, first int) { b.Call(label, kernel.CloseRangeOnExec(first)) }

// Listen loads a filter, and returns the number of its listener.
func (b *Builder) Listen(label string, filter []byte, patient bool) int {
	return b.Open(label, kernel.SeccompListener(filter, patient))
}

// Dup makes to a copy of from, in the place of what it was.
func (b *Builder) Dup(label string, from, to int) {
	b.Call(label, kernel.Dup(from, to)).Returns(int64(to))
	b.fds[to] = true
}

// DupCloseOnExec is Dup of what is closed when the command is executed.
func (b *Builder) DupCloseOnExec(label string, from, to int) {
	b.Call(label, kernel.DupCloseOnExec(from, to)).Returns(int64(to))
	b.fds[to] = true
}

// Receive appends a call that receives n descriptors, and returns their numbers.
func (b *Builder) Receive(label string, c kernel.Call, n int) []int {
	b.Call(label, c).ReturnsAny()
	fds := make([]int, n)
	for i := range fds {
		fds[i] = b.fds.lowest()
		b.fds[fds[i]] = true
	}
	return fds
}

// Next returns the number that the next descriptor will have.
func (b *Builder) Next() int { return b.fds.lowest() }

// After returns the number that a descriptor will have that comes behind n others.
func (b *Builder) After(n int) int {
	fds := b.fds.clone()
	for range n {
		fds[fds.lowest()] = true
	}
	return fds.lowest()
}

// Close closes descriptors.
func (b *Builder) Close(fds ...int) {
	for _, fd := range fds {
		b.Call("close what is done with", kernel.Close(fd))
		delete(b.fds, fd)
	}
}

// CloseFrom closes first and every descriptor above it, known or not.
func (b *Builder) CloseFrom(label string, first int) {
	b.closeRange(label, first, kernel.LastDescriptor)
}

// CloseBelow closes every descriptor below end.
func (b *Builder) CloseBelow(label string, end int) { b.closeRange(label, 0, int64(end)-1) }

func (b *Builder) closeRange(label string, first int, last int64) {
	b.Call(label, kernel.CloseRange(first, last))
	for fd := range b.fds {
		if fd >= first && int64(fd) <= last {
			delete(b.fds, fd)
		}
	}
}

// WriteString writes all of s to fd.
func (b *Builder) WriteString(label string, fd int, s string) {
	b.Call(label, kernel.WriteString(fd, s)).Returns(int64(len(s)))
}

// Fork starts the process that child describes; it has the descriptors of b as they are now. With
// CLONE_FILES what it opens and closes is open and closed here too, which can be known only where b waits
// for it: with CLONE_VFORK. The record takes the new process's ID.
func (b *Builder) Fork(label string, f kernel.CloneFlags, record *kernel.Memory, process Process, child func(*Builder)) {
	b.fork(label, kernel.Clone3(f, record, RecordPID), f, process, child)
}

// ForkWatched is Fork, and returns the number of the pidfd that b gets.
func (b *Builder) ForkWatched(label string, f kernel.CloneFlags, record *kernel.Memory, process Process, child func(*Builder)) int {
	pidfd := b.fds.lowest()
	b.fork(label, kernel.Clone3Watched(f, record, RecordPID), f|unix.CLONE_PIDFD, process, child)
	return pidfd
}

// Clone is Fork of a program without namespaces. The record takes the new process's ID; nil is none.
func (b *Builder) Clone(label string, f kernel.CloneFlags, arch kernel.Arch, record *kernel.Memory, process Process, child func(*Builder)) {
	if record != nil {
		f |= unix.CLONE_PARENT_SETTID
	}
	b.fork(label, kernel.Clone(f, arch, record, RecordPID, nil, 0), f, process, child)
}

// CloneWatched is Clone of a process that shares the memory, and finds its own ID in started, where it owns what it
// asks for. It returns the number of the pidfd that b gets.
func (b *Builder) CloneWatched(label string, arch kernel.Arch, started *kernel.Memory, process Process, child func(*Builder)) int {
	const f = unix.CLONE_VM | unix.CLONE_VFORK | unix.CLONE_PIDFD | unix.CLONE_CHILD_SETTID
	pidfd := b.fds.lowest()
	kernel.PutOwner(started, RecordOwner)
	b.fork(label, kernel.Clone(f, arch, kernel.Zeroed(4), 0, started, RecordOwner+kernel.OwnerID), f, process, child)
	return pidfd
}

// Pipe opens a pipe, and returns its ends.
func (b *Builder) Pipe(label string) (r, w int) {
	b.Call(label, kernel.Pipe(kernel.Zeroed(8)))
	r = b.fds.lowest()
	b.fds[r] = true
	w = b.fds.lowest()
	b.fds[w] = true
	return r, w
}

// Thread is Fork of a thread with this ID, which shares everything.
func (b *Builder) Thread(label string, tid uint32, process Process, child func(*Builder)) {
	const f = unix.CLONE_VM | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD
	b.fork(label, kernel.Clone3As(f, kernel.Zeroed(RecordPID+4), RecordPID, tid), f, process, child)
}

func (b *Builder) fork(label string, c kernel.Call, f kernel.CloneFlags, process Process, child func(*Builder)) {
	cb := &Builder{process: process, fds: b.fds}
	if f&unix.CLONE_FILES == 0 {
		cb.fds = b.fds.clone()
	}
	if f&unix.CLONE_PIDFD != 0 {
		// In the table that b has now, and in the child's where that is the same.
		b.fds[b.fds.lowest()] = true
	}
	op := b.Call(label, c).ReturnsAny()
	op.Kind = Fork
	b.forks = append(b.forks, fork{op, cb})
	child(cb)
}

// Until appends a call that is repeated until it returns want.
func (b *Builder) Until(label string, c kernel.Call, want int64) {
	b.Call(label, c).Returns(want).Kind = Until
}

// Program returns the ops of b and its children as one list. It is called once, when b is complete.
func (b *Builder) Program() []*Op {
	ops := b.ops
	for _, f := range b.forks {
		base := len(ops)
		f.op.Child = base
		for _, op := range f.child.Program() {
			if op.Kind == Fork {
				op.Child += base
			}
			ops = append(ops, op)
		}
	}
	return ops
}

// descriptors is a set of open file descriptors.
type descriptors map[int]bool

func (d descriptors) lowest() int {
	fd := 0
	for d[fd] {
		fd++
	}
	return fd
}

func (d descriptors) clone() descriptors {
	c := make(descriptors, len(d)+1)
	for fd := range d {
		c[fd] = true
	}
	return c
}
