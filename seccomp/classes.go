package seccomp

import "strings"

// A class is a group of calls that a built-in policy treats alike, for one reason.
type class struct {
	calls  string // names, separated by space
	reason string
}

// names returns the calls of all classes.
func names(classes ...class) []string {
	var all []string
	for _, c := range classes {
		all = append(all, strings.Fields(c.calls)...)
	}
	return all
}

// The classes below are what a program needs that reads and writes files, computes, and talks to
// itself. They say nothing of new processes, sockets and calls that need a look at arguments.
// Calls of several word sizes stand together: the table of each architecture has its own.
var (
	classFileIO = class{`read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2
		lseek _llseek close close_range dup dup2 dup3 fcntl fcntl64 flock fsync fdatasync
		sync_file_range arm_sync_file_range readahead fadvise64 fadvise64_64
		arm_fadvise64_64 ftruncate ftruncate64 truncate truncate64 fallocate copy_file_range sendfile
		sendfile64 splice tee vmsplice pipe pipe2 memfd_create`,
		"work on descriptors that the process has"}

	classFiles = class{`open openat openat2 creat stat stat64 lstat lstat64 fstat fstat64 newfstatat
		fstatat64 statx access faccessat faccessat2 readlink readlinkat getdents getdents64 getcwd
		chdir fchdir statfs statfs64 fstatfs fstatfs64 getxattr lgetxattr fgetxattr getxattrat
		listxattr llistxattr flistxattr listxattrat umask`,
		"what can be seen is decided by the mount namespace and the file's owner"}

	classFileChanges = class{`mkdir mkdirat rmdir rename renameat renameat2 link linkat symlink
		symlinkat unlink unlinkat chmod fchmod fchmodat fchmodat2 chown chown32 lchown lchown32 fchown
		fchown32 fchownat utime utimes utimensat utimensat_time64 futimesat setxattr lsetxattr fsetxattr
		setxattrat removexattr lremovexattr fremovexattr removexattrat`,
		"what can be changed is decided by read-only mounts and the file's owner"}

	classMemory = class{`mmap mmap2 munmap mprotect mremap msync brk madvise mincore mlock mlock2
		munlock mlockall munlockall remap_file_pages pkey_alloc pkey_free pkey_mprotect mseal
		map_shadow_stack membarrier`,
		"the process's own memory; RLIMIT_MEMLOCK and memory.max bound it"}

	classSignals = class{`rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend
		rt_sigtimedwait rt_sigtimedwait_time64 sigaltstack restart_syscall pause alarm setitimer
		getitimer signalfd signalfd4 sigaction sigprocmask sigreturn sigpending sigsuspend signal`,
		"how a process takes signals"}

	classTime = class{`clock_gettime clock_gettime64 clock_getres clock_getres_time64 clock_nanosleep
		clock_nanosleep_time64 nanosleep gettimeofday time times timer_create timer_settime
		timer_settime64 timer_gettime timer_gettime64 timer_getoverrun timer_delete timerfd_create
		timerfd_settime timerfd_settime64 timerfd_gettime timerfd_gettime64`,
		"reading and waiting for clocks, not setting them"}

	classWaiting = class{`select _newselect pselect6 pselect6_time64 poll ppoll ppoll_time64
		epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd eventfd2`,
		"waiting for descriptors"}

	classThreads = class{`futex futex_time64 futex_waitv futex_wait futex_wake futex_requeue
		set_robust_list get_robust_list set_tid_address gettid rseq rseq_slice_yield sched_yield getcpu
		exit exit_group arch_prctl set_thread_area get_thread_area set_tls get_tls cacheflush`,
		"what the threads of a C library and of Go are made of"}

	classOwnState = class{`getpid getppid getpgid getpgrp getsid getuid getuid32 geteuid geteuid32
		getgid getgid32 getegid getegid32 getresuid getresuid32 getresgid getresgid32 getgroups
		getgroups32 getrlimit ugetrlimit getrusage getpriority ioprio_get sched_getaffinity
		sched_getscheduler sched_getparam sched_getattr sched_get_priority_max sched_get_priority_min
		sched_rr_get_interval sched_rr_get_interval_time64 capget uname sysinfo getrandom`,
		"questions about the process and the machine"}
)
