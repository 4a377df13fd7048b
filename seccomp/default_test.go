package seccomp

import (
	"maps"
	"slices"
	"testing"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// An update of x/sys brings calls that nobody has looked at yet. They get ENOSYS until they are put
// into a class; this test asks for that.
func TestDefaultClassifiesEveryCall(t *testing.T) {
	classes := map[string]int{} // in how many unconditional rules a call is
	conditional := map[string]bool{}
	for _, r := range Default().Rules {
		for _, name := range r.Names {
			if len(r.Args) > 0 {
				conditional[name] = true
			} else {
				classes[name]++
			}
		}
	}
	for _, name := range names(notOfferedClasses()...) {
		classes[name]++
	}
	for _, name := range slices.Sorted(maps.Keys(classes)) {
		if classes[name] != 1 {
			t.Errorf("%s is in %d classes", name, classes[name])
		}
		if !known(name) {
			t.Errorf("%s is no system call", name)
		}
	}
	for name := range conditional {
		if classes[name] == 0 {
			t.Errorf("%s has conditions, but no rule for the rest", name)
		}
	}
	for _, a := range kernel.Archs() {
		for i := range a.Len() {
			if _, name := a.At(i); classes[name] == 0 {
				t.Errorf("%s of %s is in no class", name, a)
			}
		}
	}
}

func TestEveryClassHasAReason(t *testing.T) {
	all := append(refusedClasses(), notOfferedClasses()...)
	all = append(all, classFileIO, classFiles, classFileChanges, classMemory, classSignals, classTime,
		classWaiting, classThreads, classOwnState, classProcesses, classIDs, classIPC, classSockets,
		classMisc, strictSelf, strictTried)
	for _, c := range all {
		if c.reason == "" || len(names(c)) == 0 {
			t.Errorf("%+v", c)
		}
	}
}

const high = 1 << 32 // a bit that the kernel does not look at in a 32-bit argument

// The promises of Default, by call.
func TestDefaultDecisions(t *testing.T) {
	eperm, enosys := Errno(1), Errno(38)
	for _, tt := range []struct {
		want Action
		name string
		args []uint64
	}{
		{Allow, "read", nil}, {Allow, "openat", nil}, {Allow, "execve", nil}, {Allow, "mknodat", nil},
		{enosys, "clone3", nil}, {enosys, "socketcall", nil},
		{Allow, "clone", []uint64{0x003d0f00}}, {Allow, "clone", []uint64{0x4111}}, // a thread, vfork
		{eperm, "clone", []uint64{0x10000011}}, {eperm, "clone", []uint64{0x20000 | high}},
		{Allow, "unshare", []uint64{0x200}}, {Allow, "unshare", []uint64{0x400}},
		{eperm, "unshare", []uint64{0x10000000}}, {eperm, "unshare", []uint64{0x80}}, {eperm, "unshare", []uint64{high}},
		{eperm, "setns", nil}, {eperm, "mount", nil}, {eperm, "open_tree", nil}, {eperm, "pivot_root", nil},
		{eperm, "ptrace", nil}, {eperm, "process_vm_readv", nil}, {eperm, "pidfd_getfd", nil},
		{eperm, "bpf", nil}, {eperm, "perf_event_open", nil}, {eperm, "userfaultfd", nil}, {eperm, "io_uring_setup", nil},
		{eperm, "keyctl", nil}, {eperm, "add_key", nil}, {eperm, "request_key", nil},
		{eperm, "init_module", nil}, {eperm, "kexec_load", nil}, {eperm, "settimeofday", nil},
		{Allow, "ioctl", []uint64{0, 0x5401}},
		{eperm, "ioctl", []uint64{0, 0x5412}}, {eperm, "ioctl", []uint64{0, 0x5412 + high}},
		{eperm, "ioctl", []uint64{0, 0x541c}}, {eperm, "ioctl", []uint64{0, 0x541c + 5*high}},
		{Allow, "personality", []uint64{0xffffffff}}, {Allow, "personality", []uint64{^uint64(0)}}, {Allow, "personality", []uint64{8}},
		{eperm, "personality", []uint64{0x400000}}, {eperm, "personality", []uint64{0x40000}},
		{Allow, "socket", []uint64{1, 1, 0}}, {Allow, "socket", []uint64{2, 0x80001, 0}}, {Allow, "socket", []uint64{10, 2, 17}},
		{Allow, "socket", []uint64{2 + high, 1, 6}}, {Allow, "socket", []uint64{16, 3, 0}}, {Allow, "socket", []uint64{10, 3, 58}},
		{Errno(93), "socket", []uint64{2, 1, 262}}, {Errno(93), "socket", []uint64{16, 3, 12}}, {Errno(93), "socket", []uint64{10, 1, 132}},
		{Errno(94), "socket", []uint64{2, 10, 0}}, {Errno(94), "socket", []uint64{2, 0x8000a, 0}},
		{Errno(94), "socket", []uint64{2, 5, 0}}, {Errno(94), "socket", []uint64{10, 5, 132}}, {Errno(94), "socket", []uint64{10, 0x80006, 0}}, {Errno(94), "socket", []uint64{10, 4, 0}},
		{Errno(97), "socket", []uint64{40, 1, 0}}, {Errno(97), "socket", []uint64{38, 5, 0}}, {Errno(97), "socket", []uint64{17, 3, 0}},
		{Errno(97), "socket", []uint64{40 + high, 1, 0}}, {Errno(97), "socket", []uint64{0, 1, 0}},
		{Allow, "socketpair", []uint64{1}}, {Errno(97), "socketpair", []uint64{30}},
		{Allow, "prlimit64", []uint64{0}}, {Allow, "prlimit64", []uint64{2}}, {eperm, "prlimit64", []uint64{1, 7, 0x1000}}, {eperm, "prlimit64", []uint64{1 + high, 7, 0x1000}},
		{Allow, "prlimit64", []uint64{high, 7, 0x1000}}, {Allow, "prlimit64", []uint64{3, 7, 0, 0x1000}}, {eperm, "prlimit64", []uint64{3, 0, 0x1000}},
		{eperm, "prlimit64", []uint64{3, 0, high}},
		{eperm, "sched_setaffinity", []uint64{1}}, {eperm, "sched_setscheduler", []uint64{1}}, {eperm, "sched_setparam", []uint64{1 + high}},
		{eperm, "sched_setattr", []uint64{1}}, {Allow, "sched_setattr", []uint64{0}},
		{eperm, "setpriority", []uint64{0, 1}}, {eperm, "setpriority", []uint64{1, 1}}, {eperm, "setpriority", []uint64{2, 0}}, {Allow, "setpriority", []uint64{0, 0}},
		{eperm, "ioprio_set", []uint64{1, 1}}, {eperm, "ioprio_set", []uint64{3, 0}}, {Allow, "ioprio_set", []uint64{1, 0}}, {Allow, "ioprio_set", []uint64{2, 5}},
		{eperm, "move_pages", nil}, {eperm, "migrate_pages", nil},
	} {
		arch := "amd64"
		if tt.name == "socketcall" {
			arch = "386"
		}
		d, err := Call(arch, tt.name, tt.args...)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := Default().Decide(d, arch); got != tt.want {
			t.Errorf("%s%x: %s, want %s", tt.name, tt.args, got, tt.want)
		}
	}
}

func TestStrictDecisions(t *testing.T) {
	window := ExecWindow{0x10000, 0x11000}
	plain, wide := StrictOptions{}, StrictOptions{Processes: true, ReadOnlyFiles: true, Violation: Errno(1)}
	exec := StrictOptions{Exec: window}
	for _, tt := range []struct {
		opts StrictOptions
		want Action
		name string
		args []uint64
	}{
		{plain, Allow, "read", nil}, {plain, Allow, "unlinkat", nil}, {plain, Allow, "exit_group", nil},
		{plain, KillProcess, "socket", []uint64{2, 1, 0}}, {plain, Errno(13), "socket", []uint64{1, 1, 0}}, {plain, KillProcess, "socketpair", []uint64{1}},
		{plain, KillProcess, "fork", nil}, {plain, KillProcess, "clone", []uint64{0x11}}, {plain, Allow, "clone", []uint64{0x003d0f00}},
		{plain, KillProcess, "clone", []uint64{0x10000 | 0x10000000}}, {plain, Errno(38), "clone3", nil},
		{plain, KillProcess, "execveat", nil}, {plain, KillProcess, "kill", nil}, {plain, Allow, "tgkill", nil},
		{plain, KillProcess, "mount", nil}, {plain, KillProcess, "ptrace", nil}, {plain, Errno(1), "io_uring_setup", nil},
		{plain, Allow, "ioctl", []uint64{0, 0x5401 + high}}, {plain, Errno(25), "ioctl", []uint64{0, 0x5412}},
		{plain, Allow, "prctl", []uint64{15}}, {plain, Errno(22), "prctl", []uint64{38}},
		{plain, Allow, "prlimit64", []uint64{0, 7, 0, 0x1000}}, {plain, Errno(1), "prlimit64", []uint64{0, 7, 0x1000}}, {plain, Errno(1), "prlimit64", []uint64{1, 7, 0}},
		{plain, Allow, "execve", []uint64{0x7fff0000}},
		{wide, Allow, "fork", nil}, {wide, Allow, "clone", []uint64{0x11}}, {wide, Errno(1), "clone", []uint64{0x10000011}},
		{wide, Errno(1), "unlinkat", nil}, {wide, Errno(1), "socket", nil}, {wide, Allow, "wait4", nil},
		{exec, Allow, "execve", []uint64{0x10000}}, {exec, Allow, "execve", []uint64{0x10fff}},
		{exec, KillProcess, "execve", []uint64{0xffff}}, {exec, KillProcess, "execve", []uint64{0x11000}}, {exec, KillProcess, "execve", []uint64{0x10000 + high}},
		{exec, Allow, "mmap", []uint64{0, 0x1000, 3, 0x22}}, {exec, Allow, "mmap", []uint64{0x400000, 0x1000, 3, 0x22}},
		{exec, KillProcess, "mmap", []uint64{0x10000, 0x1000, 3, 0x32}}, {exec, KillProcess, "mmap", []uint64{0x400000, 0x1000, 3, 0x132}},
		{exec, KillProcess, "mmap", []uint64{0, 0x20000, 3, 0x32}}, {exec, KillProcess, "mmap", []uint64{0, 0x20000, 3, 0x100022}}, {exec, KillProcess, "mmap", []uint64{0x3fffff, 0x1000, 3, 0x22}},
		{exec, KillProcess, "mmap", []uint64{1, 0x1000, 3, 0x22}}, {exec, Allow, "mmap", []uint64{0x400000, 0x1000, 3, 0x32}},
		{exec, Allow, "mremap", []uint64{0x400000, 1, 2, 1, 0x10000}}, {exec, KillProcess, "mremap", []uint64{0x400000, 1, 2, 3, 0x500000}},
		{exec, KillProcess, "mremap", []uint64{0x400000, 1, 2, 5, 0x500000}}, {exec, KillProcess, "mremap", []uint64{0x8000, 1, 0x9000, 1}}, {exec, KillProcess, "mremap", []uint64{0, 1, 0x20000, 1}},
		{exec, Allow, "brk", []uint64{0}}, {exec, Allow, "brk", []uint64{0x600000}}, {exec, KillProcess, "brk", []uint64{0x11000}}, {exec, KillProcess, "brk", []uint64{0x3fffff}},
		{exec, Errno(38), "map_shadow_stack", []uint64{0x10000}}, {plain, Allow, "map_shadow_stack", []uint64{0x10000}}, {exec, KillProcess, "shmat", []uint64{0, 0x10000}},
		{exec, Allow, "arch_prctl", []uint64{0x1002}}, {exec, KillProcess, "arch_prctl", []uint64{0x2001}}, {exec, KillProcess, "arch_prctl", []uint64{0x2003}}, {exec, KillProcess, "arch_prctl", []uint64{0x2003 + high}},
		{StrictOptions{Exec: ExecWindow{5, 5}}, KillProcess, "execve", []uint64{5}},
		{StrictOptions{Exec: ExecWindow{0x10000, 1 << 40}}, KillProcess, "execve", []uint64{0x10000}},
	} {
		p := Strict(tt.opts)
		d, err := Call("amd64", tt.name, tt.args...)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Decide(d, "amd64"); got != tt.want {
			t.Errorf("%+v: %s%x: %s, want %s", tt.opts, tt.name, tt.args, got, tt.want)
		}
	}
}
