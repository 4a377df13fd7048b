package sandboxtest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// outcome is how the pass without privilege ended.
type outcome struct {
	code    int
	testlog []byte // what package testing noted for the go command; nil if nothing
}

// userPass runs the tests as the unprivileged user.
func userPass() outcome {
	var failed []error
	// A directory that the user cannot reach, or that is mounted noexec or read-only, is of no use.
	for _, dir := range []string{os.TempDir(), "/var/tmp", "/dev/shm", "/run"} {
		o, err := userPassIn(dir)
		if err == nil {
			return o
		}
		failed = append(failed, err)
	}
	fmt.Fprintf(os.Stderr, "sandboxtest: run the tests as user %d: %v\n", UID, errors.Join(failed...))
	return outcome{code: 2}
}

// userPassIn keeps its files below dir. An error means that no test has run.
func userPassIn(dir string) (outcome, error) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return outcome{}, err
	}
	if err := searchable(dir); err != nil {
		return outcome{}, err
	}
	work, err := os.MkdirTemp(dir, "sandboxtest-")
	if err != nil {
		return outcome{}, err
	}
	defer os.RemoveAll(work)
	home, tmp, testlog := work+"/home", work+"/tmp", work+"/tmp/testlog.txt"
	binary := filepath.Join(work, filepath.Base(os.Args[0]))
	if err := errors.Join(prepare(work, home, tmp, binary), writeAccount(work)); err != nil {
		return outcome{}, err
	}

	cmd := exec.Command(binary, userArgs(os.Args[1:], isBoolFlag, testlog)...)
	cmd.Env = append(userEnv(os.Environ(), home, tmp), stageEnv+"="+stageDrop+strconv.Itoa(os.Getpid()))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// The signal comes when the thread that started the child ends (go.dev/issue/27505): this one
	// must stay. becomeUser asks for the signal again, since a change of IDs clears it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return outcome{}, err
	}
	stop := passOnSignals(cmd.Process)
	err = cmd.Wait()
	stop()
	o := outcome{code: exitCode(err)}
	o.testlog, _ = os.ReadFile(testlog) // absent if the tests were killed, or if nobody asked for it
	return o, nil
}

func exitCode(err error) int {
	if err == nil {
		return 0
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return exit.ExitCode()
	}
	fmt.Fprintf(os.Stderr, "sandboxtest: the tests of user %d: %v\n", UID, err)
	return 2
}

// searchable returns nil if every user may look up names in dir and in all directories above it.
func searchable(dir string) error {
	for ; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o001 == 0 {
			return &os.PathError{Op: "search", Path: dir, Err: fs.ErrPermission}
		}
		if dir == "/" {
			return nil
		}
	}
}

// prepare makes the directories of the user and copies this program to binary: the go command keeps
// it in a directory of mode 0700.
func prepare(work, home, tmp, binary string) error {
	if err := os.Chmod(work, 0o755); err != nil {
		return err
	}
	for _, dir := range []string{home, tmp} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		if err := os.Chown(dir, UID, GID); err != nil {
			return err
		}
	}
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(binary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Chmod(0o755), to.Close()) // whatever the umask is
}

// passOnSignals hands the signals that would end this process to p, so that what the tests print
// about them (SIGQUIT: all stacks) is printed, and this process lives to remove its files.
func passOnSignals(p *os.Process) (stop func()) {
	signals := make(chan os.Signal, 8)
	done := make(chan struct{})
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP)
	go func() {
		defer close(done)
		for s := range signals {
			_ = p.Signal(s) // it may have ended
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-done
	}
}

// becomeUser gives up every privilege of this process and starts its program anew. It returns only if
// that fails.
//
// The program does it itself, before any test runs, rather than by SysProcAttr.Credential: the child
// that changes its IDs on behalf of os/exec shares the parent's memory, which makes the kernel mark the
// parent as not dumpable (commit_creds), and its /proc/self belongs to root from then on. The change
// marks this process too; execve(2) of a file that the user may read takes the mark away.
func becomeUser(parent int) error {
	// The signal below belongs to a thread, and the thread that calls execve keeps it.
	runtime.LockOSThread()
	giveAccount(filepath.Dir(os.Args[0]))
	if err := syscall.Setgroups(nil); err != nil {
		return fmt.Errorf("setgroups: %w", err)
	}
	if err := syscall.Setresgid(GID, GID, GID); err != nil {
		return fmt.Errorf("setresgid: %w", err)
	}
	if err := syscall.Setresuid(UID, UID, UID); err != nil {
		return fmt.Errorf("setresuid: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("prctl: %w", err)
	}
	if os.Getppid() != parent {
		return errors.New("the parent has ended")
	}
	if err := os.Unsetenv(stageEnv); err != nil {
		return err
	}
	return fmt.Errorf("execve: %w", syscall.Exec(os.Args[0], os.Args, os.Environ()))
}
