package seccomp

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// A victim is a process that sets a filter on itself and makes calls, with the kernel as judge. The
// test binary starts itself for it.
type victim struct {
	Filter []byte      // empty: none, for controls
	Calls  [][7]uint64 // number and arguments
	Exec   []string    // started after the calls, if given
	Launch *launcher   // how to start it; nil: execve(2) from wherever
}

// victimVariable tells the test binary that it is a victim; its value is the victim as JSON.
const victimVariable = "RINGFENCE_SECCOMP_VICTIM"

func TestMain(m *testing.M) {
	if text := os.Getenv(victimVariable); text != "" {
		os.Exit(beVictim(text))
	}
	if name := os.Getenv(attackVariable); name != "" {
		os.Exit(beAttacker(name))
	}
	os.Exit(m.Run())
}

// beVictim prints the error number of each call. The filter binds only the thread that sets it, so
// that the Go runtime works on.
func beVictim(text string) int {
	var v victim
	os.Unsetenv(victimVariable)
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 101
	}
	results := make(chan []int)
	failed := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if v.Launch != nil {
			failed <- v.Launch.start(v.Exec, v.Filter)
			return
		}
		if err := setFilter(v.Filter); err != nil {
			failed <- err
			return
		}
		var errnos []int
		for _, c := range v.Calls {
			_, _, errno := unix.RawSyscall6(uintptr(c[0]), uintptr(c[1]), uintptr(c[2]), uintptr(c[3]),
				uintptr(c[4]), uintptr(c[5]), uintptr(c[6]))
			errnos = append(errnos, int(errno))
		}
		if len(v.Exec) > 0 {
			failed <- syscall.Exec(v.Exec[0], v.Exec, os.Environ())
			return
		}
		results <- errnos
	}()
	select {
	case err := <-failed:
		fmt.Fprintln(os.Stderr, err)
		return 102
	case errnos := <-results:
		if err := json.NewEncoder(os.Stdout).Encode(errnos); err != nil {
			return 103
		}
	}
	return 0
}

func setFilter(raw []byte) error {
	if len(raw) == 0 {
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return loadFilter(raw)
}

// loadFilter sets a filter on the calling thread. Preconditions: no_new_privs is set, raw is not empty.
func loadFilter(raw []byte) error {
	prog := unix.SockFprog{Len: uint16(len(raw) / 8), Filter: (*unix.SockFilter)(unsafe.Pointer(&raw[0]))}
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(raw)
	if errno != 0 {
		return errno
	}
	return nil
}

// start runs a victim.
func (v *victim) start(t *testing.T, dir string) (stdout string, state *os.ProcessState, stderr string) {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Under a filter that is wrong a program may not even get to its end.
	ctx, cancel := context.WithTimeout(t.Context(), sandboxtest.Slow(3*time.Minute))
	defer cancel()
	cmd := exec.CommandContext(ctx, self)
	cmd.Dir = dir
	// Under -race a process sleeps for a second when it ends, unless told not to.
	cmd.Env = append(os.Environ(), victimVariable+"="+string(text), "GORACE=atexit_sleep_ms=0")
	if dir != "" {
		cmd.Env = append(cmd.Env, "HOME="+dir, "TMPDIR="+dir, "GOCACHE="+filepath.Join(dir, "cache"))
	}
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	var ended *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	return out.String(), cmd.ProcessState, complaint.String()
}

// errnos runs a victim that survives.
func (v *victim) errnos(t *testing.T) []int {
	t.Helper()
	out, state, complaint := v.start(t, "")
	var errnos []int
	if err := json.Unmarshal([]byte(out), &errnos); err != nil || len(errnos) != len(v.Calls) {
		t.Fatalf("victim: %v\n%s%s", state, out, complaint)
	}
	return errnos
}

// mustSucceed runs a victim that starts a program. A program that cannot run here without the filter
// either, for want of a set-up of its own, says nothing of the filter.
func (v *victim) mustSucceed(t *testing.T, dir string) {
	t.Helper()
	out, state, complaint := v.start(t, dir)
	if state.Success() {
		return
	}
	control := victim{Exec: v.Exec}
	if _, without, _ := control.start(t, dir); !without.Success() {
		t.Logf("%s: %v without the filter, too", v.Exec[0], without)
		return
	}
	t.Errorf("%q: %v, without the filter it succeeds\n%s%s", v.Exec, state, out, complaint)
}

func diedOfSIGSYS(state *os.ProcessState) bool {
	status, ok := state.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == unix.SIGSYS
}

// The kernel decides as the policy does, on the argument values of random rules.
func TestKernelDecidesAsThePolicy(t *testing.T) {
	// These take no argument, so that any may be given, and never fail by themselves.
	calls := []string{"getppid", "getuid", "getgid", "geteuid"}
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 11))
		p := randomPolicy(r, calls)
		p.Default, p.BadArch, p.Unknown = Allow, 0, 0
		for i := range p.Rules {
			if !p.Rules[i].Action.runs() {
				p.Rules[i].Action = Errno(1 + r.IntN(4095))
			}
		}
		v := victim{Filter: compileWithPure(t, p, runtime.GOARCH).Raw()}
		in := newInputs(r, p)
		var want []int
		for range 400 {
			d, err := Call(runtime.GOARCH, calls[r.IntN(len(calls))])
			if err != nil {
				t.Fatal(err)
			}
			for i, v := range in.next().Args {
				d.Args[i] = uint64(uintptr(v)) // what a register of this machine holds
			}
			a := d.Args
			v.Calls = append(v.Calls, [7]uint64{uint64(d.Nr), a[0], a[1], a[2], a[3], a[4], a[5]})
			if action := p.Decide(d, runtime.GOARCH); action.runs() {
				want = append(want, 0)
			} else {
				want = append(want, int(action.data()))
			}
		}
		for i, errno := range v.errnos(t) {
			if errno != want[i] {
				t.Fatalf("call %x: errno %d, want %d\n%s", v.Calls[i], errno, want[i], p)
			}
		}
	}
}

// The kernel refuses what Default promises to refuse. Each call is also made without the filter,
// where it must end otherwise, so that the refusal is the filter's.
func TestKernelRefusesUnderDefault(t *testing.T) {
	const badFD, null = 1 << 30, 0
	nr := func(name string) uint64 {
		d, err := Call(runtime.GOARCH, name)
		if err != nil {
			t.Fatal(err)
		}
		return uint64(d.Nr)
	}
	cases := []struct {
		what string
		call [7]uint64
		want unix.Errno
		// same: on some hosts the kernel refuses with the same error by itself (no vsock module; process 1
		// of another user, while in a sandbox it is of the same; a call that it does not have).
		same bool
	}{
		{"TIOCSTI", [7]uint64{nr("ioctl"), badFD, 0x5412}, unix.EPERM, false},
		{"TIOCSTI with a high bit", [7]uint64{nr("ioctl"), badFD, 0x5412 + high}, unix.EPERM, false},
		{"TIOCLINUX", [7]uint64{nr("ioctl"), badFD, 0x541c}, unix.EPERM, false},
		{"clone3 of nothing", [7]uint64{nr("clone3"), null, 0}, unix.ENOSYS, true},
		{"setns", [7]uint64{nr("setns"), badFD, 0}, unix.EPERM, false},
		{"unshare of flags to come", [7]uint64{nr("unshare"), 1 << 31}, unix.EPERM, false},
		{"ptrace", [7]uint64{nr("ptrace"), 0x4200, badFD}, unix.EPERM, false},
		{"process_vm_readv", [7]uint64{nr("process_vm_readv"), badFD, null, 0, null, 0, 1}, unix.EPERM, false},
		{"pidfd_getfd", [7]uint64{nr("pidfd_getfd"), badFD, 0, 0}, unix.EPERM, false},
		{"keyctl", [7]uint64{nr("keyctl"), 9999}, unix.EPERM, false},
		{"io_uring_enter", [7]uint64{nr("io_uring_enter"), badFD, 0, 0, 0}, unix.EPERM, false},
		{"AF_VSOCK", [7]uint64{nr("socket"), 40, 99, 0}, unix.EAFNOSUPPORT, true},
		{"AF_PACKET by SOCK_PACKET", [7]uint64{nr("socket"), 2, 10, 1}, unix.ESOCKTNOSUPPORT, false},
		{"socketpair of IPv4", [7]uint64{nr("socketpair"), 2, 1, 0, null}, unix.EAFNOSUPPORT, true},
		{"prlimit64 of init", [7]uint64{nr("prlimit64"), 1, 99, 1, null}, unix.EPERM, true},
		{"prlimit64 of init with a high bit", [7]uint64{nr("prlimit64"), 1 + high, 99, 1, null}, unix.EPERM, true},
		{"setpriority of a user", [7]uint64{nr("setpriority"), 2, badFD, 0}, unix.EPERM, false},
		{"a call to come", [7]uint64{1023}, unix.ENOSYS, true},
		{"a number that no call has", [7]uint64{0xffffffff}, unix.ENOSYS, true},
	}
	var calls [][7]uint64
	for _, c := range cases {
		calls = append(calls, c.call)
	}
	with := (&victim{Filter: compileWithPure(t, Default(), runtime.GOARCH).Raw(), Calls: calls}).errnos(t)
	without := (&victim{Calls: calls}).errnos(t)
	for i, c := range cases {
		if unix.Errno(with[i]) != c.want {
			t.Errorf("%s: %v, want %v", c.what, unix.Errno(with[i]), c.want)
		}
		if with[i] == without[i] && !c.same {
			t.Errorf("%s: %v without the filter, too: the test shows nothing", c.what, unix.Errno(without[i]))
		}
	}
}

func TestKernelKillsForeignABIs(t *testing.T) {
	if runtime.GOARCH == "amd64" {
		const x32getpid = 0x40000000 | 39
		v := victim{Filter: compileWithPure(t, Default(), "amd64").Raw(), Calls: [][7]uint64{{x32getpid}}}
		if _, state, _ := v.start(t, ""); !diedOfSIGSYS(state) {
			t.Errorf("x32 call: %v, want SIGSYS", state)
		}
		v.Filter = nil // the control: whatever the kernel makes of x32, it does not kill
		v.errnos(t)
		testInt80(t)
	}
	// A filter for another machine alone: the first call of this one is foreign.
	other := map[string]string{"amd64": "arm64"}[runtime.GOARCH]
	if other == "" {
		other = "amd64"
	}
	v := victim{Filter: compileWithPure(t, Default(), other).Raw(), Calls: [][7]uint64{{unix.SYS_GETPID}}}
	if _, state, _ := v.start(t, ""); !diedOfSIGSYS(state) {
		t.Errorf("a filter for %s alone: %v, want SIGSYS", other, state)
	}
}

// testInt80 runs a program of 64 bits that makes a call of i386 by int 0x80.
func testInt80(t *testing.T) {
	code := []byte{
		0xb8, 20, 0, 0, 0, // mov eax, 20 (getpid of i386)
		0xcd, 0x80, // int 0x80
		0x31, 0xff, // xor edi, edi
		0xb8, 60, 0, 0, 0, // mov eax, 60 (exit)
		0x0f, 0x05, // syscall
	}
	path := filepath.Join(t.TempDir(), "int80")
	if err := os.WriteFile(path, elfOf(code), 0o755); err != nil {
		t.Fatal(err)
	}
	v := victim{Filter: compileWithPure(t, Default(), "amd64").Raw(), Exec: []string{path}}
	_, with, _ := v.start(t, "")
	v.Filter = nil
	_, without, _ := v.start(t, "")
	switch {
	case without.ExitCode() == 0 && !diedOfSIGSYS(with):
		t.Errorf("int 0x80: %v, want SIGSYS", with)
	case with.ExitCode() == 0: // a kernel without i386 ends the program with SIGSEGV either way
		t.Errorf("int 0x80: %v", with)
	}
}

// elfOf returns the smallest static program of x86-64 with this code.
func elfOf(code []byte) []byte {
	const base, headers = 0x400000, 64 + 56
	var b bytes.Buffer
	b.WriteString("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	size := uint64(headers + len(code))
	for _, field := range []any{
		uint16(2), uint16(62), uint32(1), uint64(base + headers), uint64(64), uint64(0), uint32(0), // ET_EXEC, EM_X86_64
		uint16(64), uint16(56), uint16(1), uint16(0), uint16(0), uint16(0),
		uint32(1), uint32(5), uint64(0), uint64(base), uint64(base), size, size, uint64(4096), // PT_LOAD, read and execute
	} {
		if err := binary.Write(&b, binary.LittleEndian, field); err != nil {
			panic(err)
		}
	}
	b.Write(code)
	return b.Bytes()
}
