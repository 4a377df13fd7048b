//go:build linux

package plan

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// sampleInboxFD is behind the lifeline.
const sampleInboxFD = sampleLifeline + 1

// sampleWaiting is sample for a command that is told later.
func sampleWaiting() *Program {
	p := sample()
	p.Inbox, p.InboxFD = kernel.Zeroed(64), sampleInboxFD
	p.Inherited++
	for _, op := range p.Ops {
		shift(op, sampleInboxFD)
	}
	// The listener comes behind the streams that are received.
	const streams = 3
	for _, label := range []string{"receive", "look for hang-up", "command seccomp"} {
		for range streams {
			with(label, func(op *Op) { shift(op, sampleInboxFD) })(p)
		}
	}
	const first = 9 // behind the directory of the CPU watch, the two counters and the inbox
	ready := NewRecord(Ready, 0)
	b := &Builder{process: Command, fds: descriptors{}}
	for fd := range first {
		b.fds[fd] = true
	}
	b.Call("tell ready", kernel.Write(sampleReport, ready, "ready")).Returns(int64(len(ready.Bytes)))
	fds := b.Receive("receive command", kernel.ReceiveFDs(sampleInboxFD, p.Inbox, streams), streams)
	b.Dup("place 0", fds[0], 0)
	b.Dup("place 1", fds[1], 1)
	b.Dup("place 2", fds[2], 2)
	for _, label := range []string{"open dir", "go to dir"} {
		for range streams {
			with(label, func(op *Op) { shift(op, first) })(p)
		}
	}
	at := find(p, "core") + 1
	closeDir := p.Ops[find(p, "go to dir")+1]
	closeDir.Call = kernel.Close(first + streams)
	replace(p, at, 0, b.ops...)
	n := &Builder{process: Init, fds: descriptors{}}
	n.Close(fds...)
	for i, op := range n.ops {
		op.Label = []string{"leave 0", "leave 1", "leave 2"}[i]
	}
	replace(p, find(p, "leave streams")+1, 0, n.ops...)
	end := p.Ops[find(p, "tell end")].Call.Args[1].Mem
	replace(p, find(p, "tell end"), 0, &Op{Process: Init, Label: "sum", Call: kernel.Getrusage(end, RecordUsage)})
	return p
}

func TestSampleThatWaitsIsValid(t *testing.T) {
	if err := Check(sampleWaiting()); err != nil {
		t.Errorf("%v\n%s", err, sampleWaiting())
	}
}

var inboxBreaks = []breach{
	{RuleInbox, "a stream that is not placed", without("place 1")},
	{RuleInbox, "PID 2 does not say that it waits", without("tell ready")},
	{RuleReport, "it says so twice", func(p *Program) {
		i := find(p, "tell ready")
		replace(p, i, 0, p.Ops[i])
	}},
	{RuleInbox, "memory that holds something", func(p *Program) { p.Inbox.Bytes[7] = 1 }},
	{RuleInbox, "memory with pointers", func(p *Program) { p.Inbox.Refs = []kernel.Ref{{Offset: 0}} }},
	{RuleInbox, "the report as the socket", func(p *Program) { p.InboxFD = sampleReport }},
	{RuleInbox, "more than the streams", func(p *Program) { p.Payload = p.Payload[:2] }},
	{RuleInbox, "another socket", with("receive command", func(op *Op) { op.Call.Args[0].Value = sampleLifeline })},
	{RuleInbox, "into other memory", with("receive command", func(op *Op) {
		op.Call = kernel.ReceiveFDs(sampleInboxFD, kernel.Zeroed(64), 3)
	})},
	{RuleInbox, "more than there is room for", with("receive command", func(op *Op) {
		op.Call.Args[1].Mem.Refs[0].To.Bytes[8] = 65
	})},
	{RuleInbox, "without close on exec", with("receive command", func(op *Op) { op.Call.Args[2].Value = 0 })},
	{RuleMemory, "fewer descriptors", with("receive command", func(op *Op) { op.Call = kernel.ReceiveFDs(sampleInboxFD, kernel.Zeroed(64), 1) })},
	{RuleResult, "a length", with("receive command", func(op *Op) { op.Any = false })},
	{RuleInbox, "a stream as another descriptor", with("place 0", func(op *Op) { op.Call.Args[1].Value, op.Want = 5, 5 })},
	{RuleInbox, "a stream that closes", with("place 0", func(op *Op) { op.Call.Args[2].Value = unix.O_CLOEXEC })},
	{RuleReport, "a sum before all have ended", move("sum", "wait")},
	{RuleReport, "a sum that goes elsewhere", with("sum", func(op *Op) { op.Call = kernel.Getrusage(NewRecord(Ended, 0), RecordUsage) })},
	{RuleReport, "a sum over the status", with("sum", func(op *Op) { op.Call.Args[1].Offset = RecordStatus })},
	{RulePayload, "PID 1 keeps a stream", without("leave 1")},
}

func TestBrokenProgramsThatWait(t *testing.T) {
	for _, b := range inboxBreaks {
		p := sampleWaiting()
		b.apply(p)
		var f *Fault
		if err := Check(p); !errors.As(err, &f) || f.Rule != b.rule {
			t.Errorf("%s: %v, want the rule %q", b.what, err, b.rule)
		}
	}
}
