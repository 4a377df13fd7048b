package kernel

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// The calls that make a pseudo terminal (pty(7), ioctl_tty(2)). Its master is what the terminal is seen and
// typed at through, its peer what programs have.

// UnlockTerminal lets the peer of a master be opened.
func UnlockTerminal(master int) Call {
	return Call{Name: "ioctl", Args: []Arg{num(int64(master)), named(unix.TIOCSPTLCK, "TIOCSPTLCK"), {Mem: Zeroed(4), Text: "[0]"}}}
}

// SizeofWinsize is the size of struct winsize: rows, columns, and both in pixels.
const SizeofWinsize = 8

// SetTerminalSize sets how many characters the terminal shows.
func SetTerminalSize(master int, rows, cols uint16) Call {
	size := Zeroed(SizeofWinsize)
	binary.LittleEndian.PutUint16(size.Bytes, rows)
	binary.LittleEndian.PutUint16(size.Bytes[2:], cols)
	return Call{Name: "ioctl", Args: []Arg{num(int64(master)), named(unix.TIOCSWINSZ, "TIOCSWINSZ"), {Mem: size, Show: showWinsize}}}
}

func showWinsize(a Arg) string {
	return fmt.Sprintf("{ws_row=%d, ws_col=%d}", binary.LittleEndian.Uint16(a.Mem.Bytes), binary.LittleEndian.Uint16(a.Mem.Bytes[2:]))
}

// TerminalPeer opens the peer of a master, without a path.
func TerminalPeer(master int) Call {
	return Call{Name: "ioctl", Args: []Arg{num(int64(master)), named(unix.TIOCGPTPEER, "TIOCGPTPEER"),
		named(unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, "O_RDWR|O_NOCTTY|O_CLOEXEC")}}
}

// ControlTerminal makes a terminal the controlling one of the caller's session.
func ControlTerminal(fd int) Call {
	return Call{Name: "ioctl", Args: []Arg{num(int64(fd)), named(unix.TIOCSCTTY, "TIOCSCTTY"), num(0)}}
}

// Fchown changes the owner of an open file.
func Fchown(fd, uid, gid int) Call {
	return Call{Name: "fchown", Args: []Arg{num(int64(fd)), num(int64(uid)), num(int64(gid))}}
}

// Dup makes a descriptor a copy of another one, which stays open when a program is executed.
func Dup(from, to int) Call {
	return Call{Name: "dup3", Args: []Arg{num(int64(from)), num(int64(to)), num(0)}}
}

// DupCloseOnExec is Dup of what is closed when a program is executed.
func DupCloseOnExec(from, to int) Call {
	c := Dup(from, to)
	c.Args[2] = named(unix.O_CLOEXEC, "O_CLOEXEC")
	return c
}
