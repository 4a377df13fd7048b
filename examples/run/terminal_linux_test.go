package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// terminal is one at which somebody sits who runs a command.
type terminal struct {
	t         *testing.T
	fd        int // of ptmx, whose Fd would make it block
	ptmx, pts *os.File
	cmd       *exec.Cmd
	seen      bytes.Buffer // and not expected yet
	untouched *unix.Termios
}

// sit starts run at a new terminal of 30 lines of 90 characters.
func sit(t *testing.T, args ...string) *terminal {
	t.Helper()
	sandboxtest.Need(t, sandboxtest.UserNamespaces())
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	ptmx := os.NewFile(uintptr(fd), "/dev/ptmx")
	t.Cleanup(func() { ptmx.Close() })
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err := errors.Join(err, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)); err != nil {
		t.Fatal(err)
	}
	pts, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pts.Close() })
	s := &terminal{t: t, fd: fd, ptmx: ptmx, pts: pts}
	s.resize(30, 90)
	s.untouched = s.state()
	s.cmd = exec.CommandContext(t.Context(), filepath.Join(linkToSelf(t), "run"), append([]string{"--timeout", "30"}, args...)...)
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = pts, pts, pts
	s.cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "TERM=vt100")
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	// As at a terminal, where nothing is ignored: where the tests are started with SIGHUP ignored, as by nohup, run
	// would be too. What is caught is reset by execve(2), and what is ignored is not.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGHUP)
	defer signal.Stop(caught)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *terminal) resize(rows, cols uint16) {
	s.t.Helper()
	if err := unix.IoctlSetWinsize(s.fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *terminal) state() *unix.Termios {
	s.t.Helper()
	state, err := unix.IoctlGetTermios(int(s.pts.Fd()), unix.TCGETS)
	if err != nil {
		s.t.Fatal(err)
	}
	return state
}

func (s *terminal) enter(keys string) {
	s.t.Helper()
	if _, err := io.WriteString(s.ptmx, keys); err != nil {
		s.t.Fatal(err)
	}
}

// expect reads up to a text, and returns what came before it.
func (s *terminal) expect(text string) string {
	s.t.Helper()
	// What does not come is shown at some time: run may have ended, and this end of the terminal is open still.
	if err := s.ptmx.SetReadDeadline(time.Now().Add(sandboxtest.Slow(20 * time.Second))); err != nil {
		s.t.Fatal(err)
	}
	buf := make([]byte, 4096)
	for {
		if before, after, ok := strings.Cut(s.seen.String(), text); ok {
			s.seen.Reset()
			s.seen.WriteString(after)
			return before
		}
		n, err := s.ptmx.Read(buf)
		s.seen.Write(buf[:n])
		if err != nil {
			s.t.Fatalf("%v, and %q is not in %q", err, text, s.seen.String())
		}
	}
}

// leave waits for run's end. The terminal must be as it was.
func (s *terminal) leave(code int) {
	s.t.Helper()
	_ = s.cmd.Wait() // the exit code says it
	if got := s.cmd.ProcessState.ExitCode(); got != code {
		s.t.Errorf("%v, want exit code %d: %q", s.cmd.ProcessState, code, s.seen.String())
	}
	if now := s.state(); !reflect.DeepEqual(now, s.untouched) {
		s.t.Errorf("the terminal is left as %+v, it was %+v", now, s.untouched)
	}
}

func (s *terminal) isRaw() bool {
	s.t.Helper()
	return s.state().Lflag&(unix.ICANON|unix.ECHO|unix.ISIG) == 0
}

func TestInteractiveShell(t *testing.T) {
	t.Parallel()
	sandboxtest.Need(t, inside("dash")) // a shell that greets nobody and leaves the echo to its terminal
	s := sit(t, "-it", "--env", "PS1=<prompt>", "dash", "-i")
	if greeting := s.expect("<prompt>"); greeting != "" {
		t.Errorf("before the first prompt: %q", greeting)
	}
	if !s.isRaw() {
		t.Error("this side of the terminal is not raw")
	}
	ask := func(command, want string) {
		t.Helper()
		s.enter(command + "\r")
		s.expect(command + "\r\n") // the echo is the command's terminal's
		if got := s.expect("<prompt>"); got != want {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
	}
	ask("tty", "/dev/pts/0\r\n")
	ask("stty size", "30 90\r\n")
	ask("echo $TERM", "vt100\r\n")
	s.resize(20, 60)
	ask("until [ \"$(stty size)\" = '20 60' ]; do :; done; echo seen", "seen\r\n")
	s.enter("echo re''ady; cat\r")
	s.expect("ready\r\n")
	s.enter("text\r")
	s.expect("text\r\ntext\r\n")
	s.enter("\x03") // Control-C is the command's
	s.expect("<prompt>")
	ask("echo $?", "130\r\n")
	ask("echo beside >&2", "beside\r\n")
	s.enter("exit 7\r")
	s.leave(7)
}

// Whatever ends run, but for SIGKILL, the terminal is what it was.
func TestTerminalIsRestored(t *testing.T) {
	t.Parallel()
	for sig, code := range map[syscall.Signal]int{syscall.SIGTERM: 143, syscall.SIGINT: 130, syscall.SIGHUP: 129, syscall.SIGQUIT: 131} {
		s := sit(t, "-it", "sh", "-c", "echo ready; exec sleep 1000")
		s.expect("ready\r\n")
		if !s.isRaw() {
			t.Error("it is not raw")
		}
		if err := s.cmd.Process.Signal(syscall.SIGTSTP); err != nil { // does not stop it, raw as the terminal is
			t.Error(err)
		}
		if err := s.cmd.Process.Signal(sig); err != nil {
			t.Error(err)
		}
		s.leave(code)
	}
	for _, args := range [][]string{{"-it", "nonsense"}, {"-it", "--cpus", "1", "--cgroup", "/nonsense", "true"}, {"-it", "--learn", "/dev/null", "true"}, {"-t", "true"}, {"true"}} {
		s := sit(t, args...)
		_ = s.cmd.Wait() // for nothing but the terminal
		s.leave(s.cmd.ProcessState.ExitCode())
	}
	s := sit(t, "-it", "--timeout", "0.2", "sh", "-c", "stty raw; sleep 1000")
	s.leave(exitLimit)
}

// Without -i what is typed is not the command's, and this side stays as it is: Control-C ends run.
func TestTerminalThatIsNotTypedAt(t *testing.T) {
	t.Parallel()
	s := sit(t, "-t", "sh", "-c", "tty; cat; echo end; exec sleep 1000")
	s.expect("/dev/pts/0\r\r\n")
	s.expect("end\r\r\n") // cat has had the end of its input
	if s.isRaw() {
		t.Error("it is raw")
	}
	s.enter("\x03")
	s.leave(130)
}

func TestTerminalOfTheCallerIsNotTheCommands(t *testing.T) {
	t.Parallel()
	s := sit(t, "-it", "sh", "-c", "echo /dev/pts/*; readlink /proc/self/fd/0; exec stty -F /dev/tty raw -echo")
	s.expect("/dev/pts/0 /dev/pts/ptmx\r\n/dev/pts/0\r\n")
	s.leave(0)
	outer, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", s.pts.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	// Without -t the caller's is handed over, and shows: this is the control.
	s = sit(t, "readlink", "/proc/self/fd/0")
	if got := s.expect("\r\n"); got != outer && !strings.Contains(got, "pts") {
		t.Errorf("%q", got)
	}
	s.leave(0)
}
