//go:build linux

package plan

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// sampleHeld is sample with the mount namespace of PID 1 and its root on the way to the caller.
func sampleHeld() *Program {
	p := sampleDeaf()
	b := &Builder{process: Init, fds: descriptors{}}
	b.Call("hold mounts", kernel.Openat(unix.AT_FDCWD, "/proc/self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)).Returns(5)
	first := find(p, "private")
	for _, op := range p.Ops {
		if op.Process == Init || op.Process == Command {
			shiftHeld(op)
		}
	}
	replace(p, first, 0, b.ops...)
	return p
}

// shiftHeld moves the descriptors of an op up by one, from where the namespace is held.
func shiftHeld(op *Op) {
	switch op.Label {
	case "open setgroups", "write setgroups", "open uid_map", "write uid_map", "open gid_map", "write gid_map":
		return
	}
	if op.Label == "close what is done with" && op.Call.Args[0].Value == 5 {
		return // of a map
	}
	shift(op, 5)
}

func TestCheckKnowsTheHeldNamespace(t *testing.T) {
	if err := Check(sampleHeld()); err != nil {
		t.Fatalf("%v\n%s", err, sampleHeld())
	}
	send := func(fd byte) edit {
		return with("tell start", func(op *Op) { op.Call.Args[1].Mem.Refs[1].To.Bytes[16] = fd })
	}
	p := sampleHeld()
	send(5)(p)
	if err := Check(p); err != nil {
		t.Errorf("it is sent: %v", err)
	}
	open := func(path string, how int) edit {
		return instead("hold mounts", kernel.Openat(unix.AT_FDCWD, path, how, 0))
	}
	for _, b := range []struct {
		rule Rule
		what string
		edit edit
	}{
		{RuleHostPath, "another namespace", open("/proc/self/ns/user", unix.O_RDONLY|unix.O_CLOEXEC)},
		{RuleHostPath, "another process's", open("/proc/1/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC)},
		{RuleHostPath, "to write", open("/proc/self/ns/mnt", unix.O_RDWR|unix.O_CLOEXEC)},
		{RuleHostPath, "by whatever is in the working directory", instead("hold mounts", kernel.Openat(0, "/proc/self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0))},
		{RulePath, "from the sandbox's tree", func(p *Program) {
			after("seal", kernel.Openat(unix.AT_FDCWD, "/proc/self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0))(p)
			p.Ops[find(p, "new")].Want = 13
		}},
		{RuleDescriptor, "something is created in it", instead("make usr", kernel.Mkdirat(5, "usr", 0o755))},
		{RulePayload, "the command has it", with("close rest on exec", func(op *Op) { op.Call.Args[0].Value = 6 })},
		{RuleReport, "a stream is sent", send(1)},
	} {
		p := sampleHeld()
		b.edit(p)
		var f *Fault
		if err := Check(p); !errors.As(err, &f) || f.Rule != b.rule {
			t.Errorf("%s: %v, want the rule %q", b.what, err, b.rule)
		}
	}
}
