//go:build linux && (amd64 || arm64)

package image

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// This is the interpreter of stub_linux_amd64.s in Go, over a small model of the kernel. It reads what
// the assembly reads: the ELF file, and the data segment as bytes.

// errOutOfModel says that a program does what the model does not know.
var errOutOfModel = errors.New("the model does not know this")

// reference runs an image in a model.
type reference struct {
	arch    kernel.Arch
	data    []byte // the data segment, as it is now
	files   map[int]*file
	steps   int
	umask   int64
	zombies []int64 // exit codes
	out     bytes.Buffer
	reports []string
}

// file is an open file description.
type file struct {
	kind   string // "input", "output", "null", "report", "lifeline"
	offset int64
}

// loadReference reads an image.
func loadReference(arch kernel.Arch, image []byte) (*reference, error) {
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return nil, err
	}
	r := &reference{arch: arch, umask: 0o22}
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && p.Flags&elf.PF_W != 0 {
			if p.Vaddr != dataAddr {
				return nil, fmt.Errorf("the data is at %#x", p.Vaddr)
			}
			if r.data, err = io.ReadAll(p.Open()); err != nil {
				return nil, err
			}
		}
	}
	if len(r.data) < headerSize {
		return nil, errors.New("there is no data segment")
	}
	r.files = map[int]*file{inFD: {kind: "input"}, outFD: {kind: "output"}, nullFD: {kind: "null"}, reportFD: {kind: "report"}, lifelineFD: {kind: "lifeline"}}
	return r, nil
}

func (r *reference) outcome() (outcome, error) {
	code, err := r.run(dataAddr + headerSize)
	return outcome{exit: int(code) & 0xff, out: r.out.String(), reports: r.reports}, err
}

// at returns n bytes of the segment.
func (r *reference) at(addr uint64, n int64) ([]byte, error) {
	offset := addr - dataAddr
	if addr < dataAddr || offset > uint64(len(r.data)) || n < 0 || uint64(n) > uint64(len(r.data))-offset {
		return nil, fmt.Errorf("%w: %d bytes at %#x", errOutOfModel, n, addr)
	}
	return r.data[offset : offset+uint64(n)], nil
}

// run interprets ops from an address on, until the process exits.
func (r *reference) run(pc uint64) (code int64, err error) {
	word := func(b []byte, at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }
	for {
		const maxSteps = 2000
		if r.steps++; r.steps > maxSteps {
			return 0, fmt.Errorf("%w: it does not end", errOutOfModel)
		}
		op, err := r.at(pc, opSize)
		if err != nil {
			return 0, err
		}
		name, ok := kernel.Name(r.arch, int(binary.LittleEndian.Uint32(op[opNumber:])))
		if !ok {
			return 0, fmt.Errorf("%w: call %d", errOutOfModel, binary.LittleEndian.Uint32(op[opNumber:]))
		}
		var args [6]uint64
		for i := range args {
			args[i] = word(op, opArgs+8*i)
		}
		if name == "exit_group" {
			return int64(args[0]), nil
		}
		var result int64
		if name == "clone3" {
			if op[opKind] != kindFork {
				return 0, fmt.Errorf("%w: a fork that is none", errOutOfModel)
			}
			if err := r.fork(word(op, opWant)); err != nil {
				return 0, err
			}
			const pid = 4711
			result = pid
		} else if result, err = r.call(name, args); err != nil {
			return 0, err
		}
		want := int64(word(op, opWant))
		tolerated := result < 0 && result > -64 && word(op, opTolerate)&(1<<-result) != 0
		pc += opSize
		switch kind := op[opKind]; {
		case kind == kindKeep:
			m, err := r.at(uint64(want), 8)
			if err != nil {
				return 0, err
			}
			binary.LittleEndian.PutUint64(m, uint64(result))
		case kind == kindExact && (result == want || tolerated):
		case kind == kindRetry && (result == -int64(unix.EAGAIN) || result == -int64(unix.EINTR)):
			pc -= opSize
		case kind == kindRetry && (result == want || tolerated):
		case kind == kindUntil && result == want:
		case kind == kindUntil && result >= 0:
			pc -= opSize
		case (kind == kindAny || kind == kindFork) && (result >= 0 || tolerated):
		default:
			return 1, r.fail(binary.LittleEndian.Uint16(op[opIndex:]), result)
		}
	}
}

// fail writes the record of a failure.
func (r *reference) fail(index uint16, result int64) error {
	record := r.data[headerRecord : headerRecord+16]
	binary.LittleEndian.PutUint32(record, recordFailed)
	binary.LittleEndian.PutUint32(record[4:], uint32(index))
	binary.LittleEndian.PutUint64(record[8:], uint64(result))
	_, err := r.call("write", [6]uint64{binary.LittleEndian.Uint64(r.data[headerReport:]), dataAddr + headerRecord, 16})
	return err
}

// fork runs the child, which has the memory of its parent and copies of its descriptors, to its end.
func (r *reference) fork(child uint64) error {
	files := r.files
	r.files = maps.Clone(files)
	umask := r.umask
	zombies := r.zombies
	r.zombies = nil
	code, err := r.run(child)
	r.files, r.umask, r.zombies = files, umask, append(zombies, code&0xff)
	return err
}

func errno(e unix.Errno) int64 { return -int64(e) }

// call is the model of the kernel.
func (r *reference) call(name string, args [6]uint64) (int64, error) {
	fd := int(int32(args[0]))
	f := r.files[fd]
	switch name {
	case "umask":
		before := r.umask
		r.umask = int64(args[0]) & 0o777
		return before, nil
	case "sched_yield":
		return 0, nil
	case "wait4":
		return r.wait(args)
	case "close_range":
		if args[1] < args[0] || args[2] != 0 {
			return 0, errOutOfModel
		}
		maps.DeleteFunc(r.files, func(fd int, _ *file) bool { return uint64(fd) >= args[0] && uint64(fd) <= args[1] })
		return 0, nil
	}
	if name == "dup3" && fd == int(int32(args[1])) {
		return errno(unix.EINVAL), nil // open or not
	}
	if f == nil {
		return errno(unix.EBADF), nil
	}
	switch name {
	case "close":
		delete(r.files, fd)
		return 0, nil
	case "write":
		return r.write(f, args)
	case "read":
		return r.read(f, args)
	case "lseek":
		return f.seek(int64(args[1]), int64(args[2]))
	case "dup3":
		to := int(int32(args[1]))
		if args[2] != 0 || to < 0 || to > 64 {
			return 0, errOutOfModel
		}
		r.files[to] = f
		return int64(to), nil
	case "fcntl":
		if args[1] == unix.F_DUPFD && args[2] < 64 {
			low := int(args[2])
			for r.files[low] != nil {
				low++
			}
			r.files[low] = f
			return int64(low), nil
		}
	}
	return 0, fmt.Errorf("%w: %s%v", errOutOfModel, name, args)
}

func (r *reference) wait(args [6]uint64) (int64, error) {
	if len(r.zombies) == 0 {
		return errno(unix.ECHILD), nil
	}
	if args[1] != 0 {
		status, err := r.at(args[1], 4)
		if err != nil {
			return 0, err
		}
		binary.LittleEndian.PutUint32(status, uint32(r.zombies[0]<<8))
	}
	r.zombies = r.zombies[1:]
	return 4711, nil // which the program must not look at
}

func (r *reference) write(f *file, args [6]uint64) (int64, error) {
	b, err := r.at(args[1], int64(args[2]))
	if err != nil {
		return 0, err
	}
	const pipe, messages = 4096, 50 // what fits without a reader
	switch f.kind {
	case "null":
	case "output":
		r.out.Write(b)
		if r.out.Len() > pipe {
			return 0, fmt.Errorf("%w: too much output", errOutOfModel)
		}
	case "report":
		if len(b) == 0 || len(r.reports) >= messages {
			return 0, fmt.Errorf("%w: such a message", errOutOfModel)
		}
		r.reports = append(r.reports, string(b))
	default: // open for reading
		return errno(unix.EBADF), nil
	}
	return int64(len(b)), nil
}

func (r *reference) read(f *file, args [6]uint64) (int64, error) {
	b, err := r.at(args[1], int64(args[2]))
	if err != nil {
		return 0, err
	}
	switch f.kind {
	case "null":
		return 0, nil
	case "output":
		return errno(unix.EBADF), nil
	case "input":
		n := copy(b, input[min(f.offset, int64(len(input))):])
		f.offset += int64(n)
		return int64(n), nil
	}
	return 0, fmt.Errorf("%w: a read that blocks", errOutOfModel)
}

func (f *file) seek(offset, whence int64) (int64, error) {
	if f.kind == "null" || whence < 0 || whence > 2 {
		return 0, fmt.Errorf("%w: this seek", errOutOfModel)
	}
	if f.kind != "input" {
		return errno(unix.ESPIPE), nil
	}
	to := offset + []int64{0, f.offset, int64(len(input))}[whence]
	if to < 0 {
		return errno(unix.EINVAL), nil
	}
	f.offset = to
	return to, nil
}
