//go:build linux

package plan

import (
	"errors"
	"fmt"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// sampleKeeper is sample without a command.
func sampleKeeper() *Program {
	p := sampleDeaf()
	p.Keeps = true
	started := NewRecord(Started, 0)
	// The command's ops, and what PID 1 does for its sake.
	p.Ops = p.Ops[:find(p, "setsid")]
	first := find(p, "open proc to watch")
	p.Ops = p.Ops[:first]
	b := &Builder{process: Init, fds: descriptors{}}
	for fd := range 7 {
		b.fds[fd] = true
	}
	root := b.Open("open root", kernel.Openat2(unix.AT_FDCWD, "/", ownDir, unix.RESOLVE_NO_SYMLINKS))
	b.CloseBelow("leave streams", sampleReport)
	b.Call("ignore children", kernel.IgnoreSignal(unix.SIGCHLD))
	b.Call("init capset", kernel.Capset())
	b.Call("init seccomp", kernel.Seccomp(make([]byte, 8)))
	b.Call("tell start", kernel.SendFDs(sampleReport, started, "started", 5, 6, root)).Returns(int64(len(started.Bytes)))
	b.CloseFrom("close what was sent", sampleLifeline+1)
	b.Call("keep", kernel.AwaitHangUp(sampleLifeline)).Returns(1).Again()
	b.Call("end init", kernel.Exit(0))
	p.Ops = append(p.Ops, b.ops...)
	with("close set-up", func(op *Op) { op.Call = kernel.CloseRange(7, kernel.LastDescriptor) })(p)
	n := &Builder{process: Init, fds: descriptors{0: true, 1: true, 2: true, 3: true, 4: true}}
	n.Open("open user", kernel.Openat(unix.AT_FDCWD, kernel.NamespaceFile("user"), unix.O_RDONLY|unix.O_CLOEXEC, 0))
	n.Open("open mnt", kernel.Openat(unix.AT_FDCWD, kernel.NamespaceFile("mnt"), unix.O_RDONLY|unix.O_CLOEXEC, 0))
	at := find(p, "private")
	replace(p, at, 0, n.ops...)
	// What the set-up opens has descriptors two higher.
	for _, op := range p.Ops[at+2 : find(p, "open root")] {
		if op.Label != "close set-up" {
			shift(op, 5)
			shift(op, 5)
		}
	}
	return p
}

// The descriptors of sampleJoiner: those of sample, then the namespaces.
const joinedUser, joinedMount, joinedPID = 5, 6, 7

func sampleJoiner() *Program {
	started, ended := NewRecord(Started, 2), NewRecord(Waited, 0)
	b := NewJoiner(8)
	b.CloseFrom("close strangers", 8)
	b.Call("reset signals", kernel.SetSignalMask())
	for sig := unix.Signal(1); sig <= kernel.LastSignal; sig++ {
		if sig != unix.SIGKILL && sig != unix.SIGSTOP {
			b.Call("default "+strconv.Itoa(int(sig)), kernel.ResetSignal(sig, kernel.Zeroed(kernel.SizeofSigaction)))
		}
	}
	b.Call("umask", kernel.Umask(0)).ReturnsAny()
	b.Call("not dumpable", kernel.Prctl(unix.PR_SET_DUMPABLE, 0))
	b.Call("enter user", kernel.Setns(joinedUser, unix.CLONE_NEWUSER))
	b.Call("setgroups", kernel.Setgroups(nil))
	b.Call("setresgid", kernel.Setresgid(1))
	b.Call("setresuid", kernel.Setresuid(1))
	b.Call("still not dumpable", kernel.Prctl(unix.PR_SET_DUMPABLE, 0))
	b.Call("enter mnt", kernel.Setns(joinedMount, unix.CLONE_NEWNS))
	b.Call("enter pid", kernel.Setns(joinedPID, unix.CLONE_NEWPID))
	b.Close(joinedUser, joinedMount, joinedPID)
	for i := range unix.CAP_LAST_CAP + 1 {
		b.Call(fmt.Sprintf("drop %d", i), kernel.Prctl(unix.PR_CAPBSET_DROP, i))
	}
	b.Call("no_new_privs", kernel.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1))
	watched := b.ForkWatched("fork command", unix.CLONE_VM|unix.CLONE_VFORK|unix.CLONE_CLEAR_SIGHAND|unix.CLONE_FILES, started, Command, func(b *Builder) {
		sampleCommand(b, started, true, false)
	})
	b.CloseBelow("leave streams", sampleReport)
	b.Call("joiner capset", kernel.Capset())
	b.Call("joiner seccomp", kernel.Seccomp(make([]byte, 8)))
	b.Call("tell start", kernel.SendFDs(sampleReport, started, "started", watched, watched+1)).Returns(int64(len(started.Bytes))).Tolerates("it may have failed before it had a listener", unix.EBADF)
	b.Call("wait", kernel.Waitid(watched, ended, RecordInfo, RecordSpent))
	b.Call("tell end", kernel.Write(sampleReport, ended, "ended")).Returns(int64(len(ended.Bytes)))
	b.Until("reap", kernel.Wait4(NewRecord(Ended, 0), RecordStatus, RecordUsage), -int64(unix.ECHILD))
	b.Call("end joiner", kernel.Exit(0))
	p := &Program{Arch: kernel.AMD64, Ops: b.Program(), Inherited: 8, Payload: []int{0, 1, 2}, Report: sampleReport, Lifeline: sampleLifeline,
		Joins: []Namespace{{joinedUser, unix.CLONE_NEWUSER}, {joinedMount, unix.CLONE_NEWNS}, {joinedPID, unix.CLONE_NEWPID}}}
	with("setsid", func(op *Op) { op.ReturnsAny().Want = 0 })(p)
	c := &Builder{process: Command, fds: descriptors{}}
	c.Call("follow", kernel.Prctl(unix.PR_SET_PDEATHSIG, int(unix.SIGKILL)))
	c.Call("look at lifeline", kernel.LookForHangUp(sampleLifeline))
	replace(p, find(p, "go to dir")+2, 0, c.ops...)
	return p
}

func TestSamplesOfALivingSandboxAreValid(t *testing.T) {
	for name, p := range map[string]*Program{"keeper": sampleKeeper(), "joiner": sampleJoiner()} {
		if err := Check(p); err != nil {
			t.Errorf("%s: %v\n%s", name, err, p)
		}
	}
}

var keeperBreaks = []breach{
	{RuleKeeper, "without ignore children", without("ignore children")},
	{RuleKeeper, "without close what was sent", without("close what was sent")},
	{RuleKeeper, "without leave streams", without("leave streams")},
	{RuleKeeper, "with keep", with("keep", func(op *Op) { op.Retry = false })},
	{RuleKeeper, "with keep", with("keep", func(op *Op) { op.Call.Args[2] = kernel.Arg{Mem: kernel.Zeroed(16)} })},
	{RuleKeeper, "without keep", without("keep")},
	{RuleResult, "after keep", after("keep", kernel.AwaitHangUp(sampleLifeline))},
	{RuleResult, "with keep", with("keep", func(op *Op) { op.Want = 0 })},
	{RuleCall, "with keep", with("keep", func(op *Op) { op.Call = kernel.AwaitHangUp(sampleReport); op.Want = 1 })},
	{RuleCall, "with ignore children", with("ignore children", func(op *Op) { bytesOf(op, 1)[0] = 2 })},
	{RuleCapabilities, "without init capset", without("init capset")},
	{RuleInitFilter, "without init seccomp", without("init seccomp")},
	{RuleInitFilter, "move ignore children, init seccomp", move("ignore children", "init seccomp")},
	{RuleReport, "without tell start", without("tell start")},
	{RuleDumpable, "without init not dumpable", without("init not dumpable")},
	{RuleNoNewPrivs, "without init no_new_privs", without("init no_new_privs")},
	{RuleBoundingSet, "without drop 7", without("drop 7")},
	{RuleSeal, "without seal", without("seal")},
	{RuleLifeline, "without look", without("look")},
	{RuleHostPath, "with open mnt", with("open mnt", func(op *Op) {
		op.Call = kernel.Openat(unix.AT_FDCWD, "/proc/1/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	})},
	{RuleHostPath, "a program that keeps nothing", func(p *Program) { p.Keeps = false }},
}

var joinerBreaks = []breach{
	{RuleJoin, "without enter pid", without("enter pid")},
	{RuleIdentity, "without enter user", without("enter user")},
	{RuleIdentity, "move enter user, enter mnt", move("enter user", "enter mnt")},
	{RuleJoin, "move enter mnt, enter user", move("enter mnt", "enter user")}, // as the caller
	{RuleJoin, "with enter pid", with("enter pid", func(op *Op) { op.Call = kernel.Setns(joinedMount, unix.CLONE_NEWPID) })},
	{RuleJoin, "no PID namespace", func(p *Program) { p.Joins = p.Joins[:2] }},
	{RuleJoin, "one descriptor twice", func(p *Program) { p.Joins[1].FD = joinedUser }},
	{RuleJoin, "the report as one", func(p *Program) { p.Joins[1].FD = sampleReport }},
	{RuleJoin, "one that was not handed in", func(p *Program) { p.Joins[1].FD = 8 }},
	{RuleJoin, "one kind twice", func(p *Program) { p.Joins[1].Kind = unix.CLONE_NEWUSER }},
	{RuleJoin, "no namespace", func(p *Program) { p.Joins[1].Kind = unix.CLONE_VM }},
	{RuleTerminal, "a terminal by the report", func(p *Program) { p.Terminal, p.Terminals = true, sampleReport }},
	{RuleTerminal, "a terminal that nobody makes", func(p *Program) {
		p.Terminal, p.Terminals, p.Inherited = true, 8, 9
		with("close strangers", func(op *Op) { op.Call = kernel.CloseRange(9, kernel.LastDescriptor) })(p)
		replace(p, find(p, "enter pid")+1, 0, &Op{Process: Joiner, Label: "leave devpts", Call: kernel.Close(8)})
	}},
	{RuleJoin, "it joins and keeps", func(p *Program) { p.Keeps = true }},
	{RuleIdentity, "move enter user, drop 0", move("enter user", "drop 0")},
	{RuleJoin, "without close what is done with", without("close what is done with")}, // the first of the three: its namespace stays open
	{RuleDumpable, "without not dumpable", without("not dumpable")},
	{RuleDumpable, "without still not dumpable", without("still not dumpable")},
	{RuleStrangers, "without close strangers", without("close strangers")},
	{RuleNamespaces, "without reset signals", without("reset signals")},
	{RuleNamespaces, "without default 17", without("default 17")},
	{RuleIdentity, "without setgroups", without("setgroups")},
	{RuleJoin, "move setresuid, wait", move("setresuid", "wait")},
	{RuleBoundingSet, "without drop 7", without("drop 7")},
	{RuleNoNewPrivs, "without no_new_privs", without("no_new_privs")},
	{RuleOrphan, "without follow", without("follow")},
	{RuleOrphan, "without look at lifeline", without("look at lifeline")},
	{RuleOrphan, "move follow, look at lifeline", move("follow", "look at lifeline")},
	{RuleCapabilities, "without joiner capset", without("joiner capset")},
	{RuleInitFilter, "without joiner seccomp", without("joiner seccomp")},
	{RuleInitFilter, "after joiner seccomp", after("joiner seccomp", kernel.KillAll())},
	{RulePayload, "without leave streams", without("leave streams")},
	{RuleReport, "without tell start", without("tell start")},
	{RuleReport, "without wait", without("wait")},
	{RuleUntil, "without tell end", without("tell end")},
	{RuleReport, "without reap", without("reap")},
	{RuleUntil, "it waits for another", with("wait", func(op *Op) { op.Call.Args[1].Value = 3 })},
	{RuleUntil, "it waits for any child", with("wait", func(op *Op) { op.Call.Args[0].Value = unix.P_ALL })},
	{RuleUntil, "it waits for a stop", with("wait", func(op *Op) { op.Call.Args[3].Value = unix.WSTOPPED })},
	{RuleMemory, "a usage beyond the record", with("wait", func(op *Op) { op.Call.Args[4].Offset += 8 })},
	{RuleFlow, "nobody watches the command", with("fork command", func(op *Op) {
		op.Call = kernel.Clone3(unix.CLONE_VM|unix.CLONE_VFORK|unix.CLONE_CLEAR_SIGHAND|unix.CLONE_FILES, NewRecord(Started, 2), RecordPID)
	})},
	{RuleWitness, "with tell start", with("tell start", func(op *Op) {
		op.Call = kernel.Write(sampleReport, op.Call.Args[1].Mem.Refs[0].To.Refs[0].To, "started")
		op.Tolerate, op.Reason = nil, ""
	})},
}

func TestBrokenProgramsOfALivingSandbox(t *testing.T) {
	for _, b := range keeperBreaks {
		p := sampleKeeper()
		b.apply(p)
		var f *Fault
		if err := Check(p); !errors.As(err, &f) || f.Rule != b.rule {
			t.Errorf("keeper, %s: %v, want the rule %q", b.what, err, b.rule)
		}
	}
	for _, b := range joinerBreaks {
		p := sampleJoiner()
		b.apply(p)
		var f *Fault
		if err := Check(p); !errors.As(err, &f) || f.Rule != b.rule {
			t.Errorf("joiner, %s: %v, want the rule %q", b.what, err, b.rule)
		}
	}
}
