//go:build linux

package plan

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// kept are the capabilities of sampleCapable: one of each half.
const kept = 1<<unix.CAP_NET_RAW | 1<<unix.CAP_BPF

// sampleCapable is sampleOtherUser whose command keeps capabilities.
func sampleCapable() *Program {
	p := sampleOtherUser()
	p.Capabilities = kept
	insert := func(at int, process Process, label string, call kernel.Call) {
		replace(p, at, 0, &Op{Process: process, Label: label, Call: call})
	}
	for _, n := range []int{unix.CAP_NET_RAW, unix.CAP_BPF} {
		without(fmt.Sprintf("drop %d", n))(p)
		drop := kernel.Prctl(unix.PR_CAPBSET_DROP, n)
		insert(find(p, "witness setresuid"), Witness, fmt.Sprintf("witness drop %d", n), drop)
		insert(find(p, "fork command")+1, Init, fmt.Sprintf("late drop %d", n), drop)
		insert(find(p, "command capset")+1, Command, fmt.Sprintf("raise %d", n), kernel.RaiseAmbient(n))
	}
	insert(find(p, "command setgroups"), Command, "keep", kernel.Prctl(unix.PR_SET_KEEPCAPS, 1))
	p.Ops[find(p, "command capset")].Call = kernel.CapsetTo(kept)
	return p
}

func TestCheckHoldsTheCommandToItsCapabilities(t *testing.T) {
	if err := Check(sampleCapable()); err != nil {
		t.Fatal(err)
	}
	for _, b := range []breach{
		{RuleBounds, "one that no kernel has", func(p *Program) { p.Capabilities |= 1 << 41 }},
		{RuleBoundingSet, "one less is asked for", func(p *Program) { p.Capabilities = 1 << unix.CAP_BPF }},
		{RuleBoundingSet, "one more is asked for", func(p *Program) { p.Capabilities |= 1 << unix.CAP_CHOWN }},
		{RuleBoundingSet, "one more is bounding", without("drop 0")},
		{RuleBoundingSet, "PID 1 keeps it", without("late drop 13")},
		{RuleBoundingSet, "it drops it when it cannot", move("late drop 13", "init capset")},
		{RuleBoundingSet, "it drops it as another user", move("late drop 13", "late setresuid")},
		{RuleWitness, "the witness keeps it", without("witness drop 13")},
		{RuleBoundingSet, "the witness drops it when it cannot", move("witness drop 13", "witness capset")},
		{RuleWitness, "the witness does something else", with("witness drop 13", func(op *Op) { op.Call = kernel.Prctl(unix.PR_SET_DUMPABLE, 0) })},
		{RuleCapabilities, "none is set", instead("command capset", kernel.Capset())},
		{RuleCapabilities, "one more is set", instead("command capset", kernel.CapsetTo(kept|1<<unix.CAP_SYS_ADMIN))},
		{RuleCapabilities, "one more is inheritable", with("command capset", func(op *Op) { bytesOf(op, 1)[8] = 1 })},
		{RuleCapabilities, "PID 1 keeps one", instead("init capset", kernel.CapsetTo(1<<unix.CAP_NET_RAW))},
		{RuleCapabilities, "the witness keeps one", instead("witness capset", kernel.CapsetTo(1<<unix.CAP_NET_RAW))},
		{RuleCapabilities, "one is not ambient", without("raise 13")},
		{RuleCapabilities, "another one is ambient", after("raise 13", kernel.RaiseAmbient(unix.CAP_CHOWN))},
		{RuleCapabilities, "it is raised too early", move("raise 13", "keep")},
		{RuleCapabilities, "PID 1 raises one", after("late drop 13", kernel.RaiseAmbient(unix.CAP_NET_RAW))},
		{RuleCall, "the ambient set is cleared", with("raise 13", func(op *Op) { op.Call.Args[1].Value = unix.PR_CAP_AMBIENT_CLEAR_ALL })},
		{RuleCapabilities, "they are lost with the user", without("keep")},
		{RuleCapabilities, "the user changes after them", move("command setresuid", "raise 13")},
		{RuleCall, "PID 1 keeps its own", after("fork command", kernel.Prctl(unix.PR_SET_KEEPCAPS, 1))},
	} {
		p := sampleCapable()
		b.apply(p)
		var f *Fault
		if err := Check(p); !errors.As(err, &f) || f.Rule != b.rule {
			t.Errorf("%s: %v, want the rule %q", b.what, err, b.rule)
		}
	}
	p := sampleOtherUser()
	after("go to dir", kernel.Prctl(unix.PR_SET_KEEPCAPS, 1))(p)
	if err := Check(p); err == nil {
		t.Error("capabilities are kept for a command that has none")
	}
}
