package kernel

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// String prints the argument as strace(1) does.
func (a Arg) String() string {
	switch {
	case a.Text != "":
		return a.Text
	case a.Show != nil:
		return a.Show(a)
	}
	return strconv.FormatInt(a.Value, 10)
}

func num(v int64) Arg { return Arg{Value: v} }

// named is a number that strace prints by name.
func named(v int64, text string) Arg { return Arg{Value: v, Text: text} }

func octal(v uint32) Arg { return Arg{Value: int64(v), Show: showOctal} }

func showOctal(a Arg) string { return fmt.Sprintf("%#o", a.Value) }

// null is a pointer to nothing.
func null() Arg { return Arg{Text: "NULL"} }

func dir(fd int) Arg {
	if fd == unix.AT_FDCWD {
		return named(unix.AT_FDCWD, "AT_FDCWD")
	}
	return num(int64(fd))
}

// text is a NUL-terminated string.
func text(s string) Arg { return Arg{Mem: cstring(s), Show: showString} }

// empty is the empty string. Nobody writes to it: programs get copies.
var empty = Zeroed(1)

func cstring(s string) *Memory {
	if s == "" {
		return empty
	}
	return &Memory{Text: s}
}

// quoteMax is how much of a string is printed, as strace -s does.
const quoteMax = 64

func showString(a Arg) string { return quote(a.Mem.string()) }

func (m *Memory) string() string {
	if m.Text != "" {
		return m.Text
	}
	return strings.TrimSuffix(string(m.Bytes), "\x00")
}

func quote(s string) string {
	if len(s) > quoteMax {
		return strconv.Quote(s[:quoteMax]) + "..."
	}
	return strconv.Quote(s)
}

// vector is a NULL-terminated array of pointers to strings: argv and envp.
func vector(list []string) *Memory {
	m := Zeroed(8 * (len(list) + 1))
	m.Refs = make([]Ref, len(list))
	for i, s := range list {
		m.Refs[i] = Ref{Offset: 8 * i, To: cstring(s)}
	}
	return m
}

func showVector(a Arg) string {
	shown := make([]string, len(a.Mem.Refs))
	for i, ref := range a.Mem.Refs {
		shown[i] = quote(ref.To.string())
	}
	return "[" + strings.Join(shown, ", ") + "]"
}

// showEnv leaves the values out: they may be secrets.
func showEnv(a Arg) string {
	shown := make([]string, len(a.Mem.Refs))
	for i, ref := range a.Mem.Refs {
		key, _, _ := strings.Cut(ref.To.string(), "=")
		shown[i] = quote(key + "=…")
	}
	return "[" + strings.Join(shown, ", ") + "]"
}

// flag is one bit, or several, with its name.
type flag struct {
	value uint64
	name  string
}

// flags names the bits of v, in the order of the table; what is left over is printed in hex.
func flags(v uint64, table []flag) string {
	var names []string
	for _, f := range table {
		if f.value != 0 && v&f.value == f.value {
			names = append(names, f.name)
			v &^= f.value
		}
	}
	if v != 0 {
		names = append(names, fmt.Sprintf("%#x", v))
	}
	if len(names) == 0 {
		return "0"
	}
	return strings.Join(names, "|")
}

func (m *Memory) uint64(at int) uint64 { return binary.LittleEndian.Uint64(m.Bytes[at:]) }
func (m *Memory) uint32(at int) uint32 { return binary.LittleEndian.Uint32(m.Bytes[at:]) }

func (m *Memory) put64(at int, v uint64) { binary.LittleEndian.PutUint64(m.Bytes[at:], v) }
func (m *Memory) put32(at int, v uint32) { binary.LittleEndian.PutUint32(m.Bytes[at:], v) }
