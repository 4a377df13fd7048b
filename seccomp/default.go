package seccomp

// Default returns the policy for programs that nobody wrote for a sandbox: compilers, Go, Java, Node,
// Python, Rust, git, package managers. It is what a zero Spec of package sandbox gets. Each call
// returns a new copy, to change at will.
//
// It lists what is allowed, for the kernel gains calls faster than anybody reviews them: a call that
// is not listed gets ENOSYS, like one that the kernel does not have, so that programs fall back. What
// is known and refused gets EPERM, so that a program that merely tries (as runtimes do with io_uring
// or perf_event_open) goes on without. Only foreign ABIs kill: no honest program meets them.
//
// Refused with EPERM:
//
//   - new namespaces, by clone or unshare, and setns: in a user namespace of its own a process has
//     every capability, and with them most of the kernel's code that was written for root only
//   - mount, pivot_root, chroot and the calls on mount descriptors
//   - ptrace, process_vm_readv, process_vm_writev, pidfd_getfd, process_madvise and kcmp: the memory
//     and descriptors of other processes
//   - bpf, perf_event_open, userfaultfd, io_uring: large parts of the kernel, with a long record of
//     holes; io_uring also makes calls that no filter sees
//   - keyctl, add_key, request_key: the kernel's keyrings are not divided by namespaces
//   - what needs a capability on the host in any case: modules, kexec, reboot, swap, quota,
//     accounting, clocks, ports, host names, the kernel log
//   - ioctl TIOCSTI, TIOCLINUX and TIOCCONS, which write into the terminal of others, and TIOCSETD,
//     which loads line disciplines
//   - personality but for the usual values: READ_IMPLIES_EXEC and ADDR_NO_RANDOMIZE weaken a process
//   - priority and affinity of process 1, which is the sandbox's own init and has the same user ID, and
//     limits of any process but the calling one, which might be a thread of init's
//
// Refused with another error, which programs understand better: clone3 (ENOSYS: its flags are in
// memory, where a filter cannot see them, and C libraries fall back to clone); sockets but for UNIX,
// IPv4, IPv6 and the routing part of netlink, which getifaddrs(3) and Go ask for the addresses of
// the host (EAFNOSUPPORT, EPROTONOSUPPORT: AF_VSOCK reaches the hypervisor, AF_ALG and others are
// surface); protocols of IP but for TCP, UDP and ICMP.
//
// Debuggers and strace do not work under it, and neither do sandboxes that need namespaces of their
// own. A policy for them starts from a copy with a rule put in front:
//
//	p := seccomp.Default()
//	p.Rules = append([]seccomp.Rule{{Names: []string{"ptrace"}, Action: seccomp.Allow}}, p.Rules...)
func Default() *Policy {
	p := &Policy{
		Default: Errno(eNOSYS),
		BadArch: KillProcess,
		Unknown: Errno(eNOSYS),
	}
	p.Rules = append(p.Rules,
		Rule{Names: names(classFileIO, classFiles, classFileChanges, classMemory, classSignals,
			classTime, classWaiting, classThreads, classOwnState), Action: Allow},
		Rule{Names: names(classProcesses, classIDs, classIPC, classSockets, classMisc), Action: Allow},
	)
	p.Rules = append(p.Rules, namespaceRules()...)
	p.Rules = append(p.Rules, terminalRules()...)
	p.Rules = append(p.Rules, personalityRules()...)
	p.Rules = append(p.Rules, socketRules()...)
	p.Rules = append(p.Rules, initRules()...)
	p.Rules = append(p.Rules, Rule{Names: names(refusedClasses()...), Action: Errno(ePERM)})
	return p
}

// What Default allows beyond the classes of classes.go.
var (
	classProcesses = class{`fork vfork execve execveat wait4 waitid waitpid kill tkill tgkill
		rt_sigqueueinfo rt_tgsigqueueinfo pidfd_open pidfd_send_signal setpgid setsid setrlimit prctl
		seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self`,
		"the PID namespace bounds whom they reach; a process may confine itself further"}

	classIDs = class{`setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32
		setresuid setresuid32 setresgid setresgid32 setfsuid setfsuid32 setfsgid setfsgid32 setgroups
		setgroups32 capset`,
		"package managers and daemons change to the IDs that are mapped; there is no way up"}

	classIPC = class{`shmget shmat shmdt shmctl semget semop semtimedop semtimedop_time64 semctl msgget
		msgsnd msgrcv msgctl ipc mq_open mq_unlink mq_timedsend mq_timedsend_time64 mq_timedreceive
		mq_timedreceive_time64 mq_notify mq_getsetattr`,
		"the IPC namespace is the sandbox's own"}

	classSockets = class{`bind connect listen accept accept4 getsockname getpeername getsockopt
		setsockopt shutdown sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg recvmmsg_time64 send recv`,
		"calls on sockets that the rules for socket let through; the network namespace does the rest"}

	classMisc = class{`mknod mknodat inotify_init inotify_init1 inotify_add_watch inotify_rm_watch
		io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents io_pgetevents_time64 name_to_handle_at
		statmount listmount cachestat sync syncfs adjtimex clock_adjtime clock_adjtime64 uprobe
		uretprobe breakpoint`,
		"FIFOs, file watches, the old asynchronous input and output of data bases, mounts of the " +
			"own namespace; adjtimex only reads without CAP_SYS_TIME; uprobe and uretprobe are what " +
			"the kernel itself puts into a process that is observed from outside"}
)

// refusedClasses are the calls that get EPERM.
func refusedClasses() []class {
	return []class{
		{`setns mount umount umount2 pivot_root chroot fsopen fsconfig fsmount fspick move_mount
			open_tree open_tree_attr mount_setattr`,
			"the walls of the sandbox"},
		{`ptrace process_vm_readv process_vm_writev process_madvise process_mrelease pidfd_getfd kcmp`,
			"other processes"},
		{`bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register
			modify_ldt vm86 vm86old memfd_secret lookup_dcookie fanotify_init fanotify_mark
			lsm_get_self_attr lsm_set_self_attr lsm_list_modules nfsservctl`,
			"kernel surface that the programs in question can do without"},
		{`keyctl add_key request_key`, "not divided by namespaces"},
		{`open_by_handle_at`, "opens files by number, past every mount (CAP_DAC_READ_SEARCH)"},
		{`move_pages migrate_pages mbind set_mempolicy get_mempolicy set_mempolicy_home_node`,
			"placement of memory, also that of other processes"},
		{`init_module finit_module delete_module create_module query_module get_kernel_syms kexec_load
			kexec_file_load reboot swapon swapoff acct quotactl quotactl_fd syslog iopl ioperm
			pciconfig_read pciconfig_write pciconfig_iobase vhangup settimeofday stime clock_settime
			clock_settime64 sethostname setdomainname`,
			"administration of the host"},
	}
}

// notOfferedClasses are the calls that no rule of Default names, so that they get ENOSYS. The list
// is for the reader and for the test that every call of the tables was looked at.
func notOfferedClasses() []class {
	return []class{
		{`clone3`, "its flags are in memory"},
		{`socketcall`, "hides socket(2) and its arguments behind a pointer; 386 has had the calls themselves " +
			"since Linux 4.3, and a program that does not know them gets no sockets"},
		{`file_getattr file_setattr listns`, "newer than any program that needs them"},
		{`_sysctl uselib ustat sysfs epoll_ctl_old epoll_wait_old vserver security tuxcall afs_syscall
			getpmsg putpmsg bdflush break ftime gtty stty idle lock mpx prof profil ulimit nice olduname
			oldolduname oldstat oldlstat oldfstat readdir sgetmask ssetmask usr26 usr32`,
			"gone from the kernel, or used by nothing for decades"},
	}
}

// Flags of clone(2) and unshare(2), linux/sched.h.
const (
	cloneNewTime   = 0x00000080 // unshare only: clone has the exit signal in these bits
	cloneVM        = 0x00000100
	cloneFS        = 0x00000200
	cloneFiles     = 0x00000400
	cloneSighand   = 0x00000800
	cloneThread    = 0x00010000
	cloneNewNS     = 0x00020000
	cloneSysvsem   = 0x00040000
	cloneNewCgroup = 0x02000000
	cloneNewUTS    = 0x04000000
	cloneNewIPC    = 0x08000000
	cloneNewUser   = 0x10000000
	cloneNewPID    = 0x20000000
	cloneNewNet    = 0x40000000

	cloneNamespaces = cloneNewNS | cloneNewCgroup | cloneNewUTS | cloneNewIPC | cloneNewUser | cloneNewPID | cloneNewNet
)

// namespaceRules allow clone and unshare without namespaces. The flags are argument 0 of both on
// every architecture that has a table here.
func namespaceRules() []Rule {
	// unshare gives a thread its own working directory, descriptors or semaphore undo list. All other
	// flags, those to come too, are refused.
	const harmless = cloneVM | cloneFS | cloneFiles | cloneSighand | cloneThread | cloneSysvsem
	return []Rule{
		{Names: []string{"clone"}, Args: []Arg{{Index: 0, Op: Equal, Mask: cloneNamespaces}}, Action: Allow},
		{Names: []string{"unshare"}, Args: []Arg{{Index: 0, Op: Equal, Mask: ^uint64(harmless)}}, Action: Allow},
		{Names: []string{"clone", "unshare"}, Action: Errno(ePERM)},
	}
}

// Requests of ioctl(2) on terminals, asm-generic/ioctls.h.
const (
	tiocsti   = 0x5412
	tioclinux = 0x541c
	tioccons  = 0x541d
	tiocsetd  = 0x5423
)

// terminalRules refuse to put input into a terminal, as if its user had typed it. The kernel takes
// the request as unsigned int.
func terminalRules() []Rule {
	var rules []Rule
	for _, request := range []uint64{tiocsti, tioclinux, tioccons, tiocsetd} {
		rules = append(rules, Rule{
			Names:  []string{"ioctl"},
			Args:   []Arg{{Index: 1, Op: Equal, Value: request, Mask: Low32}},
			Action: Errno(ePERM),
		})
	}
	return append(rules, Rule{Names: []string{"ioctl"}, Action: Allow})
}

// personalityRules allow the personas of Linux (0) and of 32-bit Linux (8), each also with the old
// form of version numbers (UNAME26, 0x20000), and the question for the current one.
func personalityRules() []Rule {
	var rules []Rule
	for _, persona := range []uint64{0, 0x8, 0x20000, 0x20008, 0xffffffff} {
		rules = append(rules, Rule{
			Names:  []string{"personality"},
			Args:   []Arg{{Index: 0, Op: Equal, Value: persona, Mask: Low32}},
			Action: Allow,
		})
	}
	return append(rules, Rule{Names: []string{"personality"}, Action: Errno(ePERM)})
}
