package seccomp

import (
	"encoding/binary"
	"fmt"
)

// instructionSize is sizeof(struct sock_filter).
const instructionSize = 8

// Raw returns the filter as the array of struct sock_filter that seccomp(2) takes, in little endian,
// the byte order of every architecture that has a table here. bwrap --seccomp reads the same form.
func (f *Filter) Raw() []byte {
	raw := make([]byte, 0, len(f.insns)*instructionSize)
	for _, in := range f.insns {
		raw = binary.LittleEndian.AppendUint16(raw, in.Code)
		raw = append(raw, in.JT, in.JF)
		raw = binary.LittleEndian.AppendUint32(raw, in.K)
	}
	return raw
}

// ReadRaw reads a filter in the form of [Filter.Raw], such as libseccomp exports it
// (seccomp_export_bpf(3)). The error is a [*FilterError] if the kernel would refuse it.
func ReadRaw(raw []byte) (*Filter, error) {
	if len(raw)%instructionSize != 0 {
		return nil, &FilterError{Index: -1, Reason: fmt.Sprintf("%d bytes: want a multiple of %d", len(raw), instructionSize)}
	}
	if len(raw) > MaxInstructions*instructionSize {
		return nil, &FilterError{Index: -1, Reason: fmt.Sprintf("%d instructions: want 1 to %d", len(raw)/instructionSize, MaxInstructions)}
	}
	var insns []Instruction
	for i := 0; i < len(raw); i += instructionSize {
		insns = append(insns, Instruction{
			Code: binary.LittleEndian.Uint16(raw[i:]),
			JT:   raw[i+2],
			JF:   raw[i+3],
			K:    binary.LittleEndian.Uint32(raw[i+4:]),
		})
	}
	return NewFilter(insns)
}
