package seccomp

// StrictOptions says what a program under Strict may do beyond computing. The zero value is the
// strictest that can start a program.
type StrictOptions struct {
	// Processes allows fork, vfork and clone of new processes, and waiting for them. Threads are
	// always allowed.
	Processes bool

	// ReadOnlyFiles leaves out the calls that create, remove, rename or change files. What is open
	// can still be written.
	ReadOnlyFiles bool

	// Exec is where in memory the path of the program to start lies. See ExecWindow. The zero value
	// allows execve with any path, and so also after the first.
	Exec ExecWindow

	// Violation is what happens on a call that is not allowed. The zero value is KillProcess, so
	// that the verdict can say so; Errno(EPERM) lets the program go on.
	Violation Action
}

// An ExecWindow is a range of addresses, Start included and End not, in which the launcher keeps
// the path that it gives to execve. A filter is set before the program is started and cannot be
// changed by a start, so it has to allow one execve and cannot count. It can tell addresses: execve is
// allowed from the window, and no call that could map memory there is allowed, so that once the
// program has replaced the launcher's memory every further execve fails.
//
// The window must be where the kernel puts nothing by itself, in the low memory below 4 MiB and
// above vm.mmap_min_addr: at 0x10000, say. One outside allows no execve at all.
//
// What it does not stop is a program file that is linked to lie in the window. Where the file itself
// is hostile, check its program headers, or give the sandbox no other file to execute.
type ExecWindow struct {
	Start, End uint64
}

// execWindowTop bounds the window: the addresses below are never chosen by the kernel, so that only
// requests for them have to be refused.
const execWindowTop = 4 << 20

// Strict returns a policy for one compiled program that reads its input, computes and writes its
// output, as under a judge of programming contests. What it does not allow kills the process, or
// gets opts.Violation:
//
//   - sockets of every kind: nothing to talk to. UNIX sockets get EACCES, since getpwuid(3) asks for
//     a name service by one, and Java calls it at start
//   - new processes, but with opts.Processes: one program, one process, so that its limits are its
//     limits. Threads are allowed: language runtimes need them
//   - exec after the first, with opts.Exec; execveat always
//   - kill, but with opts.Processes; shared memory, message queues, semaphores between processes,
//     inotify, asynchronous input and output
//   - changing user IDs, capabilities, limits, priorities; new namespaces, mounts, ptrace and all else
//     that Default refuses
//
// What C libraries and runtimes merely try gets an error instead, so that honest programs live:
// clone3, which cannot be checked, ENOSYS; prctl but for names of threads and memory, EINVAL; ioctl
// but for the questions that isatty and stdio ask, ENOTTY; setting limits and affinity EPERM.
func Strict(opts StrictOptions) *Policy {
	violation := opts.Violation
	if violation == 0 {
		violation = KillProcess
	}
	p := &Policy{Default: violation, BadArch: KillProcess, Unknown: Errno(eNOSYS)}
	allowed := []class{classFileIO, classFiles, classMemory, classSignals, classTime, classWaiting,
		classThreads, classOwnState, strictSelf}
	if !opts.ReadOnlyFiles {
		allowed = append(allowed, classFileChanges)
	}
	// These come first: they are exceptions to the classes.
	p.Rules = append(p.Rules, execRules(opts.Exec, violation)...)
	p.Rules = append(p.Rules, strictProcessRules(opts.Processes)...)
	p.Rules = append(p.Rules, strictQuestionRules()...)
	return withRules(p,
		Rule{Names: names(allowed...), Action: Allow},
		Rule{Names: names(strictTried), Action: Errno(ePERM)},
		Rule{Names: []string{"clone3"}, Action: Errno(eNOSYS)},
	)
}

func withRules(p *Policy, rules ...Rule) *Policy {
	p.Rules = append(p.Rules, rules...)
	return p
}

var (
	strictSelf = class{`tgkill tkill`, "abort and raise send a signal to the own thread by it; the PID " +
		"namespace holds nothing else that matters, and init takes no signals from inside"}

	strictTried = class{`setrlimit sched_setaffinity sched_setscheduler sched_setparam sched_setattr
		setpriority ioprio_set get_mempolicy set_mempolicy mbind io_uring_setup userfaultfd
		perf_event_open seccomp memfd_secret personality`,
		"what runtimes try at start and do without"}
)

// Requests of ioctl(2) that read, or set what fcntl(2) also sets, asm-generic/ioctls.h, and options of prctl(2), linux/prctl.h.
const (
	tcgets     = 0x5401
	tiocgwinsz = 0x5413
	fionread   = 0x541b
	fionbio    = 0x5421
	fionclex   = 0x5450
	fioclex    = 0x5451
	tcgets2    = 0x802c542a

	prSetName = 15
	prGetName = 16
	prSetVMA  = 0x53564d41 // names a mapping for /proc/self/maps; glibc and Go do so
)

// strictQuestionRules allow the harmless part of calls that do many things.
func strictQuestionRules() []Rule {
	var rules []Rule
	only := func(call string, index int, otherwise Action, values ...uint64) {
		for _, v := range values {
			rules = append(rules, Rule{
				Names: []string{call}, Args: []Arg{{Index: index, Op: Equal, Value: v, Mask: Low32}}, Action: Allow,
			})
		}
		rules = append(rules, Rule{Names: []string{call}, Action: otherwise})
	}
	only("ioctl", 1, Errno(eNOTTY), tcgets, tcgets2, tiocgwinsz, fionread, fionbio, fionclex, fioclex)
	only("prctl", 0, Errno(eINVAL), prSetName, prGetName, prSetVMA)
	// prlimit64 reads when the pointer to new limits is null; the process must be the caller.
	return append(rules,
		Rule{Names: []string{"socket"}, Action: Errno(eACCES), Args: []Arg{
			{Index: 0, Op: Equal, Value: afUnix, Mask: Low32},
		}},
		Rule{Names: []string{"prlimit64"}, Action: Allow, Args: []Arg{
			{Index: 0, Op: Equal, Mask: Low32}, {Index: 2, Op: Equal},
		}},
		Rule{Names: []string{"prlimit64"}, Action: Errno(ePERM)},
	)
}

// strictProcessRules allow threads, and processes if wanted. Without, fork gets the violation.
func strictProcessRules(processes bool) []Rule {
	if processes {
		return []Rule{
			{Names: []string{"clone"}, Args: []Arg{{Index: 0, Op: Equal, Mask: cloneNamespaces}}, Action: Allow},
			{Names: []string{"fork", "vfork", "wait4", "waitid", "waitpid", "kill", "setpgid"}, Action: Allow},
		}
	}
	const mask = cloneNamespaces | cloneThread
	return []Rule{
		{Names: []string{"clone"}, Args: []Arg{{Index: 0, Op: Equal, Value: cloneThread, Mask: mask}}, Action: Allow},
	}
}

// execRules allow the first execve.
func execRules(w ExecWindow, violation Action) []Rule {
	if w == (ExecWindow{}) {
		return []Rule{{Names: []string{"execve"}, Action: Allow}}
	}
	// A window that cannot hold is turned into one that allows no exec at all.
	if w.End <= w.Start || w.End > execWindowTop {
		return []Rule{{Names: []string{"execve"}, Action: violation}}
	}
	rules := []Rule{{
		Names:  []string{"execve"},
		Args:   []Arg{{Index: 0, Op: GreaterEqual, Value: w.Start}, {Index: 0, Op: Less, Value: w.End}},
		Action: Allow,
	}}
	low := func(index int) []Arg {
		return []Arg{{Index: index, Op: NotEqual, Value: 0}, {Index: index, Op: Less, Value: execWindowTop}}
	}
	return append(rules,
		// An address of 0 leaves the choice to the kernel.
		Rule{Names: []string{"mmap", "mmap2"}, Args: low(0), Action: violation},
		// A mapping that grows downwards grows into the window, from wherever it is.
		Rule{Names: []string{"mmap", "mmap2"}, Action: violation,
			Args: []Arg{{Index: 3, Op: Equal, Value: mapGrowsDown, Mask: mapGrowsDown}}},
		// mremap grows a mapping in place, or moves it to argument 4 if the flags say so; else the
		// argument holds anything.
		Rule{Names: []string{"mremap"}, Args: low(0), Action: violation},
		Rule{Names: []string{"mremap"}, Action: violation,
			Args: append(low(4), Arg{Index: 3, Op: NotEqual, Mask: mremapFixed | mremapDontUnmap})},
	)
}

// Flags of mmap(2) and mremap(2), asm-generic/mman.h and linux/mman.h.
const (
	mapGrowsDown    = 0x100
	mremapFixed     = 2
	mremapDontUnmap = 4
)
