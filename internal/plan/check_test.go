//go:build linux

package plan

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// edit changes a program that is right.
type edit func(p *Program)

// without removes ops.
func without(labels ...string) edit {
	return func(p *Program) {
		for _, l := range labels {
			replace(p, find(p, l), 1)
		}
	}
}

// instead puts a call in the place of another one.
func instead(label string, call kernel.Call) edit {
	return func(p *Program) { p.Ops[find(p, label)].Call = call }
}

// with changes an op.
func with(label string, change func(op *Op)) edit {
	return func(p *Program) { change(p.Ops[find(p, label)]) }
}

// after puts another op behind one.
func after(label string, call kernel.Call) edit {
	return func(p *Program) {
		i := find(p, label)
		replace(p, i+1, 0, &Op{Process: p.Ops[i].Process, Label: "new", Call: call})
	}
}

// move puts an op behind another one of the same process.
func move(label, behind string) edit {
	return func(p *Program) {
		i := find(p, label)
		op := p.Ops[i]
		replace(p, i, 1)
		replace(p, find(p, behind)+1, 0, op)
	}
}

// setShare writes something else to the limit.
func setShare(value string) edit {
	return with("set share", func(op *Op) {
		op.Call, op.Want = kernel.WriteString(int(op.Call.Args[0].Value), value), int64(len(value))
	})
}

// bytesOf returns the memory of an argument.
func bytesOf(op *Op, arg int) []byte { return op.Call.Args[arg].Mem.Bytes }

// breach is an edit that breaks a rule.
type breach struct {
	rule  Rule
	what  string
	apply edit
}

var breaks = []breach{
	{RuleBounds, "no op", func(p *Program) { p.Ops = nil }},
	{RuleBounds, "too many ops", func(p *Program) { p.Ops = make([]*Op, MaxOps+1) }},
	{RuleBounds, "no descriptors", func(p *Program) { p.Inherited = -1 }},
	{RuleBounds, "too many descriptors", func(p *Program) { p.Inherited = 1 << 30 }},
	{RuleBounds, "report is not there", func(p *Program) { p.Report = 9 }},
	{RuleBounds, "report is the lifeline", func(p *Program) { p.Report = p.Lifeline }},
	{RuleBounds, "payload is the report", func(p *Program) { p.Payload = []int{0, 1, 2, 3} }},
	{RuleBounds, "payload out of order", func(p *Program) { p.Payload = []int{1, 0} }},
	{RuleBounds, "too much data", with("hostname", func(op *Op) {
		big := &kernel.Memory{Bytes: make([]byte, 1<<20)}
		m := &kernel.Memory{Bytes: make([]byte, 8)}
		for range 2000 {
			m.Refs = append(m.Refs, kernel.Ref{To: big})
		}
		op.Call.Args[0].Mem = m
	})},
	{RuleLabel, "no label", with("seal", func(op *Op) { op.Label = "" })},
	{RuleFlow, "no op in a place", func(p *Program) { p.Ops[3] = nil }},
	{RuleFlow, "unknown kind", with("seal", func(op *Op) { op.Kind = 7 })},
	{RuleFlow, "an op of another process", with("seal", func(op *Op) { op.Process = Command })},
	{RuleFlow, "child before its fork", with("fork init", func(op *Op) { op.Child = 1 })},
	{RuleFlow, "child beyond the end", with("fork init", func(op *Op) { op.Child = 1 << 20 })},
	{RuleFlow, "child of the same process", with("fork init", func(op *Op) { op.Child -= 1 })},
	{RuleFlow, "child in the middle", with("fork init", func(op *Op) { op.Child++ })},
	{RuleFlow, "init does not end", without("end init")},
	{RuleFlow, "the program does not end", without("exec 2", "exec 1")},
	{RuleFlow, "ops that nobody reaches", after("end stub", kernel.Umask(0))},
	{RuleFlow, "the command ends by itself", after("close rest on exec", kernel.Exit(0))},
	{RuleFlow, "a fork that is none", with("seal", func(op *Op) { op.Kind = Fork })},
	{RuleFlow, "a fork that is a call", with("fork command", func(op *Op) { op.Kind = Call })},
	{RuleFlow, "no wait for the command's exec", with("fork command", func(op *Op) { bytesOf(op, 0)[1] &^= unix.CLONE_VFORK >> 8 })},
	{RuleUntil, "a call until", with("seal", func(op *Op) { op.Kind = Until })},
	{RuleUntil, "a wait once", with("wait", func(op *Op) { op.Kind = Call })},
	{RuleUntil, "the stub waits", func(p *Program) {
		replace(p, find(p, "end stub"), 0, &Op{Kind: Until, Process: Stub, Label: "new", Call: kernel.Wait4(NewRecord(Ended, 0), 4, 8), Want: 2})
	}},
	{RuleUntil, "a wait for any process", with("wait", func(op *Op) { op.Want = 3 })},
	{RuleCall, "unknown call", with("seal", func(op *Op) { op.Call.Name = "mount2" })},
	{RuleCall, "an argument less", with("seal", func(op *Op) { op.Call.Args = op.Call.Args[:4] })},
	{RuleCall, "a pointer that is a number", with("seal", func(op *Op) { op.Call.Args[3].Mem = nil })},
	{RuleCall, "a number that is no NULL", with("private", func(op *Op) { op.Call.Args[0].Value = 1 })},
	{RuleCall, "blocked signals", with("reset signals", func(op *Op) { bytesOf(op, 1)[3] = 1 })},
	{RuleCapabilities, "a capability", with("command capset", func(op *Op) { bytesOf(op, 1)[7] = 1 })},
	{RuleCall, "another process's capabilities", with("command capset", func(op *Op) { bytesOf(op, 0)[4] = 1 })},
	{RuleCall, "prctl of something else", instead("init not dumpable", kernel.Prctl(unix.PR_SET_KEEPCAPS, 1))},
	{RuleCall, "dumpable", instead("init not dumpable", kernel.Prctl(unix.PR_SET_DUMPABLE, 1))},
	{RuleCall, "fcntl of something else", with("owner", func(op *Op) { op.Call.Args[1].Value = unix.F_DUPFD })},
	{RuleCall, "descriptors that stay open", with("close rest on exec", func(op *Op) { op.Call.Args[2].Value = 1 })},
	{RuleCall, "a device", with("make null", func(op *Op) { op.Call.Args[2].Value = unix.S_IFCHR | 0o666 })},
	{RuleCall, "attributes removed", with("seal", func(op *Op) { bytesOf(op, 3)[8] = unix.MOUNT_ATTR_NOSUID })},
	{RuleCall, "limits of another process", with("core", func(op *Op) { op.Call.Args[0].Value = 1 })},
	{RuleMemory, "a text without end", with("make usr", func(op *Op) { op.Call.Args[1].Mem = &kernel.Memory{Bytes: []byte("usr")} })},
	{RuleMemory, "before its memory", with("seal", func(op *Op) { op.Call.Args[3].Offset = -1 })},
	{RuleMemory, "behind its memory", with("seal", func(op *Op) { op.Call.Args[3].Offset = 33 })},
	{RuleMemory, "a pointer behind its memory", with("init seccomp", func(op *Op) { op.Call.Args[2].Mem.Refs[0].Offset = 9 })},
	{RuleMemory, "a pointer to behind its memory", with("init seccomp", func(op *Op) { op.Call.Args[2].Mem.Refs[0].ToOffset = 99 })},
	{RuleMemory, "a circle", with("init seccomp", func(op *Op) { op.Call.Args[2].Mem.Refs[0].To = op.Call.Args[2].Mem })},
	{RuleMemory, "a filter that is longer than it is", with("init seccomp", func(op *Op) { bytesOf(op, 2)[0]++ })},
	{RuleMemory, "a result kept behind its memory", with("look 1", func(op *Op) { op.KeepAt = 1 << 20 })},
	{RuleMemory, "a usage behind its memory", with("wait", func(op *Op) { op.Call.Args[3].Offset = 9 })},
	{RuleMemory, "more is written than there is", with("write file", func(op *Op) { op.Call.Args[2].Value, op.Want = 99, 99 })},
	{RuleResult, "a call that must fail", with("init capset", func(op *Op) { op.Want = -int64(unix.EPERM) })},
	{RuleResult, "any result", with("seal", func(op *Op) { op.Any = true })},
	{RuleResult, "a kept result", with("init not dumpable", func(op *Op) { op.Keep, op.KeepAt = NewRecord(Started, 1), 16 })},
	{RuleResult, "another descriptor", with("open usr", func(op *Op) { op.Want++ })},
	{RuleResult, "a part is written", with("write file", func(op *Op) { op.Want-- })},
	{RuleResult, "another process", with("setsid", func(op *Op) { op.Want = 1 })},
	{RuleResult, "another umask", with("command umask", func(op *Op) { op.Want = 0o77 })},
	{RuleTolerance, "no reason", with("make target", func(op *Op) { op.Reason = "" })},
	{RuleTolerance, "no error", with("make target", func(op *Op) { op.Tolerate = nil })},
	{RuleTolerance, "two errors", with("make target", func(op *Op) { op.Tolerate = append(op.Tolerate, unix.EROFS) })},
	{RuleTolerance, "an unsafe error", with("make target", func(op *Op) { op.Tolerate = []unix.Errno{unix.EPERM} })},
	{RuleTolerance, "a call that confines", with("init capset", func(op *Op) { op.Tolerate, op.Reason = []unix.Errno{unix.EPERM}, "why not" })},
	{RuleTolerance, "an error that execvp does not know", with("exec 1", func(op *Op) { op.Tolerate = []unix.Errno{unix.EPERM} })},
	{RuleTolerance, "an execve that nobody reaches", with("exec 1", func(op *Op) { op.Tolerate, op.Reason = nil, "" })},
	{RuleDescriptor, "a closed descriptor", func(p *Program) {
		i := find(p, "write file") + 1 // closes it
		replace(p, i+1, 0, &Op{Process: Init, Label: "new", Call: p.Ops[i].Call})
	}},
	{RuleDescriptor, "a descriptor that was never open", with("seal", func(op *Op) { op.Call.Args[0].Value = 99 })},
	{RuleDescriptor, "a negative descriptor", with("seal", func(op *Op) { op.Call.Args[0].Value = -1 })},
	{RuleDescriptor, "a file that is no mount", with("seal", func(op *Op) { op.Call.Args[0].Value = 0 })},
	{RuleDescriptor, "a write to the command's output", with("write file", func(op *Op) { op.Call.Args[0].Value = 1 })},
	{RuleDescriptor, "the caller tells of maps on stdin", func(p *Program) {
		instead("look", kernel.Read(0, kernel.Zeroed(1)))(p)
		p.Ops[find(p, "look")].Want = 1
	}},
	{RuleStrangers, "strangers stay", without("close strangers")},
	{RuleStrangers, "strangers stay for PID 1", with("close strangers", func(op *Op) { op.Call.Args[0].Value = procFD })},
	{RuleNamespaces, "no user namespace", with("fork init", func(op *Op) { bytesOf(op, 0)[3] &^= unix.CLONE_NEWUSER >> 24 })},
	{RuleNamespaces, "no PID namespace", with("fork init", func(op *Op) { bytesOf(op, 0)[3] &^= unix.CLONE_NEWPID >> 24 })},
	{RuleNamespaces, "shared descriptors", with("fork init", func(op *Op) { bytesOf(op, 0)[1] |= unix.CLONE_FILES >> 8 })},
	{RuleNamespaces, "handlers of the caller", with("fork init", func(op *Op) { bytesOf(op, 0)[4] = 0 })},
	{RuleNamespaces, "signals of the caller", without("reset signals")},
	{RuleNamespaces, "a signal that the caller ignores", without("default 1")},
	{RuleIdentity, "no map", without("write uid_map")},
	{RuleIdentity, "setgroups is not denied", without("write setgroups")},
	{RuleIdentity, "another group map", with("open gid_map", func(op *Op) {
		op.Call = kernel.Openat(unix.AT_FDCWD, "/proc/self/uid_map", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	})},
	{RuleLifeline, "no look", without("look")},
	{RuleLifeline, "no handler", without("handler")},
	{RuleLifeline, "no owner", without("owner")},
	{RuleLifeline, "no signals", without("async")},
	{RuleLifeline, "the look comes first", move("look", "private")},
	{RuleLifeline, "the lifeline is closed", after("unblock the signal", kernel.Close(sampleLifeline))},
	{RuleHostPath, "a file of the host", instead("open gid_map", kernel.Openat(unix.AT_FDCWD, "/etc/shadow", unix.O_WRONLY|unix.O_CLOEXEC, 0))},
	{RuleHostPath, "a file of the host by openat2", instead("open usr", kernel.Openat2(unix.AT_FDCWD, "/usr", ownDir, unix.RESOLVE_NO_SYMLINKS))},
	{RuleHostPath, "a tree by a working directory that is not the caller's", func(p *Program) {
		after("go to root", kernel.OpenTree(unix.AT_FDCWD, "usr"))(p)
		p.Ops[find(p, "new")].Want = contextFD
	}},
	{RuleHostPath, "a directory of the host", after("restrict usr", kernel.Mkdirat(usrFD, "x", 0o755))},
	{RulePath, "a directory by path", instead("make usr", kernel.Mkdirat(unix.AT_FDCWD, "/usr", 0o755))},
	{RulePath, "two components", instead("make usr", kernel.Mkdirat(rootFD, "usr/x", 0o755))},
	{RulePath, "up", instead("make usr", kernel.Mkdirat(rootFD, "..", 0o755))},
	{RulePath, "two components of a link", instead("link", kernel.Symlinkat("/usr/bin", rootFD, "a/bin"))},
	{RulePath, "a file that may be a link", with("create file", func(op *Op) { op.Call.Args[2].Value &^= unix.O_NOFOLLOW })},
	{RulePath, "a file that may exist", with("create file", func(op *Op) { op.Call.Args[2].Value &^= unix.O_EXCL })},
	{RulePath, "no bounds", with("open target", func(op *Op) { bytesOf(op, 2)[16] = 0 })},
	{RulePath, "magic links", with("open target", func(op *Op) { bytesOf(op, 2)[16] = unix.RESOLVE_IN_ROOT })},
	{RulePath, "links out of a directory", with("open target", func(op *Op) { bytesOf(op, 2)[16] = unix.RESOLVE_NO_MAGICLINKS })},
	{RulePath, "up, without links", instead("open target", kernel.Openat2(rootFD, "a/../..", ownDir, unix.RESOLVE_NO_SYMLINKS))},
	{RulePath, "openat2 creates", with("open target", func(op *Op) { bytesOf(op, 2)[0] |= unix.O_CREAT })},
	{RulePath, "a tree by path", instead("open mask", kernel.OpenTree(unix.AT_FDCWD, "/null"))},
	{RulePath, "a tree below a tree of the host", instead("open sys", kernel.OpenTree(usrFD, "sys"))},
	{RulePath, "a place by path", instead("attach usr", kernel.MoveMountAt(usrFD, rootFD, "usr/share"))},
	{RulePath, "a link at the place", with("attach usr", func(op *Op) { op.Call.Args[4].Value |= unix.MOVE_MOUNT_T_SYMLINKS })},
	{RulePath, "another old root", instead("detach", kernel.UmountDetach("/mnt"))},
	{RulePath, "another home", instead("go home", kernel.Chdir("/usr"))},
	{RulePath, "a working directory of the host", with("go to dir", func(op *Op) { op.Call.Args[0].Value = 0 })},
	{RulePath, "PID 1 looks for programs", after("seal", kernel.Faccessat2("/bin/sh"))},
	{RuleRestrict, "setuid programs of the host", without("restrict usr")},
	{RuleRestrict, "devices of the host", with("restrict usr", func(op *Op) { bytesOf(op, 3)[0] = unix.MOUNT_ATTR_NOSUID })},
	{RuleRestrict, "mounts below are not restricted", with("restrict usr", func(op *Op) { op.Call.Args[2].Value = unix.AT_EMPTY_PATH })},
	{RuleRestrict, "a device is not restricted", without("restrict null")},
	{RuleRestrict, "a copy is not restricted", without("restrict sys")},
	{RuleRestrict, "a new file system is not restricted", with("fsmount tmpfs", func(op *Op) { op.Call.Args[2].Value = 0 })},
	{RuleRestrict, "attached twice", after("attach usr", kernel.MoveMountAt(usrFD, rootFD, "usr"))},
	{RuleTmpfs, "no size", without("size")},
	{RuleTmpfs, "no number of files", without("inodes")},
	{RuleTmpfs, "no limit", instead("size", kernel.FsconfigString(contextFD, "size", "0"))},
	{RuleRoot, "mounts propagate", without("private")},
	{RuleRoot, "no new root", without("root on top")},
	{RuleRoot, "another directory", without("go to root")},
	{RuleRoot, "the host's root stays", without("pivot")},
	{RuleRoot, "the host's tree stays", without("detach")},
	{RuleRoot, "something between", move("go home", "pivot")},
	{RuleHostPath, "no way home", without("go home")},
	{RuleRoot, "no look at what is above the root", func(p *Program) { replace(p, find(p, "look above"), 2) }},
	{RuleRoot, "something between the roots", func(p *Program) {
		// The umount after the pivot would take the shelf, and leave the host's root.
		i := find(p, "root on top")
		replace(p, i, 0, &Op{Process: Init, Label: "shelf on top", Call: kernel.MoveMountOnRoot(procFD)})
	}},
	{RuleRoot, "attached too early", move("attach usr", "go to root")},
	{RuleSeal, "a writable root", without("seal")},
	{RuleSeal, "another read-only mount", with("seal", func(op *Op) { op.Call.Args[0].Value = procFD })},
	{RuleSeal, "a writable directory of devices", without("seal dev")},
	{RuleSeal, "another directory is read-only", with("seal dev", func(op *Op) { op.Call.Args[0].Value = procFD })},
	{RuleAttach, "a mount of the host", without("attach usr")},
	{RuleAttach, "a mask", without("attach mask")},
	{RuleAttach, "a read-only cover", without("attach sys")},
	{RuleAttach, "a new file system", without("attach target")},
	{RuleShare, "it is not set", without("set share")},
	{RuleShare, "it is set to nothing", setShare("")},
	{RuleShare, "it is set to no number", setShare("many")},
	{RuleShare, "it is set to less than nothing", setShare("-1")},
	{RuleShare, "it is not decimal for the kernel", setShare("010")},
	{RuleShare, "there is more than a number", setShare("1 2")},
	{RuleShare, "it is the most that there is", setShare("2147483648")},
	{RuleDescriptor, "it is set twice", func(p *Program) {
		i := find(p, "set share")
		replace(p, i+1, 0, p.Ops[i])
	}},
	{RulePath, "another limit", with("open share", func(op *Op) { op.Call.Args[1].Mem.Text = "sys/user/max_user_namespaces" })},
	{RulePath, "what came on top of it", with("open share", func(op *Op) { bytesOf(op, 2)[16] &^= unix.RESOLVE_NO_XDEV })},
	{RulePath, "a limit of another /proc", with("open share", func(op *Op) { op.Call.Args[0].Value = rootFD })},
	{RuleSetup, "what the set-up opened", func(p *Program) {
		after("unblock the signal", kernel.Socket())(p)
		p.Ops[find(p, "new")].Want = 8
	}},
	{RuleDumpable, "dumpable", without("init not dumpable")},
	{RuleDumpable, "dumpable when the command starts", move("init not dumpable", "fork command")},
	{RuleBoundingSet, "one capability", without("drop 21")},
	{RuleBoundingSet, "the last capability", without("drop 40")},
	{RuleNoNewPrivs, "privileges can be gained", without("init no_new_privs")},
	{RuleNoNewPrivs, "too late", move("init no_new_privs", "fork command")},
	{RuleSession, "no session", without("setsid")},
	{RuleCore, "core files", without("core")},
	{RuleCapabilities, "the command's", without("command capset")},
	{RuleCapabilities, "PID 1's", without("init capset")},
	{RuleCapabilities, "PID 1's, before the command starts", move("init capset", "init not dumpable")},
	{RuleFilter, "no filter", without("command seccomp")},
	{RuleFilter, "a call after the filter", move("command capset", "command seccomp")},
	{RuleFilter, "two filters", after("command seccomp", kernel.Seccomp(make([]byte, 8)))},
	{RuleLow, "a low path without more", with("exec 1", func(op *Op) { op.Call.Args[0].Mem.Low = true })},
	{RuleExec, "the last execve tolerates", func(p *Program) {
		op := p.Ops[find(p, "exec 2")]
		op.Tolerate, op.Reason = []unix.Errno{unix.ENOENT}, "why not"
	}},
	{RulePayload, "the report stays open", with("close rest on exec", func(op *Op) { op.Call.Args[0].Value++ })},
	{RulePayload, "everything stays open", without("close rest on exec")},
	{RulePayload, "a hole stays open", func(p *Program) { p.Payload = []int{0, 2} }},
	{RulePayload, "an output is closed on exec", after("close rest on exec", kernel.SetCloseOnExec(2))},
	{RulePayload, "PID 1 keeps the streams", without("leave streams")},
	{RuleInitFilter, "no filter", without("init seccomp")},
	{RuleInitFilter, "before the command starts", move("init seccomp", "init not dumpable")},
	{RuleInitFilter, "a call after the filter", move("leave streams", "init seccomp")},
	{RuleReport, "the start is not told", without("tell start")},
	{RuleReport, "the end is not told", without("tell end")},
	{RuleUntil, "no wait", without("wait")},
	{RuleUntil, "what is left is not killed", without("kill")},
	{RuleUntil, "PID 2 is killed", move("wait", "kill")},
	{RuleCall, "one process is killed", with("kill", func(op *Op) { op.Call.Args[0].Value = 3 })},
	{RuleReport, "what is left is not waited for", without("empty")},
	{RuleReport, "the end of PID 2 is overwritten", func(p *Program) {
		p.Ops[find(p, "empty")].Call = p.Ops[find(p, "wait")].Call
	}},
	{RuleReport, "another end is told", with("tell end", func(op *Op) { op.Call.Args[1].Mem = NewRecord(Ended, 0) })},
	{RuleReport, "another descriptor is sent", with("tell start", func(op *Op) { op.Call.Args[1].Mem.Refs[1].To.Bytes[16] = 1 })},
	{RuleReport, "to somebody else", with("tell start", func(op *Op) { op.Call.Args[0].Value = 5 })},
	{RuleStub, "PID 1 is not told", without("tell init")},
	{RuleStub, "no PID 1", without("fork init", "tell init")},
}

// Every rule is broken by something, and nothing else is found broken first.
func TestCheckFindsBrokenRules(t *testing.T) {
	for _, b := range slices.Concat(breaks, witnessBreaks) {
		t.Run(string(b.rule)+": "+b.what, func(t *testing.T) {
			p := sample()
			b.apply(p)
			var f *Fault
			if err := Check(p); !errors.As(err, &f) {
				t.Fatalf("Check: %v, want a fault", err)
			} else if f.Rule != b.rule {
				t.Fatalf("Check: %v\nwant the rule %q", err, b.rule)
			}
			if f.Index >= 0 && f.Label != "" && !strings.Contains(f.Error(), f.Label) {
				t.Errorf("%q does not name the step %q", f, f.Label)
			}
		})
	}
}

func TestCheckFindsBrokenRulesOfACaller(t *testing.T) {
	for _, b := range []struct {
		rule Rule
		edit edit
	}{
		{RuleIdentity, without("wait for maps")},
		{RuleIdentity, without("init setgroups")},
		{RuleIdentity, without("init setresgid")},
		{RuleIdentity, without("init setresuid")},
		{RuleIdentity, move("init setresuid", "async")},
		{RuleIdentity, instead("init setgroups", kernel.Setgroups([]int{0}))},
		{RuleIdentity, with("init setresuid", func(op *Op) { op.Call.Args[2].Value = 0 })},
	} {
		p := sampleByCaller()
		b.edit(p)
		var f *Fault
		if err := Check(p); !errors.As(err, &f) || f.Rule != b.rule {
			t.Errorf("Check: %v, want the rule %q", err, b.rule)
		}
	}
}

// A change of IDs undoes two things: the owner of the lifeline's signals, and that PID 1 is not dumpable.
func TestCheckFindsWhatAChangeOfIDsUndoes(t *testing.T) {
	for _, b := range []struct {
		rule Rule
		edit edit
	}{
		{RuleLifeline, without("late owner")},
		{RuleLifeline, without("late look")},
		{RuleLifeline, move("late look", "fork command")},
		{RuleDumpable, without("late not dumpable")},
		{RuleDumpable, without("command not dumpable")},
		{RuleDumpable, move("late not dumpable", "fork command")},
		{RuleDumpable, without("late not dumpable", "late setresuid", "late owner", "late look", "witness setresuid")},
		{RuleDumpable, move("init not dumpable", "wait for maps")},
		{RuleIdentity, move("late setresuid", "init capset")},
		{RuleWitness, without("witness setresuid")},
		{RuleDumpable, move("meet witness", "late not dumpable")},
		{RuleIdentity, with("command setresgid", func(op *Op) { op.Call.Args[1].Value = 0 })},
	} {
		p := sampleOtherUser()
		b.edit(p)
		var f *Fault
		if err := Check(p); !errors.As(err, &f) || f.Rule != b.rule {
			t.Errorf("Check: %v, want the rule %q", err, b.rule)
		}
	}
}

func TestGroupsThatCannotBeLeftAreKept(t *testing.T) {
	p := sampleByCaller()
	p.KeepsGroups = true
	without("init setgroups")(p)
	if err := Check(p); err != nil {
		t.Error(err)
	}
}

// A rule that nothing breaks is one that nothing shows to be held.
func TestEveryRuleIsBroken(t *testing.T) {
	src, err := os.ReadFile("check_rules.go")
	if err != nil {
		t.Fatal(err)
	}
	broken := map[Rule]bool{}
	for _, b := range slices.Concat(breaks, witnessBreaks, terminalBreaks, keeperBreaks, joinerBreaks, inboxBreaks, bareBreaks) {
		broken[b.rule] = true
	}
	rules := regexp.MustCompile(`(?m)^\t(Rule\w+) +Rule = "(.*)"$`).FindAllSubmatch(src, -1)
	if len(rules) < 20 {
		t.Fatalf("%d rules found", len(rules))
	}
	for _, r := range rules {
		if !broken[Rule(r[2])] {
			t.Errorf("nothing breaks %s", r[1])
		}
	}
}
