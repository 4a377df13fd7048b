package image

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ringfence-go/ringfence/internal/kernel"
	"github.com/ringfence-go/ringfence/internal/plan"
)

const (
	ehdrSize = 64 // Elf64_Ehdr
	phdrSize = 56 // Elf64_Phdr
	phdrs    = 4
	// codeOffset is where the interpreter stands, in the file and behind textAddr: the text segment
	// is mapped from the start of the file, with the headers in it.
	codeOffset = (ehdrSize + phdrs*phdrSize + 15) &^ 15
)

// Build returns p as an executable for the architecture that this program runs on.
func Build(p *plan.Program) ([]byte, error) {
	file, _, err := BuildWaiting(p)
	return file, err
}

// BuildWaiting is Build, and returns the address that p.Inbox has when the executable runs; 0 if there is none.
func BuildWaiting(p *plan.Program) (file []byte, inbox uint64, err error) {
	code, handler, err := code(p.Arch)
	if err != nil {
		return nil, 0, err
	}
	if codeOffset+len(code) > dataOffset {
		return nil, 0, fmt.Errorf("image: an interpreter of %d bytes does not fit; this is our bug", len(code))
	}
	file, low, inbox, err := dataSegment(p, textAddr+codeOffset+uint64(handler))
	if err != nil {
		return nil, 0, err
	}
	data, lowOffset := len(file)-dataOffset, 0
	if len(low) > 0 {
		lowOffset = (len(file) + maxPage - 1) &^ (maxPage - 1)
		file = append(append(file, make([]byte, lowOffset-len(file))...), low...)
	}
	copy(file, headers(p.Arch, codeOffset+len(code), data, lowOffset, len(low)))
	copy(file[codeOffset:], code)
	return file, inbox, nil
}

// maxPage is the largest page of either architecture. The places of a segment in the file and in memory are
// congruent to it.
const maxPage = 0x10000

// headers returns the ELF header and the program headers: what is low, if anything, one executable segment, one
// for data, and a stack that is not executable (elf(5)).
func headers(arch kernel.Arch, textSize, dataSize, lowOffset, lowSize int) []byte {
	machine := elf.EM_X86_64
	if arch == kernel.ARM64 {
		machine = elf.EM_AARCH64
	}
	var b bytes.Buffer
	put := func(v any) {
		// Writing fixed-size values to memory cannot fail.
		_ = binary.Write(&b, binary.LittleEndian, v)
	}
	put(elf.Header64{
		Ident:   [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:    uint16(elf.ET_EXEC),
		Machine: uint16(machine),
		Version: uint32(elf.EV_CURRENT),
		Entry:   textAddr + codeOffset,
		Phoff:   ehdrSize, Ehsize: ehdrSize, Phentsize: phdrSize, Phnum: phdrs,
	})
	low := elf.Prog64{Type: uint32(elf.PT_NULL)}
	if lowSize > 0 {
		low = elf.Prog64{
			Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R), Off: uint64(lowOffset), Vaddr: lowAddr, Paddr: lowAddr,
			Filesz: uint64(lowSize), Memsz: uint64(lowSize), Align: maxPage,
		}
	}
	put(low)
	put(elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: textAddr, Paddr: textAddr,
		Filesz: uint64(textSize), Memsz: uint64(textSize), Align: maxPage,
	})
	put(elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_W), Off: dataOffset, Vaddr: dataAddr, Paddr: dataAddr,
		Filesz: uint64(dataSize), Memsz: uint64(dataSize), Align: maxPage,
	})
	put(elf.Prog64{Type: uint32(elf.PT_GNU_STACK), Flags: uint32(elf.PF_R | elf.PF_W), Align: 16})
	return b.Bytes()
}

// errNoInterpreter is for architectures without a stub.
var errNoInterpreter = errors.New("image: this architecture has no interpreter")

// maxCode bounds the search for the end of a piece of code.
const maxCode = 1024

// endMark stands behind each piece of code: the bytes that the assembly files write as instructions
// that nothing reaches.
const endMark = "ringfence-code-e"

// code returns the machine code of the interpreter for arch, and the offset of the signal handler in it.
func code(arch kernel.Arch) (text []byte, handler int, err error) {
	if string(arch) != stubArch {
		return nil, 0, fmt.Errorf("%w: %s (this program runs on %s)", errNoInterpreter, arch, stubArch)
	}
	interpreter, err := untilMark(interpreterText())
	if err != nil {
		return nil, 0, err
	}
	handlerCode, err := untilMark(handlerText())
	if err != nil {
		return nil, 0, err
	}
	return append(bytes.Clone(interpreter), handlerCode...), len(interpreter), nil
}

func untilMark(b []byte) ([]byte, error) {
	i := bytes.Index(b, []byte(endMark))
	if i < 0 {
		return nil, errors.New("image: the interpreter's end is missing; this is our bug")
	}
	return b[:i], nil
}
