package kernel

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func num(v int64) Arg { return Arg{Value: v, Text: strconv.FormatInt(v, 10)} }

// named is a number that strace prints by name.
func named(v int64, text string) Arg { return Arg{Value: v, Text: text} }

func octal(v uint32) Arg { return Arg{Value: int64(v), Text: fmt.Sprintf("%#o", v)} }

// null is a pointer to nothing.
func null() Arg { return Arg{Text: "NULL"} }

func dir(fd int) Arg {
	if fd == unix.AT_FDCWD {
		return named(unix.AT_FDCWD, "AT_FDCWD")
	}
	return num(int64(fd))
}

// text is a NUL-terminated string.
func text(s string) Arg { return Arg{Mem: cstring(s), Text: quote(s)} }

// point is a pointer to memory, printed as shown.
func point(m *Memory, shown string) Arg { return Arg{Mem: m, Text: shown} }

// within is a pointer to a place in memory.
func within(m *Memory, offset int, shown string) Arg { return Arg{Mem: m, Offset: offset, Text: shown} }

func cstring(s string) *Memory { return &Memory{Bytes: append([]byte(s), 0)} }

// quoteMax is how much of a string is printed, as strace -s does.
const quoteMax = 64

func quote(s string) string {
	if len(s) > quoteMax {
		return strconv.Quote(s[:quoteMax]) + "..."
	}
	return strconv.Quote(s)
}

// vector is a NULL-terminated array of pointers to strings: argv and envp.
func vector(list []string) *Memory {
	m := Zeroed(8 * (len(list) + 1))
	for i, s := range list {
		m.Refs = append(m.Refs, Ref{Offset: 8 * i, To: cstring(s)})
	}
	return m
}

// flag is one bit, or several, with its name.
type flag struct {
	value int64
	name  string
}

// flags names the bits of v, in the order of the table; what is left over is printed in hex.
func flags(v int64, table []flag) Arg {
	var names []string
	rest := v
	for _, f := range table {
		if f.value != 0 && rest&f.value == f.value {
			names = append(names, f.name)
			rest &^= f.value
		}
	}
	if rest != 0 || len(names) == 0 {
		if rest == 0 {
			return num(0)
		}
		names = append(names, fmt.Sprintf("%#x", rest))
	}
	return named(v, strings.Join(names, "|"))
}
