package seccomp

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The payloads below try to execute once more under a policy with an ExecWindow. The test binary starts
// itself as the launcher, which keeps the path of the program in the window, and the program is the test
// binary again, as the attacker. If it succeeds, it becomes the test binary a third time.

// attackVariable names the attack for the process that is to make it; escaped is that it succeeded.
const (
	attackVariable = "RINGFENCE_SECCOMP_ATTACK"
	escaped        = "escaped"
)

// addrCompatLayout is ADDR_COMPAT_LAYOUT of linux/personality.h.
const addrCompatLayout = 0x200000

// A launcher is how the attacker is started.
type launcher struct {
	Window      ExecWindow
	Personality uintptr
}

// start puts the path of the program into the window and starts it from there, under the filter.
func (l *launcher) start(program []string, filter []byte) error {
	execAt, err := executor(program, os.Environ())
	if err != nil {
		return err
	}
	if _, err := mapAt(l.Window.Start, uint64(os.Getpagesize()), mapFixed); err != nil {
		return err
	}
	if err := putText(uintptr(l.Window.Start), program[0]); err != nil {
		return err
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_PERSONALITY, l.Personality, 0, 0); errno != 0 {
		return errno
	}
	if err := setFilter(filter); err != nil {
		return err
	}
	return execAt(uintptr(l.Window.Start))
}

// executor prepares execve(2), so that nothing is left but the call.
func executor(args, env []string) (execAt func(path uintptr) error, err error) {
	argv, err := syscall.SlicePtrFromStrings(args)
	if err != nil {
		return nil, err
	}
	envp, err := syscall.SlicePtrFromStrings(env)
	if err != nil {
		return nil, err
	}
	return func(path uintptr) error {
		_, _, errno := unix.RawSyscall(unix.SYS_EXECVE, path, uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&envp[0])))
		return fmt.Errorf("execve: %w", errno)
	}, nil
}

// beAttacker makes the attack of a name, and prints what came of it if nothing did.
func beAttacker(name string) int {
	if name == escaped {
		fmt.Println(escaped)
		return 0
	}
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
	if err := try(name); err != nil {
		fmt.Println("refused:", err)
	}
	return 0
}

func try(name string) error {
	var w ExecWindow
	if _, err := fmt.Sscanf(os.Getenv(windowVariable), "%x-%x", &w.Start, &w.End); err != nil {
		panic(err)
	}
	if err := os.Setenv(attackVariable, escaped); err != nil {
		return err
	}
	execAt, err := executor(os.Args, os.Environ())
	if err != nil {
		return err
	}
	i := slices.IndexFunc(attacks, func(a attack) bool { return a.name == name })
	path, err := attacks[i].do(w)
	if err != nil {
		return err
	}
	return execAt(path)
}

// windowVariable tells the attacker where the window is.
const windowVariable = "RINGFENCE_SECCOMP_WINDOW"

// tries starts an attacker and returns what it prints.
func tries(t *testing.T, a attack, p *Policy, w ExecWindow, personality uintptr) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	// What moveVDSO executes.
	if err := os.Symlink(self, filepath.Join(dir, "linux-vdso.so.1")); err != nil {
		t.Fatal(err)
	}
	t.Setenv(attackVariable, a.name)
	t.Setenv(windowVariable, fmt.Sprintf("%x-%x", w.Start, w.End))
	v := victim{
		Filter: compileWithPure(t, p, runtime.GOARCH).Raw(), Exec: []string{self},
		Launch: &launcher{w, personality},
	}
	out, state, complaint := v.start(t, dir)
	if !state.Exited() || !strings.HasPrefix(out, "refused:") && !strings.HasPrefix(out, escaped) {
		return fmt.Sprintf("%v: %s%s", state, out, complaint)
	}
	return strings.TrimSpace(out)
}

// No attack gets from the launched program to another, and each does without what protects from it.
func TestNoExecAfterTheFirst(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Log("the window is for ABIs of 64 bits")
		return
	}
	w := LaunchWindow
	p := Strict(StrictOptions{Exec: w, Violation: Errno(ePERM)})
	// For the controls: the window alone, without the rules about memory, and neither.
	window := &Policy{Default: Allow, Rules: execRules(w, Errno(ePERM))[:3]}
	anything := &Policy{Default: Allow}
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			if got := tries(t, a, p, w, addrCompatLayout); !strings.HasPrefix(got, "refused:") {
				t.Errorf("%s, want it refused", got)
			}
			without, control, personality := "rules about memory", window, uintptr(addrCompatLayout)
			switch a.name {
			case "own memory":
				without, control = "window", anything
			case "a full address space":
				without, control, personality = "personality", p, 0
			}
			got := tries(t, a, control, w, personality)
			for range 4 { // moveVDSO races with the runtime
				if got != escaped {
					got = tries(t, a, control, w, personality)
				}
			}
			if got == escaped {
				return
			} else if reason := hostRefuses(a.name); reason != "" {
				t.Logf("without the %s: %s: %s", without, got, reason)
			} else {
				t.Errorf("without the %s: %s: this proves nothing", without, got)
			}
		})
	}
}

// hostRefuses says why an attack can fail where nothing protects from it.
func hostRefuses(attack string) string {
	switch attack {
	case "mmap from 0 on":
		if unix.Access("/dev/mem", unix.R_OK) != nil {
			return "it takes CAP_SYS_RAWIO, or vm.mmap_min_addr 0"
		}
	case "the kernel's shared object":
		if runtime.GOARCH != "amd64" {
			return "there is no arch_prctl"
		}
	case "a full address space":
		if mode, _ := os.ReadFile("/proc/sys/vm/overcommit_memory"); strings.TrimSpace(string(mode)) == "2" {
			return "vm.overcommit_memory is 2"
		}
	}
	return ""
}

// Honest programs do not meet the window.
func TestProgramsRunUnderStrictWithAWindow(t *testing.T) {
	p := Strict(StrictOptions{Exec: LaunchWindow})
	for _, args := range [][]string{
		{"/usr/bin/sort", "/dev/null"}, {"/usr/bin/python3", "-c", "print(len(bytearray(1 << 28)))"}, {"/usr/bin/java", "-version"},
	} {
		if _, err := exec.LookPath(args[0]); err != nil {
			t.Log(err)
			continue
		}
		v := victim{Filter: programFilter(t, p), Exec: args, Launch: &launcher{LaunchWindow, addrCompatLayout}}
		v.mustSucceed(t, t.TempDir())
	}
}
