package seccomp

import (
	"fmt"
	"strconv"
	"strings"
)

// An Action is what the kernel does with a call (SECCOMP_RET_* of linux/seccomp.h). Actions are
// comparable with ==. The zero Action is none: a policy that leaves it where one is needed is
// invalid.
type Action uint32

// An Action holds its kind in the upper half and the kernel's SECCOMP_RET_DATA in the lower.
const (
	kindKillProcess = iota + 1
	kindKillThread
	kindTrap
	kindErrno
	kindTrace
	kindLog
	kindNotify
	kindAllow
)

const (
	// KillProcess ends the whole process with SIGSYS, which it cannot catch.
	KillProcess Action = kindKillProcess << 16
	// KillThread ends the calling thread only. The rest of the process goes on, with whatever the
	// thread held locked; prefer KillProcess.
	KillThread Action = kindKillThread << 16
	// Trap sends a SIGSYS that the program can catch.
	Trap Action = kindTrap << 16
	// Log allows the call and logs it (kernel audit log).
	Log Action = kindLog << 16
	// Notify asks the holder of the filter's listener (seccomp_unotify(2)); without one the call
	// fails with ENOSYS.
	Notify Action = kindNotify << 16
	// Allow makes the call.
	Allow Action = kindAllow << 16
)

// maxErrno is the highest error number that a call can return (MAX_ERRNO of linux/err.h). The kernel
// takes a higher one as this.
const maxErrno = 4095

// Errno refuses the call with error number n, of Linux, whatever system the policy is written on: 0
// (pretend that the call was made) to 4095. A number outside makes the policy invalid. The type
// parameter lets both constants of x/sys/unix and plain numbers in.
func Errno[N ~int | ~uint16 | ~uintptr](n N) Action {
	return withData(kindErrno, int64(n))
}

// Trace hands the call to the process's tracer (ptrace(2), PTRACE_EVENT_SECCOMP) with n, 0 to 65535,
// as message; without a tracer the call fails with ENOSYS.
func Trace[N ~int | ~uint16](n N) Action {
	return withData(kindTrace, int64(n))
}

// badData marks an action whose number was out of range, for Validate to report.
const badData = 0x8000_0000

func withData(kind uint32, n int64) Action {
	limit := int64(0xffff)
	if kind == kindErrno {
		limit = maxErrno
	}
	if n < 0 || n > limit {
		return Action(kind<<16 | badData)
	}
	return Action(kind<<16 | uint32(n))
}

func (a Action) kind() uint32 { return uint32(a) >> 16 }
func (a Action) data() uint32 { return uint32(a) & 0xffff }

// check returns what is wrong with the action, or "".
func (a Action) check() string {
	switch {
	case a == 0:
		return "no action: say KillProcess, KillThread, Trap, Errno(n), Trace(n), Log, Notify or Allow"
	case a == kindErrno<<16|badData:
		return "the error number is outside 0 to 4095"
	case a == kindTrace<<16|badData:
		return "the trace message is outside 0 to 65535"
	case a.kind() < kindKillProcess || a.kind() > kindAllow:
		return fmt.Sprintf("%#x is not an action: make one with the constants and functions of this package", uint32(a))
	case a.kind() == kindErrno && a.data() > maxErrno:
		return "the error number is outside 0 to 4095"
	case a.data() != 0 && a.kind() != kindErrno && a.kind() != kindTrace && a.kind() != kindTrap:
		return "only Errno, Trace and Trap carry a number"
	}
	return ""
}

// Errno returns the error number of an Errno action.
func (a Action) Errno() (n int, ok bool) {
	return int(a.data()), a.kind() == kindErrno && a.check() == ""
}

// runs reports whether the call is made by the kernel without anybody being asked.
func (a Action) runs() bool { return a == Allow || a == Log }

// Return values of a filter, linux/seccomp.h.
const (
	retKillProcess = 0x80000000
	retKillThread  = 0x00000000
	retTrap        = 0x00030000
	retErrno       = 0x00050000
	retNotify      = 0x7fc00000
	retTrace       = 0x7ff00000
	retLog         = 0x7ffc0000
	retAllow       = 0x7fff0000
)

// ret returns what a filter returns to the kernel for the action.
func (a Action) ret() uint32 {
	switch a.kind() {
	case kindKillThread:
		return retKillThread
	case kindTrap:
		return retTrap | a.data()
	case kindErrno:
		return retErrno | a.data()
	case kindTrace:
		return retTrace | a.data()
	case kindLog:
		return retLog
	case kindNotify:
		return retNotify
	case kindAllow:
		return retAllow
	}
	return retKillProcess
}

// actionOf returns what the kernel does for a filter's return value: it ignores the data of most
// actions, bounds an error number, and kills the process for a value it does not know
// (__seccomp_filter in kernel/seccomp.c).
func actionOf(ret uint32) Action {
	data := Action(ret & 0xffff)
	switch ret & 0xffff0000 {
	case retKillThread:
		return KillThread
	case retTrap:
		return Trap | data
	case retErrno:
		return Errno(int(min(data, maxErrno)))
	case retTrace:
		return Trace(int(data))
	case retLog:
		return Log
	case retNotify:
		return Notify
	case retAllow:
		return Allow
	}
	return KillProcess
}

var kindNames = [...]string{
	kindKillProcess: "kill_process",
	kindKillThread:  "kill_thread",
	kindTrap:        "trap",
	kindErrno:       "errno",
	kindTrace:       "trace",
	kindLog:         "log",
	kindNotify:      "notify",
	kindAllow:       "allow",
}

// String returns the action as the text form of a policy spells it: "allow", "errno(EPERM)",
// "trace(7)". The zero Action is "none".
func (a Action) String() string {
	if a == 0 {
		return "none"
	}
	if a.check() != "" {
		return fmt.Sprintf("invalid(%#x)", uint32(a))
	}
	name := kindNames[a.kind()]
	switch {
	case a.kind() == kindErrno:
		return name + "(" + errnoName(a.data()) + ")"
	case a.kind() == kindTrace, a.data() != 0:
		return fmt.Sprintf("%s(%d)", name, a.data())
	}
	return name
}

// ParseAction reads what [Action.String] writes. An error number may be given as a number, too.
func ParseAction(s string) (Action, error) {
	name, arg, hasArg := strings.Cut(strings.TrimSuffix(s, ")"), "(")
	if hasArg != strings.HasSuffix(s, ")") {
		return 0, fmt.Errorf("seccomp: action %q: unbalanced parentheses", s)
	}
	for kind, known := range kindNames {
		if known == "" || known != name {
			continue
		}
		takes := kind == kindErrno || kind == kindTrace || kind == kindTrap && hasArg
		if takes != hasArg {
			return 0, fmt.Errorf("seccomp: action %q: errno and trace take a number in parentheses, the others none", s)
		}
		if !hasArg {
			return Action(kind << 16), nil
		}
		n, ok := uint64(0), false
		if kind == kindErrno {
			n, ok = errnoNumber(arg)
		}
		if !ok {
			var err error
			if n, err = strconv.ParseUint(arg, 10, 16); err != nil {
				return 0, fmt.Errorf("seccomp: action %q: %q is not a number that fits", s, arg)
			}
		}
		a := withData(uint32(kind), int64(n))
		if fault := a.check(); fault != "" {
			return 0, fmt.Errorf("seccomp: action %q: %s", s, fault)
		}
		return a, nil
	}
	return 0, fmt.Errorf("seccomp: action %q: want one of %s", s, strings.Join(kindNames[1:], ", "))
}

// Error numbers of Linux that the built-in policies use. They are spelled out because the constants
// of package syscall are those of the system that the program is built for.
const (
	ePERM           = 1
	eACCES          = 13
	eINVAL          = 22
	eNOTTY          = 25
	eNOSYS          = 38
	ePROTONOSUPPORT = 93
	eSOCKTNOSUPPORT = 94
	eAFNOSUPPORT    = 97
)

func errnoName(n uint32) string {
	if n < uint32(len(errnoNames)) && errnoNames[n] != "" {
		return errnoNames[n]
	}
	return strconv.Itoa(int(n))
}

func errnoNumber(name string) (uint64, bool) {
	for n, known := range errnoNames {
		if known != "" && known == name {
			return uint64(n), true
		}
	}
	return 0, false
}
