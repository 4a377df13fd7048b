//go:build linux

package plan

import (
	"errors"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// sampleBare is a small program without namespaces, of a caller who is root.
func sampleBare() *Program {
	cloned, started, ended := NewRecord(Cloned, 0), NewRecord(Started, 2), NewRecord(Waited, 0)
	const arch = kernel.AMD64
	const rein, hold, watched = 6, 7, 8
	b := NewBuilder(5)
	b.CloseFrom("close strangers", 5)
	b.Call("reset signals", kernel.SetSignalMask())
	for sig := unix.Signal(1); sig <= kernel.LastSignal; sig++ {
		if sig != unix.SIGKILL && sig != unix.SIGSTOP {
			b.Call("default "+strconv.Itoa(int(sig)), kernel.ResetSignal(sig, kernel.Zeroed(kernel.SizeofSigaction)))
		}
	}
	b.Clone("fork reaper", unix.CLONE_PARENT, arch, cloned, Reaper, func(b *Builder) {
		b.Call("setgroups", kernel.Setgroups(nil))
		b.Call("setresgid", kernel.Setresgid(1000))
		b.Call("setresuid", kernel.Setresuid(1000))
		b.Call("no_new_privs", kernel.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1))
		b.Call("capset", kernel.Capset())
		b.Call("not dumpable", kernel.Prctl(unix.PR_SET_DUMPABLE, 0))
		b.Call("subreaper", kernel.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1))
		rules := b.Open("ruleset", kernel.LandlockCreateRuleset(kernel.Ruleset{FS: firstFS}))
		fd := b.Open("open usr", kernel.Openat(unix.AT_FDCWD, "/usr", unix.O_PATH|unix.O_CLOEXEC, 0))
		b.Call("allow usr", kernel.LandlockAllow(rules, fd, unix.LANDLOCK_ACCESS_FS_READ_FILE))
		b.Close(fd)
		b.Pipe("pipe")
		b.Clone("fork guard", 0, arch, nil, Guard, func(b *Builder) {
			b.Call("guard follows", kernel.Prctl(unix.PR_SET_PDEATHSIG, int(unix.SIGKILL)))
			b.CloneWatched("fork command", arch, started, Command, func(b *Builder) {
				b.Call("setsid", kernel.Setsid()).ReturnsAny()
				for _, fd := range []int{rein, sampleLifeline} {
					name := map[int]string{rein: "rein", sampleLifeline: "lifeline"}[fd]
					b.Call(name+" owner", kernel.SetOwnerOf(fd, started, RecordOwner))
					b.Call(name+" signal", kernel.SetSignal(fd, unix.SIGKILL))
					b.Call(name+" async", kernel.SetAsync(fd))
				}
				b.Call("command follows", kernel.Prctl(unix.PR_SET_PDEATHSIG, int(unix.SIGKILL)))
				b.Call("look", kernel.Read(sampleLifeline, kernel.Zeroed(1))).Fails(unix.EAGAIN)
				b.Call("core", kernel.Prlimit(unix.RLIMIT_CORE, "RLIMIT_CORE", 0, 0))
				dir := b.Open("open dir", kernel.Openat2(unix.AT_FDCWD, "/", ownDir, unix.RESOLVE_NO_MAGICLINKS))
				b.Call("go to dir", kernel.Fchdir(dir))
				b.Close(dir)
				b.Call("look 1", kernel.Faccessat2("/bin/sh")).Keeps(started, RecordNotes)
				b.OnExec("close rest on exec", sampleReport)
				b.Call("restrict", kernel.LandlockRestrictSelf(rules))
				b.Call("wall", kernel.Seccomp(make([]byte, 8)))
				argv := kernel.Strings([]string{"sh"})
				b.Call("exec 1", kernel.Execve("/bin/sh", argv, argv)).Tolerates("goes on", unix.ENOENT)
				b.Call("exec 2", kernel.Execve("/usr/bin/sh", argv, argv))
			})
			b.CloseBelow("guard leaves streams", sampleReport)
			b.Call("guard drops ruleset", kernel.Close(rules))
			b.Call("guard seccomp", kernel.Seccomp(make([]byte, 8)))
			b.Call("tell start", kernel.Write(sampleReport, started, "started")).Returns(int64(len(started.Bytes)))
			b.Call("wait", kernel.WaitidKeeping(watched, ended, RecordInfo, RecordSpent))
			b.Call("tell end", kernel.Write(sampleReport, ended, "ended")).Returns(int64(len(ended.Bytes)))
			b.Call("end guard", kernel.Exit(0))
		})
		b.Call("reaper drops hold", kernel.Close(hold))
		b.Call("reaper drops ruleset", kernel.Close(rules))
		b.CloseBelow("reaper leaves streams", sampleReport)
		b.Call("reaper seccomp", kernel.Seccomp(make([]byte, 8)))
		left := NewRecord(Ended, 0)
		b.Until("empty", kernel.Wait4(left, RecordStatus, RecordUsage), -int64(unix.ECHILD))
		b.Call("end reaper", kernel.Exit(0))
	})
	b.Call("tell reaper", kernel.Write(sampleReport, cloned, "cloned")).Returns(int64(len(cloned.Bytes)))
	b.Call("end stub", kernel.Exit(0))
	return &Program{Arch: arch, Ops: b.Program(), Inherited: 5, Payload: []int{0, 1, 2}, Report: sampleReport, Lifeline: sampleLifeline, Bare: true, TakesIDs: true, Filters: 1}
}

// bareBreaks break the rules of programs without namespaces.
var bareBreaks = []breach{
	{RuleBare, "what takes namespaces", func(p *Program) { p.Keeps = true }},
	{RuleBare, "a mount", after("subreaper", kernel.Chdir("/"))},
	{RuleBare, "a call of another process", after("guard follows", kernel.Setsid())},
	{RuleIdentity, "the caller's groups", without("setgroups")},
	{RuleIdentity, "the caller's ID", without("setresuid")},
	{RuleNoNewPrivs, "privileges can be gained", without("no_new_privs")},
	{RuleCapabilities, "capabilities", without("capset")},
	{RuleDumpable, "dumpable", without("not dumpable")},
	{RuleDumpable, "dumpable by a change of ID", move("not dumpable", "setgroups")},
	{RuleGroup, "orphans are the host's", without("subreaper")},
	{RuleLandlock, "it handles less", with("ruleset", func(op *Op) { op.Call.Args[0].Mem.Bytes[0] &^= unix.LANDLOCK_ACCESS_FS_WRITE_FILE })},
	{RuleLandlock, "it allows what is not handled", with("allow usr", func(op *Op) { op.Call.Args[2].Mem.Bytes[1] = 0x80 })},
	{RuleLandlock, "it allows a descriptor of the caller's", with("allow usr", func(op *Op) { op.Call.Args[2].Mem.Bytes[8] = 1 })},
	{RulePath, "a link is followed", with("open usr", func(op *Op) { op.Call = kernel.Openat2(unix.AT_FDCWD, "/usr", unix.O_PATH|unix.O_CLOEXEC, 0) })},
	{RuleLandlock, "it does not restrict", without("restrict")},
	{RuleLandlock, "a call comes after it", move("core", "restrict")},
	{RuleGroup, "the guard outlives the reaper", without("guard follows")},
	{RuleLifeline, "the command outlives the guard", without("command follows")},
	{RuleGroup, "no session", without("setsid")},
	{RuleGroup, "another signal", with("rein signal", func(op *Op) { op.Call.Args[2].Value = int64(unix.SIGTERM) })},
	{RuleGroup, "the group of somebody else", with("lifeline owner", func(op *Op) { op.Call.Args[2].Mem = NewRecord(Started, 2) })},
	{RuleReport, "another start", with("tell start", func(op *Op) { op.Call.Args[1].Mem = NewRecord(Started, 2) })},
	{RuleBare, "a descriptor is sent", with("tell start", func(op *Op) { op.Call = kernel.SendFDs(sampleReport, NewRecord(Started, 2), "started", 8) })},
	{RuleUntil, "the ID may be another's", with("wait", func(op *Op) { op.Call.Args[3].Value = unix.WEXITED })},
	{RuleLifeline, "the guard's end kills nobody", without("rein async")},
	{RuleGroup, "the caller may be gone", without("look")},
	{RuleGroup, "the reaper holds the group too", without("reaper drops hold")},
	{RuleGroup, "the guard keeps one end", after("guard seccomp", kernel.Close(6))},
	{RuleGroup, "no ID", with("fork command", func(op *Op) { op.Call.Args[3] = kernel.Arg{} })},
	{RuleFlow, "other flags", with("fork guard", func(op *Op) { op.Call.Args[0].Value |= unix.CLONE_VM })},
	{RuleFilter, "no filter", without("wall")},
	{RulePath, "the caller's directory", without("go to dir")},
	{RuleCore, "core files", without("core")},
	{RulePayload, "the guard keeps the streams", without("guard leaves streams")},
	{RulePayload, "everything stays open", without("close rest on exec")},
	{RuleUntil, "no wait for the last", with("empty", func(op *Op) { op.Want = 2 })},
	{RuleReport, "the end is not waited for", without("wait")},
}

func TestCheckFindsBrokenRulesWithoutNamespaces(t *testing.T) {
	if err := Check(sampleBare()); err != nil {
		t.Fatal(err)
	}
	for _, b := range bareBreaks {
		t.Run(string(b.rule)+": "+b.what, func(t *testing.T) {
			p := sampleBare()
			b.apply(p)
			var f *Fault
			if err := Check(p); !errors.As(err, &f) {
				t.Errorf("Check: %v, want a fault", err)
			} else if f.Rule != b.rule {
				t.Errorf("Check: %v\nwant the rule %q", err, b.rule)
			}
		})
	}
}
