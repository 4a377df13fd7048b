package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

const (
	helpTop = `Usage: run [options] [--] command [args]

Runs a command in a sandbox of its own and exits as the command did. Without
options the command sees the host's /usr, read-only, a small /etc, /dev and /proc,
an empty /tmp and home, and no network but its own loopback.
`
	helpBottom = `
A path DST is one inside the sandbox. Of two arguments, --bind SRC DST can be written
--bind=SRC:DST; of one, --dir DIR can be written --dir=DIR. Mounts are made in the
order of their options. SIZE is in bytes, or with k, M, G or T in powers of 1024; TIME
is in seconds, or as 1.5s, 2m, 300ms; a limit may be "unlimited".

Without --output-max the command has the very files that run has for standard input,
output and error, and what it writes to them is not counted.

Exit codes:
  that of the command
  124    a limit ended it
  125    run failed: it says why, and nothing was started unless it says so
  126    the command cannot be executed, or its interpreter is not there
  127    the command is not in the sandbox
  128+N  signal N ended it, or made run end it (SIGINT, SIGTERM)
A command may exit with such a code itself; --json tells which it was.
With --doctor 0 says that commands without options can be run here, and 125 that not.
`
)

// help returns the text of --help.
func help() string {
	var b strings.Builder
	b.WriteString(helpTop)
	for _, s := range sections() {
		fmt.Fprintf(&b, "\n%s:\n", s.title)
		for _, opt := range s.options {
			sep := " "
			if opt.arg == "" || opt.arg[0] == '[' {
				sep = ""
			}
			usage := "--" + opt.name + sep + opt.arg
			if len(usage) > 22 {
				fmt.Fprintf(&b, "  %s\n", usage)
				usage = ""
			}
			fmt.Fprintf(&b, "  %-22s %s\n", usage, opt.help)
		}
	}
	b.WriteString(helpBottom)
	return b.String()
}

// version returns the version of the module as it was built in, and what it was built for.
func version() string {
	v := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		v = info.Main.Version
	}
	return fmt.Sprintf("run %s %s %s/%s", v, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
