//go:build linux

package plan

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// labelWidth is the column at which calls begin; longer labels push theirs to the right.
const labelWidth = 44

// String prints the program as strace(1) would: one op a line, with its label.
func (p *Program) String() string {
	var b strings.Builder
	var process Process
	for i := range p.Ops {
		op := p.Ops[i]
		if op.Process != process {
			process = op.Process
			fmt.Fprintf(&b, "%s:\n", process)
		}
		label := printable(op.Label)
		pad := max(0, labelWidth-utf8.RuneCountInString(label))
		fmt.Fprintf(&b, "%4d  %s%s  %s\n", i, label, strings.Repeat(" ", pad), op)
	}
	return b.String()
}

// printable escapes what would let a label look like another step: labels hold paths of the Spec.
func printable(label string) string {
	if strings.IndexFunc(label, func(r rune) bool { return !strconv.IsPrint(r) }) < 0 {
		return label
	}
	quoted := strconv.Quote(label)
	return quoted[1 : len(quoted)-1]
}

// String prints the call and the result that it must have.
func (op *Op) String() string {
	var b strings.Builder
	b.WriteString(op.Syscall())
	switch {
	case op.Keep != nil:
		b.WriteString(" = ? (kept)")
	case op.Kind == Fork:
		fmt.Fprintf(&b, " = pid, and %d in the child", op.Child)
	case op.Kind == Until:
		fmt.Fprintf(&b, " = %d, repeated until then", op.Want)
	case op.Call.Name == "execve" || op.Call.Name == "exit_group":
		b.WriteString(" = ?")
	case op.Any:
		b.WriteString(" >= 0")
	case op.Want < 0:
		fmt.Fprintf(&b, " = -1 %s", unix.ErrnoName(unix.Errno(-op.Want)))
	case op.Retry:
		fmt.Fprintf(&b, " = %d, again at EAGAIN or EINTR", op.Want)
	default:
		fmt.Fprintf(&b, " = %d", op.Want)
	}
	for _, errno := range op.Tolerate {
		fmt.Fprintf(&b, " or %s", unix.ErrnoName(errno))
	}
	if op.Reason != "" {
		fmt.Fprintf(&b, " (%s)", op.Reason)
	}
	return b.String()
}

// Syscall prints the call alone.
func (op *Op) Syscall() string {
	args := make([]string, len(op.Call.Args))
	for i, a := range op.Call.Args {
		args[i] = a.String()
	}
	return op.Call.Name + "(" + strings.Join(args, ", ") + ")"
}
