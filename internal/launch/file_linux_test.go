package launch

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// program returns the bytes of a program that exits with code 0.
func program(t *testing.T) []byte {
	t.Helper()
	sandboxtest.Need(t, sandboxtest.Program("true"))
	path, err := exec.LookPath("true")
	if err != nil {
		t.Fatal(err)
	}
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func runs(t *testing.T, f *os.File, files []*os.File) {
	t.Helper()
	p, err := (&start{}).start(f, files)
	if err != nil {
		t.Fatal(err)
	}
	state, err := p.Wait()
	if err != nil || state.ExitCode() != 0 {
		t.Errorf("%v, %v", state, err)
	}
}

func TestMemfdCannotBeChangedAndCanBeExecuted(t *testing.T) {
	image := program(t)
	f, err := memfd(image)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{1}, 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("write: %v, want EPERM", err)
	}
	for _, size := range []int64{0, int64(len(image)) + 1} {
		if err := f.Truncate(size); !errors.Is(err, unix.EPERM) {
			t.Errorf("truncate to %d: %v, want EPERM", size, err)
		}
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("another seal: %v, want EPERM", err)
	}
	if _, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_WRITE, unix.MAP_SHARED); !errors.Is(err, unix.EPERM) {
		t.Errorf("map for writing: %v, want EPERM", err)
	}
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags %#x, %v: not closed on exec", flags, err)
	}
	runs(t, f, nil)
}

func TestPrivateFileHasNoNameAndCanBeExecuted(t *testing.T) {
	dir := t.TempDir()
	f, err := privateFile(dir, program(t))
	if err != nil {
		t.Fatal(err)
	}
	if names, _ := os.ReadDir(dir); len(names) > 0 {
		t.Errorf("%s has a name", names[0].Name())
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Nlink != 0 || st.Mode&0o777 != 0o500 {
		t.Errorf("%d links, mode %o, %v", st.Nlink, st.Mode, err)
	}
	if _, err := f.Write([]byte{1}); err == nil {
		t.Error("it can be written to")
	}
	runs(t, f, nil)
}

func TestPrivateFileNeedsADirectory(t *testing.T) {
	if _, err := privateFile(filepath.Join(t.TempDir(), "missing"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// A start of another program at the same time must not find the file busy.
func TestPrivateFileIsNeverBusy(t *testing.T) {
	image, dir := program(t), t.TempDir()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_ = exec.Command("true").Run() // only its forks matter
			}
		}
	}()
	for range 50 {
		f, err := privateFile(dir, image)
		if err != nil {
			t.Fatal(err)
		}
		runs(t, f, nil)
	}
	close(stop)
	<-done
}

func TestRefusedImageSaysSo(t *testing.T) {
	f, err := memfd([]byte("not a program"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (&start{}).start(f, nil); !errors.Is(err, unix.ENOEXEC) || refused(err) {
		t.Errorf("%v, want ENOEXEC, which no other file would help", err)
	}
	for err, want := range map[error]bool{unix.EACCES: true, unix.EPERM: true, unix.ENOENT: false, unix.ETXTBSY: false} {
		if refused(fmt.Errorf("wrapped: %w", err)) != want {
			t.Errorf("refused(%v) is not %v", err, want)
		}
	}
}

// The files of a program may have any numbers in the caller, also that of the image.
func TestDescriptorsKeepTheirOrderWhateverTheirNumbers(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.Program("sh"))
	image := program(t)
	dir := t.TempDir()
	open := func(name string, at int) *os.File {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, at)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		f = os.NewFile(uintptr(fd), path)
		t.Cleanup(func() { f.Close() })
		return f
	}
	for _, numbers := range [][]int{{200, 3, 101, 50}, {60, 59, 58, 57}, {9, 10, 11, 12, 13, 14, 15}} {
		var files []*os.File
		for i, at := range numbers {
			files = append(files, open(fmt.Sprint("file", i), at))
		}
		f, err := memfd(image)
		if err != nil {
			t.Fatal(err)
		}
		moved, err := moveAbove(f, files)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if moved.Fd() <= file.Fd()+uintptr(len(files)) {
				t.Errorf("the image has number %d, a file %d of %d", moved.Fd(), file.Fd(), len(files))
			}
		}
		p, err := os.StartProcess("/bin/sh", []string{"sh", "-c", `exec 9>` + dir + `/out; for i in 0 1 2 3; do eval "read x <&$i"; echo $x >&9; done`}, &os.ProcAttr{Files: files, Env: []string{}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Wait(); err != nil {
			t.Error(err)
		}
		runs(t, moved, files)
		if out, err := os.ReadFile(dir + "/out"); err != nil || string(out) != "file0\nfile1\nfile2\nfile3\n" {
			t.Errorf("%v: %q, %v", numbers, out, err)
		}
	}
}

func TestStartLeavesNothingWhenTheImageIsBad(t *testing.T) {
	for _, image := range [][]byte{nil, []byte("garbage"), bytes.Repeat([]byte{0x7f, 'E', 'L', 'F'}, 100)} {
		p, err := Start(t.Context(), Config{Image: image, Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}, Scratch: t.TempDir()})
		if p != nil || err == nil {
			t.Errorf("%.10q: %v, %v", image, p, err)
		}
	}
}

// A program that says nothing and ends is no start.
func TestEndWithoutAReportIsNoStart(t *testing.T) {
	p, err := Start(t.Context(), Config{Image: program(t), Files: []*os.File{nil, nil, nil}, Scratch: t.TempDir()})
	var died *DiedError
	if p != nil || !errors.As(err, &died) || !strings.Contains(err.Error(), "without a report") {
		t.Errorf("%v, %v, want a DiedError", p, err)
	}
}

func TestWaitStatusIsThatOfWait4(t *testing.T) {
	for _, text := range []string{"exit 0", "exit 1", "exit 255", "kill -KILL $$", "kill -TERM $$", "ulimit -c 0; kill -SEGV $$"} {
		start := func() int {
			cmd := exec.Command("sh", "-c", text)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			pid := cmd.Process.Pid
			_ = cmd.Process.Release() // waited for below
			return pid
		}
		var want unix.WaitStatus
		if _, err := unix.Wait4(start(), &want, 0, nil); err != nil {
			t.Fatal(err)
		}
		got, err := waitFor(unix.P_PID, start(), nil)
		if err != nil || got != want {
			t.Errorf("%s: %#x, %v, want %#x", text, got, err, want)
		}
	}
	if _, err := waitFor(unix.P_PID, syscall.Getpid(), nil); !errors.Is(err, unix.ECHILD) {
		t.Errorf("no child: %v, want ECHILD", err)
	}
}

func TestLine(t *testing.T) {
	const file = "pos:\t0\nPid:\t4711\nNSpid:\t4711\t2\n"
	for key, want := range map[string]string{"Pid:": "\t4711\n", "NSpid:": "\t4711\t2\n", "PPid:": ""} {
		if got := line(file, key); got != want {
			t.Errorf("%s %q, want %q", key, got, want)
		}
	}
}
