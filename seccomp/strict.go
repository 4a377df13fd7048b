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

	// Exec is where in memory the launcher keeps the path of the program to start, and what makes the
	// first execve the only one. See ExecWindow. The zero value allows execve with any path, and so also
	// after the first.
	Exec ExecWindow

	// Violation is what happens on a call that is not allowed. The zero value is KillProcess, so
	// that the verdict can say so; Errno(EPERM) lets the program go on.
	Violation Action
}

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
