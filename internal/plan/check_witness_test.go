//go:build linux

package plan

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

var witnessBreaks = []breach{
	{RuleListener, "an output is closed", after("close rest on exec", kernel.Close(2))},
	{RuleListener, "the command closes what PID 1 needs", with("close rest on exec", func(op *Op) {
		op.Call = kernel.CloseRange(sampleLifeline, kernel.LastDescriptor)
	})},
	{RuleListener, "the command leaves something open", func(p *Program) { replace(p, find(p, "go to dir")+1, 1) }},
	{RuleListener, "no listener", with("command seccomp", func(op *Op) { op.Call.Args[1].Value, op.Want = 0, 0 })},
	{RuleWitness, "no witness", func(p *Program) {
		i := find(p, "witness seccomp")
		replace(p, i, len(p.Ops)-i)
		without("block the signal", "fork witness", "unblock the signal")(p)
	}},
	{RuleWitness, "signals may interrupt it", without("block the signal")},
	{RuleLifeline, "signals stay blocked", without("unblock the signal")},
	{RuleWitness, "the witness lets signals through", func(p *Program) {
		replace(p, find(p, "witness seccomp"), 0, &Op{Process: Witness, Label: "new", Call: kernel.SetSignalMask()})
	}},
	{RuleCall, "every signal is blocked", with("block the signal", func(op *Op) { copy(bytesOf(op, 1), "\xff\xff\xff\xff\xff\xff\xff\xff") })},
	{RuleWitness, "a process", with("fork witness", func(op *Op) { bytesOf(op, 0)[2] &^= unix.CLONE_THREAD >> 16 })},
	{RuleWitness, "the witness has no filter", func(p *Program) {
		without("witness seccomp")(p)
		p.Ops[find(p, "fork witness")].Child = find(p, "receive")
	}},
	{RuleWitness, "a call of the witness", after("witness seccomp", kernel.Umask(0))},
	{RuleWitness, "it is not received", without("receive")},
	{RuleWitness, "something else is received", with("receive", func(op *Op) { op.Call.Args[1].Value = unix.SECCOMP_IOCTL_NOTIF_SEND })},
	{RuleWitness, "a call that was given up ends the sandbox", with("receive", func(op *Op) { op.Tolerate, op.Reason = nil, "" })},
	{RuleWitness, "the end is taken for a call", without("poll")},
	{RuleWitness, "it looks at something else", with("poll", func(op *Op) { op.Call.Args[0].Mem.Bytes[RecordPoll]++ })},
	{RuleWitness, "it is not told", without("tell refusal")},
	{RuleWitness, "something else is told", with("tell refusal", func(op *Op) { op.Call.Args[1].Mem = NewRecord(Refused, 0) })},
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
		{RuleCall, with("command seccomp", func(op *Op) { op.Call.Args[1].Value = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER })},
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
	i := find(p, "witness seccomp")
	replace(p, i, len(p.Ops)-i)
	without("block the signal", "fork witness", "unblock the signal")(p)
	tell := p.Ops[find(p, "tell start")]
	tell.Call = kernel.SendFDs(sampleReport, tell.Call.Args[1].Mem.Refs[0].To.Refs[0].To, "started", 5, listenerFD)
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
