//go:build linux

package plan

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// withoutWitness takes the thread away, and the filter that would be its too.
func withoutWitness(p *Program) {
	i := find(p, "witness capset")
	replace(p, i, find(p, "end witness")-i+1)
	without("fork witness", "meet witness", "let witness go")(p)
	p.Ops[find(p, "init seccomp")].Call.Args[1].Value = 0
}

// beforeWitness puts a call in front of those of the witness.
func beforeWitness(call kernel.Call) edit {
	return func(p *Program) {
		replace(p, find(p, "witness capset"), 0, &Op{Process: Witness, Label: "new", Call: call})
	}
}

var witnessBreaks = []breach{
	{RuleListener, "an output is closed", after("close rest on exec", kernel.Close(2))},
	{RuleListener, "the command closes what PID 1 needs", with("close rest on exec", func(op *Op) {
		op.Call = kernel.CloseRange(sampleLifeline, kernel.LastDescriptor)
	})},
	{RuleListener, "the command leaves something open", func(p *Program) { replace(p, find(p, "go to dir")+1, 1) }},
	{RuleListener, "no listener", with("command seccomp", func(op *Op) { op.Call.Args[1].Value, op.Want = 0, 0 })},
	{RuleListener, "the witness has no filter", with("init seccomp", func(op *Op) { op.Call.Args[1].Value = 0 })},
	{RuleWitness, "no witness", withoutWitness},
	{RuleWitness, "signals may interrupt it", without("block the signal")},
	{RuleLifeline, "signals stay blocked", without("unblock the signal")},
	{RuleWitness, "the witness lets signals through", beforeWitness(kernel.SetSignalMask())},
	{RuleWitness, "a filter of the witness's own", beforeWitness(kernel.Seccomp(make([]byte, 8)))},
	{RuleCall, "every signal is blocked", with("block the signal", func(op *Op) { copy(bytesOf(op, 1), "\xff\xff\xff\xff\xff\xff\xff\xff") })},
	{RuleWitness, "a process", with("fork witness", func(op *Op) { bytesOf(op, 0)[1] &^= unix.CLONE_SIGHAND >> 8 })},
	{RuleWitness, "a call of the witness", after("receive", kernel.Umask(0))},
	{RuleWitness, "it is not received", without("receive")},
	{RuleWitness, "the witness keeps its capabilities", without("witness capset")},
	{RuleWitness, "PID 1 does not wait for it", without("meet witness")},
	{RuleWitness, "it does not say that it is ready", without("witness ready")},
	{RuleWitness, "it does not wait for PID 1", without("witness waits")},
	{RuleWitness, "it waits for ever", without("let witness go")},
	{RuleInitFilter, "it begins before the filter", move("let witness go", "leave streams")},
	{RuleWitness, "it waits for itself", with("witness waits", func(op *Op) { op.Call.Args[0].Value-- })},
	{RuleWitness, "another word", with("let witness go", func(op *Op) { bytesOf(op, 1)[0] = 0 })},
	{RuleWitness, "it may take the command's ID", with("fork witness", func(op *Op) { op.Call.Args[1].Value = 64 })},
	{RuleWitness, "another ID", with("fork witness", func(op *Op) { op.Call.Args[0].Mem.Refs[1].To.Bytes[0] = 2 })},
	{RuleCall, "a counter of another kind", with("open ready", func(op *Op) { op.Call.Args[0].Value = 1 })},
	{RuleWitness, "what stops it for a while ends it", with("receive", func(op *Op) { op.Retry = false })},
	{RuleWitness, "something else is received", with("receive", func(op *Op) { op.Call.Args[1].Value = unix.SECCOMP_IOCTL_NOTIF_SEND })},
	{RuleWitness, "what is received is not told", with("receive", func(op *Op) { op.Call.Args[2].Mem = NewRecord(Ended, 0) })},
	{RuleWitness, "a call that was given up ends the sandbox", with("receive", func(op *Op) { op.Tolerate, op.Reason = nil, "" })},
	{RuleWitness, "the end is taken for a call", without("look for hang-up")},
	{RuleWitness, "it looks at something else", with("look for hang-up", func(op *Op) { op.Call.Args[0].Mem.Bytes[0]++ })},
	{RuleWitness, "what it sees is not told", with("look for hang-up", func(op *Op) { op.Keep = NewRecord(Ended, 0) })},
	{RuleWitness, "nothing is killed", without("kill everything")},
	{RuleFlow, "the witness does not end", without("end witness")},
	{RuleWitness, "the witness ends all", with("end witness", func(op *Op) { op.Call = kernel.Exit(0) })},
}

// Who has no listener shares nothing, and has no witness.
func TestCheckFindsAListenerThatIsNone(t *testing.T) {
	for _, b := range []struct {
		rule Rule
		edit edit
	}{
		{RuleWitness, with("fork command", func(op *Op) { bytesOf(op, 0)[1] |= unix.CLONE_FILES >> 8 })},
		{RuleListener, with("command seccomp", func(op *Op) { op.Call.Args[1].Value = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER })},
		{RuleCall, after("init capset", kernel.BlockSignal(unix.SIGIO))},
	} {
		p := sampleDeaf()
		b.edit(p)
		var f *Fault
		if err := Check(p); !errors.As(err, &f) || f.Rule != b.rule {
			t.Errorf("Check: %v, want the rule %q", err, b.rule)
		}
	}
}

// The caller hears the listener if it is handed over, and then nobody else.
func TestAListenerMayBeHandedOver(t *testing.T) {
	p := sample()
	withoutWitness(p)
	without("block the signal", "unblock the signal")(p)
	p.Ops[find(p, "init seccomp")].Call.Args[1].Value = 0
	tell := p.Ops[find(p, "tell start")]
	tell.Call = kernel.SendFDs(sampleReport, tell.Call.Args[1].Mem.Refs[0].To.Refs[0].To, "started", 5, 8)
	if err := Check(p); err != nil {
		t.Error(err)
	}
	p = sample()
	p.Ops[find(p, "tell start")].Call = tell.Call
	var f *Fault
	if err := Check(p); !errors.As(err, &f) || f.Rule != RuleWitness {
		t.Errorf("two that hear: %v", err)
	}
}
