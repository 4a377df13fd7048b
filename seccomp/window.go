package seccomp

// An ExecWindow is a range of addresses, Start included and End not, in which the launcher keeps
// the path that it gives to execve. A filter is set before the program is started and cannot be
// changed by a start, so it has to allow one execve and cannot count. It can tell addresses: execve is
// allowed from the window, and no call that could map memory there is allowed, so that once the
// program has replaced the launcher's memory every further execve fails.
//
// The window must lie below 4 MiB, below which no call may map anything, and above vm.mmap_min_addr;
// see [LaunchWindow]. One that does not allows no execve at all.
//
// A filter sees where a program wants memory, not where the kernel puts it otherwise. Preconditions for
// the launcher, which has to see to the rest:
//
//   - The program starts with personality(2) ADDR_COMPAT_LAYOUT. The kernel then looks for free
//     addresses from a third or a quarter of the address space upwards. Without, it looks from the top
//     downwards, and a program that asks for enough memory gets the window.
//   - RLIMIT_STACK is less than 64 GiB, so that the stack cannot grow down to the window.
//   - The program runs on an ABI of 64 bits: mmap of 386 has its arguments in memory.
//
// What the window does not stop is a program file that is linked to lie in it, or below it with data
// that grows into it. Where the file itself is hostile, check its program headers, or give the sandbox
// no other file to execute.
type ExecWindow struct {
	Start, End uint64
}

// LaunchWindow is a window that a launcher can use on every system with the usual vm.mmap_min_addr,
// which is 65536 at most. It ends where the default of linkers for programs begins.
var LaunchWindow = ExecWindow{Start: 0x10000, End: execWindowTop}

// execWindowTop bounds the window. With ADDR_COMPAT_LAYOUT the kernel chooses no address below it, and
// programs are linked to lie above it, so that only requests for these addresses have to be refused.
const execWindowTop = 4 << 20

// Flags of mmap(2) and mremap(2), asm-generic/mman.h and linux/mman.h, and options of arch_prctl(2),
// asm/prctl.h.
const (
	mapFixed          = 0x10
	mapGrowsDown      = 0x100
	mapFixedNoReplace = 0x100000
	mremapFixed       = 2
	mremapDontUnmap   = 4

	archMapVDSO     = 0x2000 // ARCH_MAP_VDSO_X32, _32 and _64 are 1 to 3 more
	archMapVDSOMask = 0xfffffffc
)

// execRules allow the first execve. They use the forms alone that the back end on libseccomp takes: one
// condition for an argument, and order for the rest.
func execRules(w ExecWindow, violation Action) []Rule {
	if w == (ExecWindow{}) {
		return []Rule{{Names: []string{"execve"}, Action: Allow}}
	}
	// A window that cannot hold is turned into one that allows no exec at all.
	if w.End <= w.Start || w.End > execWindowTop {
		return []Rule{{Names: []string{"execve"}, Action: violation}}
	}
	below := func(index int, value uint64) Arg { return Arg{Index: index, Op: Less, Value: value} }
	flag := func(index int, bit uint64) Arg { return Arg{Index: index, Op: Equal, Value: bit, Mask: bit} }
	rule := func(action Action, call string, args ...Arg) Rule {
		return Rule{Names: []string{call}, Args: args, Action: action}
	}
	rules := []Rule{
		rule(violation, "execve", below(0, w.Start)),
		rule(Allow, "execve", below(0, w.End)),
		rule(violation, "execve"),
	}
	for _, call := range []string{"mmap", "mmap2"} {
		rules = append(rules,
			// A mapping that grows downwards grows into the window, from wherever it is.
			rule(violation, call, flag(3, mapGrowsDown)),
			rule(violation, call, flag(3, mapFixed), below(0, execWindowTop)),
			rule(violation, call, flag(3, mapFixedNoReplace), below(0, execWindowTop)),
		)
	}
	for _, call := range []string{"mmap", "mmap2", "brk"} {
		rules = append(rules,
			// An address of 0 leaves the choice to the kernel; of brk it is the question for the end.
			rule(Allow, call, Arg{Index: 0, Op: Equal, Value: 0}),
			rule(violation, call, below(0, execWindowTop)),
		)
	}
	return append(rules,
		// In place a mapping grows upwards. The stack still grows downwards when it was moved: next to the
		// window, it grows into it. C libraries move nothing to addresses of their choice.
		rule(violation, "mremap", below(0, execWindowTop)),
		rule(violation, "mremap", flag(3, mremapFixed)),
		rule(violation, "mremap", flag(3, mremapDontUnmap)),
		// It takes an address, too. A kernel before 6.6 does not have it, and libseccomp before 2.6 cannot
		// look at its arguments.
		rule(Errno(eNOSYS), "map_shadow_stack"),
		// The kernel's shared object has the text "linux-vdso.so.1", and may be mapped where one wants.
		rule(violation, "arch_prctl", Arg{Index: 0, Op: Equal, Value: archMapVDSO, Mask: archMapVDSOMask}),
	)
}
