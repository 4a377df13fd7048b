package seccomp

// initPID is the process ID of the sandbox's init, as the sandboxed processes see it.
const initPID = 1

// Kinds of target of setpriority(2) and ioprio_set(2): linux/resource.h, linux/ioprio.h.
const (
	prioUser       = 2
	ioprioWhoUser  = 3
	setpriorityWho = 1 // the index of the argument, as of ioprio_set
	prlimitNew     = 2 // the index of the argument; null asks for the limits
)

// initRules protect the sandbox's init, which reaps processes and reports how the command ended. It
// runs under the same user ID as they do, so the kernel would let them set its RLIMIT_CPU, or put it
// behind all others. Process IDs are of type pid_t, 32 bits.
func initRules() []Rule {
	refuse := func(index int, value uint64, calls ...string) Rule {
		return Rule{
			Names:  calls,
			Args:   []Arg{{Index: index, Op: Equal, Value: value, Mask: Low32}},
			Action: Errno(ePERM),
		}
	}
	byPID := []string{"sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr"}
	byWho := []string{"setpriority", "ioprio_set"}
	return []Rule{
		// Limits belong to a process as a whole, also by the ID of one of its threads, and init has one
		// whose ID nobody knows beforehand: only the calling process is certain not to be init. Anybody's
		// limits may be read.
		{Names: []string{"prlimit64"}, Args: []Arg{{Index: 0, Op: Equal, Value: 0, Mask: Low32}}, Action: Allow},
		{Names: []string{"prlimit64"}, Args: []Arg{{Index: prlimitNew, Op: Equal, Value: 0}}, Action: Allow},
		{Names: []string{"prlimit64"}, Action: Errno(ePERM)},
		refuse(0, initPID, byPID...),
		// Argument 1 is a process, a process group or a user, as argument 0 says. init leads group 1
		// if any; a user is everybody in the sandbox, init too.
		refuse(setpriorityWho, initPID, byWho...),
		refuse(0, prioUser, "setpriority"),
		refuse(0, ioprioWhoUser, "ioprio_set"),
		{Names: append(byPID, byWho...), Action: Allow},
	}
}
