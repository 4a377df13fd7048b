package sandbox

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// Some facts need a caller of a certain kind: this binary is started again as one.

const callerEnv = "RINGFENCE_TEST_CALLER"

// callers are what a caller does: it runs sandboxes and prints what came of it.
var callers = map[string]func() error{
	"terminal": callTerminal,
	"pty":      callPTY,
	"setuid":   callSetuid,
}

// callerMain is the main function of a caller; it returns in every other process.
func callerMain() {
	call, ok := callers[os.Getenv(callerEnv)]
	if !ok {
		return
	}
	if err := call(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// caller returns a command that is a caller of that kind.
func caller(t testing.TB, kind string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), callerEnv+"="+kind)
	return cmd
}
