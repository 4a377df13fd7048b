//go:build linux

package main

// terminals are mutants of what keeps a command away from terminals of others.
var terminals = []mutant{
	{
		without: "the filter of ioctl",
		test:    "sandbox.TestPayloadCannotTypeIntoATerminal", says: `TIOCLINUX: .*want EPERM`,
		edits: []edit{{"seccomp/default.go", "[]uint64{tiocsti, tioclinux, tioccons, tiocsetd}", "[]uint64{tiocsti, tioccons, tiocsetd}"}},
	},
	{
		without: "the low half alone being looked at",
		test:    "sandbox.TestPayloadCannotTypeIntoATerminal", says: `TIOCLINUX\+2\^32: .*want EPERM`,
		edits: []edit{{"seccomp/default.go", "Value: request, Mask: Low32", "Value: request, Mask: ^uint64(0)"}},
	},
	{
		without: "a session of its own, of the set-up's or the command's",
		test:    "sandbox.TestCommandHasNoControllingTerminal", says: `want ok and ENXIO`,
		edits: []edit{
			{"internal/launch/start_linux.go", "Sys: &syscall.SysProcAttr{Setsid: true, ", "Sys: &syscall.SysProcAttr{"},
			{"sandbox/compile_exec.go", `b.Call("start a session", kernel.Setsid())`, `b.Call("start no session", kernel.Umask(0))`},
			{"sandbox/compile_exec.go", "op.Returns(commandPID)", "_ = commandPID; op.ReturnsAny()"},
		},
	},
	{
		without: "a terminal on every stream",
		test:    "sandbox.TestTerminalIsTheSandboxesOwn", says: `fd/2: .*want /dev/pts/0`,
		edits: []edit{{"sandbox/compile_terminal.go", "for fd := range stdio {", "for fd := range stdio - 1 {"}},
	},
	{
		without: "the descriptor of the sandbox's devpts",
		test:    "sandbox.TestTerminalIsOfNoOtherDevpts", says: `open a terminal`,
		edits: []edit{{"sandbox/compile_terminal.go", `kernel.Openat2(c.pts, "ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_XDEV)`,
			`kernel.Openat2(unix.AT_FDCWD, "/dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)`}},
	},
	{
		without: "TIOCSCTTY",
		test:    "sandbox.TestTerminalControlsTheSession", says: `2 2 0 -1`,
		edits: []edit{{"sandbox/compile_terminal.go", `b.Call("let the terminal control the session", kernel.ControlTerminal(0))`, ""}},
	},
	{
		without: "PID 1 closing the caller's end",
		test:    "sandbox.TestCallersEndOfTheTerminalIsNowhereInside", says: `want the hang-up|test timed out`,
		edits: []edit{{"sandbox/compile_terminal.go", `b.Call("leave the terminal to the caller", kernel.Close(c.master))`, ""}},
	},
	{
		without: "the filter of ioctl",
		test:    "sandbox.TestPayloadCannotReachTheCallersTerminalFromItsOwn", says: `TIOCSETD: .*want EPERM`,
		edits: []edit{{"seccomp/default.go", "[]uint64{tiocsti, tioclinux, tioccons, tiocsetd}", "[]uint64{tiocsti, tioclinux, tioccons}"}},
	},
	{
		without: "giving it to the user",
		test:    "sandbox.TestRootTerminalBelongsToTheUser", says: `20600|EACCES`,
		edits: []edit{{"sandbox/compile_terminal.go", `b.Call("open a terminal: give it to the command's user", kernel.Fchown(peer, c.ids.uid, c.ids.gid))`, ""}},
	},
}
