package image

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
	"github.com/ringfence-go/ringfence/internal/plan"
)

// The data segment begins at dataAddr with a header, then the ops, then the memory that they point to.
// The assembly reads these constants through go_asm.h, so that layout and interpreter cannot disagree.
const (
	// lowAddr is where kernel.Memory that is Low lies: the lowest address that may be mapped, with the usual
	// vm.mmap_min_addr. It ends where the text begins.
	lowAddr  = 0x10000
	textAddr = 0x400000
	// dataOffset is where the data segment stands in the file. The address is congruent to it for
	// pages of up to 64 KiB, as arm64 may have, and needs no padding up to such a page.
	dataOffset = 0x1000
	dataAddr   = 0x10000000 + dataOffset

	// The header.
	headerReport   = 0  // descriptor of the report socket
	headerLifeline = 8  // descriptor of the lifeline
	headerRecord   = 16 // the record of a failure, plan.SizeofFailed bytes
	headerScratch  = 32 // a byte for the handler to read into
	headerSize     = 64

	// An op.
	opNumber   = 0  // of the system call, 4 bytes
	opKind     = 4  // 1 byte
	opIndex    = 6  // 2 bytes
	opArgs     = 8  // six of 8 bytes
	opWant     = 56 // result, address of the child's op, or address to keep the result at
	opTolerate = 64 // a bit for each errno below 64
	opSize     = 72

	// The kinds of ops, as the interpreter tells them apart.
	kindAny   = 0 // go on unless the result is an error
	kindExact = 1 // go on if the result is opWant
	kindKeep  = 2 // store the result at opWant
	kindFork  = 3 // in the child, go on at opWant
	kindUntil = 4 // again until the result is opWant
	kindRetry = 5 // go on if the result is opWant, again if it is EAGAIN or EINTR

	recordFailed = 1 // plan.Failed
)

// DataAddr is where the data segment is in memory: what the arguments of the program's calls point to
// is there and above, but for what is Low, which is at LowAddr and above.
const (
	DataAddr = dataAddr
	LowAddr  = lowAddr
)

// MaxOps is the largest number of ops of a program: an index has 16 bits.
const MaxOps = plan.MaxOps

const (
	// maxFile bounds the image: beyond it nobody could tell a mistake from a Spec.
	maxFile = 1 << 30
	// maxDepth bounds how far pointers lead from an argument; a message leads to its data in three steps.
	maxDepth = 8
)

// layout places memory in the data segment.
type layout struct {
	arch    kernel.Arch
	handler uint64 // the address of the signal handler
	file    []byte // up to dataOffset still empty
	low     []byte // what goes to lowAddr
	*tables
	depth int   // of place
	err   error // the first of place
}

// tables is what a layout looks up. It takes as much memory as the rest of an image, and is used again.
type tables struct {
	at      map[*kernel.Memory]uint64 // the address of what has been placed
	numbers map[string]uint32         // of system calls
}

var tablePool = sync.Pool{New: func() any {
	return &tables{at: map[*kernel.Memory]uint64{}, numbers: map[string]uint32{}}
}}

// release forgets everything: what a program points to may be secret, and must not be kept alive.
func (t *tables) release() {
	clear(t.at)
	clear(t.numbers)
	tablePool.Put(t)
}

// dataSegment encodes p behind the dataOffset bytes of the file that it returns, and what is Low apart. It establishes that
// every pointer in it points into the segment or at the handler.
func dataSegment(p *plan.Program, handler uint64) (file, low []byte, inbox uint64, err error) {
	if len(p.Ops) > MaxOps {
		return nil, nil, 0, fmt.Errorf("image: %d steps, at most %d are possible", len(p.Ops), MaxOps)
	}
	const memory = 24 << 10 // about what the ops of a zero Spec point to
	l := &layout{
		arch: p.Arch, handler: handler, tables: tablePool.Get().(*tables),
		file: make([]byte, opOffset(len(p.Ops)), opOffset(len(p.Ops))+memory),
	}
	defer l.release()
	binary.LittleEndian.PutUint64(l.file[dataOffset+headerReport:], uint64(p.Report))
	binary.LittleEndian.PutUint64(l.file[dataOffset+headerLifeline:], uint64(p.Lifeline))
	for i, op := range p.Ops {
		if op == nil {
			return nil, nil, 0, fmt.Errorf("image: there is no step %d", i)
		}
		err := l.putOp(i, op)
		if err == nil && op.Kind == plan.Fork && (op.Child <= i || op.Child >= len(p.Ops)) {
			err = fmt.Errorf("its child is at %d of %d", op.Child, len(p.Ops))
		}
		if err == nil && len(l.file) > maxFile {
			err = fmt.Errorf("more than %d bytes", maxFile)
		}
		if err != nil {
			return nil, nil, 0, fmt.Errorf("image: step %d, %s: %w", i, op.Label, err)
		}
	}
	if p.Inbox != nil {
		inbox = l.place(p.Inbox)
	}
	return l.file, l.low, inbox, l.err
}

// opOffset returns where op i stands in the file.
func opOffset(i int) int { return dataOffset + headerSize + opSize*i }

// address returns where a place in the file is in memory.
func address(offset int) uint64 { return dataAddr - dataOffset + uint64(offset) }

func (l *layout) putOp(i int, op *plan.Op) error {
	number, err := l.number(op.Call.Name)
	if err != nil {
		return err
	}
	var b [opSize]byte
	binary.LittleEndian.PutUint32(b[opNumber:], number)
	binary.LittleEndian.PutUint16(b[opIndex:], uint16(i))
	if len(op.Call.Args) > 6 {
		return fmt.Errorf("%d arguments", len(op.Call.Args))
	}
	for j, arg := range op.Call.Args {
		value := uint64(arg.Value)
		if arg.Mem != nil {
			value = l.pointer(arg.Mem, arg.Offset, 0)
		}
		binary.LittleEndian.PutUint64(b[opArgs+8*j:], value)
	}
	kind, want := l.condition(op)
	b[opKind] = kind
	binary.LittleEndian.PutUint64(b[opWant:], want)
	mask, err := tolerance(op.Tolerate)
	if err != nil {
		return err
	}
	if l.err != nil {
		return l.err
	}
	binary.LittleEndian.PutUint64(b[opTolerate:], mask)
	copy(l.file[opOffset(i):], b[:])
	return nil
}

func (l *layout) number(name string) (uint32, error) {
	if n, ok := l.numbers[name]; ok {
		return n, nil
	}
	n, ok := kernel.Number(l.arch, name)
	if !ok {
		return 0, fmt.Errorf("no system call %s on %s", name, l.arch)
	}
	l.numbers[name] = uint32(n)
	return uint32(n), nil
}

// condition returns the kind of op for the interpreter, and what goes with it.
func (l *layout) condition(op *plan.Op) (kind byte, want uint64) {
	switch {
	case op.Keep != nil:
		return kindKeep, l.pointer(op.Keep, op.KeepAt, 8)
	case op.Kind == plan.Fork:
		return kindFork, address(opOffset(op.Child))
	case op.Kind == plan.Until:
		return kindUntil, uint64(op.Want)
	case op.Any:
		return kindAny, 0
	case op.Retry:
		return kindRetry, uint64(op.Want)
	}
	return kindExact, uint64(op.Want)
}

func tolerance(errnos []unix.Errno) (uint64, error) {
	var mask uint64
	for _, errno := range errnos {
		if errno == 0 || errno >= 64 {
			return 0, fmt.Errorf("cannot tolerate %w", errno)
		}
		mask |= 1 << errno
	}
	return mask, nil
}

// pointer returns the address of a place in m that has room for n bytes.
func (l *layout) pointer(m *kernel.Memory, at, n int) uint64 {
	size := len(m.Bytes)
	if m.Text != "" {
		size = len(m.Text) + 1
	}
	if at < 0 || at > size-n {
		l.err = fmt.Errorf("a pointer to %d of %d bytes", at, size)
	}
	return l.place(m) + uint64(at)
}

// place copies m, and what it points to, into the segment, once, and returns its address.
func (l *layout) place(m *kernel.Memory) uint64 {
	if addr, ok := l.at[m]; ok {
		return addr
	}
	if m.Low {
		return l.placeLow(m)
	}
	const align = 8
	for len(l.file)%align != 0 {
		l.file = append(l.file, 0)
	}
	offset := len(l.file)
	addr := address(offset)
	l.at[m] = addr
	if m.Text != "" {
		l.file = append(append(l.file, m.Text...), 0)
		return addr
	}
	l.file = append(l.file, m.Bytes...)
	if len(m.Refs) > 0 {
		l.putRefs(m, offset)
	}
	return addr
}

func (l *layout) placeLow(m *kernel.Memory) uint64 {
	if len(m.Bytes) > 0 || lowAddr+len(l.low)+len(m.Text) >= textAddr {
		l.err = fmt.Errorf("%d bytes at a low address", len(l.low)+len(m.Bytes)+len(m.Text))
	}
	addr := uint64(lowAddr + len(l.low))
	l.at[m] = addr
	l.low = append(append(l.low, m.Text...), 0)
	return addr
}

// putRefs places what m, which is at offset, points to.
func (l *layout) putRefs(m *kernel.Memory, offset int) {
	if l.depth++; l.depth > maxDepth {
		l.err = errors.New("pointers lead too far")
	}
	for _, ref := range m.Refs {
		if ref.Offset < 0 || ref.Offset > len(m.Bytes)-8 {
			l.err = fmt.Errorf("a pointer at %d of %d bytes", ref.Offset, len(m.Bytes))
		}
		if l.err != nil {
			return
		}
		to := l.handler
		if ref.To != nil {
			to = l.pointer(ref.To, ref.ToOffset, 0)
		}
		binary.LittleEndian.PutUint64(l.file[offset+ref.Offset:], to)
	}
	l.depth--
}
