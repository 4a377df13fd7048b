//go:build linux

package plan

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// sampleMaster is the descriptor that the master of sampleTerminal is put aside on.
const sampleMaster = 5

var terminalBreaks = []breach{
	{RuleTerminal, "nobody asked for one", func(p *Program) { p.Terminal = false }},
	{RuleBounds, "there are no streams", func(p *Program) { p.Payload = nil }},
	{RuleTerminal, "it is not controlling", without("control")},
	{RuleTerminal, "there is no session yet", move("setsid", "control")},
	{RuleTerminal, "another descriptor controls", with("control", func(op *Op) { op.Call.Args[0].Value = sampleReport })},
	{RuleCall, "it is stolen from a session", with("control", func(op *Op) { op.Call.Args[2].Value = 1 })},
	{RuleTerminal, "one stream is another's", without("stream 1")},
	{RuleTerminal, "it stays locked", without("unlock")},
	{RuleTerminal, "it has no size", without("set size")},
	{RuleCall, "it is locked", with("unlock", func(op *Op) { bytesOf(op, 2)[0] = 1 })},
	{RuleCall, "the size is of another thing", with("set size", func(op *Op) { op.Call.Args[0].Value = 0 })},
	{RuleCall, "the peer becomes PID 1's", with("open peer", func(op *Op) { op.Call.Args[2].Value &^= unix.O_NOCTTY })},
	{RuleTerminal, "something else is given away", with("own peer", func(op *Op) { op.Call.Args[0].Value = 0 })},
	{RuleTerminal, "it is given to nobody", with("own peer", func(op *Op) { op.Call.Args[1].Value = -1 })},
	{RuleCall, "another descriptor is copied", with("stream 1", func(op *Op) { op.Call.Args[0].Value = sampleReport })},
	{RuleCall, "it takes the place of the report", with("stream 1", func(op *Op) { op.Call.Args[1].Value, op.Want = sampleReport, sampleReport })},
	{RuleCall, "a stream is closed on exec", with("stream 1", func(op *Op) { op.Call.Args[2].Value = unix.O_CLOEXEC })},
	{RuleResult, "another result", with("stream 1", func(op *Op) { op.Want = 2 })},
	{RuleCall, "the command gets the master", with("set master aside", func(op *Op) { op.Call.Args[1].Value, op.Want = 2, 2 })},
	{RuleCall, "the master stays open", with("set master aside", func(op *Op) { op.Call.Args[2].Value = 0 })},
	{RuleTerminal, "the caller does not get it", with("tell start", func(op *Op) { op.Call.Args[1].Mem.Refs[1].To.Bytes[20] = 6 })},
	{RuleTerminal, "PID 1 keeps the master", without("leave master")},
	{RuleTerminal, "PID 1 keeps the peer", without("leave streams")},
	{RuleInitFilter, "PID 1 closes something else", with("leave master", func(op *Op) { op.Call.Args[0].Value = sampleReport })},
	{RulePath, "it is opened by a path", with("open master", func(op *Op) { op.Call.Args[0].Value = unix.AT_FDCWD })},
	{RulePath, "it may be another file system's", with("open master", func(op *Op) {
		op.Call.Args[2].Mem.Bytes[16] &^= unix.RESOLVE_NO_XDEV
	})},
	{RulePath, "it is another file", with("open master", func(op *Op) { op.Call.Args[1].Mem.Text = "0" })},
	{RulePath, "it is not of a devpts", with("fsopen devpts", func(op *Op) { op.Call.Args[0].Mem.Text = "mqueue" })},
	{RuleCall, "another request", with("unlock", func(op *Op) { op.Call.Args[1].Value = unix.TIOCSTI })},
	{RuleTerminal, "the command opens one", after("core", kernel.TerminalPeer(sampleMaster))},
}

func TestCheckHoldsTheTerminalToBeTheSandboxesOwn(t *testing.T) {
	if err := Check(sampleTerminal()); err != nil {
		t.Fatalf("%v\n%s", err, sampleTerminal())
	}
	for _, b := range terminalBreaks {
		p := sampleTerminal()
		b.apply(p)
		var f *Fault
		if err := Check(p); !errors.As(err, &f) || f.Rule != b.rule {
			t.Errorf("%s: %v, want the rule %q", b.what, err, b.rule)
		}
	}
}
