package seccomp

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// fields returns the paths of all faults that an error joins.
func fields(err error) []string {
	if err == nil {
		return nil
	}
	var all []string
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			all = append(all, fields(e)...)
		}
		return all
	}
	var pe *PolicyError
	if errors.As(err, &pe) {
		return []string{pe.Field}
	}
	return []string{"not a PolicyError: " + err.Error()}
}

func TestTheZeroPolicyIsRefused(t *testing.T) {
	for _, p := range []*Policy{nil, {}} {
		if f, err := p.Compile("amd64"); f != nil || err == nil {
			t.Errorf("Compile of %v: %v, %v", p, f, err)
		}
	}
	if got := fields((&Policy{}).Validate()); !slices.Equal(got, []string{"Default"}) {
		t.Errorf("faults of the zero Policy: %v", got)
	}
}

func TestValidateReportsEveryFault(t *testing.T) {
	p := &Policy{
		Default: Errno(5000),
		BadArch: Allow,
		Unknown: Trace(-1),
		Rules: []Rule{
			{},
			{Names: []string{"read", "raed", "", "a b"}, Action: Action(99 << 16)},
			{Names: []string{"raed", "", "x-y"}, Optional: true, Action: Allow},
			{Names: []string{"write"}, Action: Allow | 3, Args: []Arg{
				{Index: -1, Op: Equal}, {Index: 6, Op: 7}, {}, {Op: Equal, Value: 0x100, Mask: 0xff},
			}},
		},
	}
	want := []string{
		"Default", "BadArch", "Unknown", "Rules[0].Action", "Rules[0].Names", "Rules[1].Action",
		"Rules[1].Names[1]", "Rules[1].Names[2]", "Rules[1].Names[3]", "Rules[2].Names[1]",
		"Rules[2].Names[2]", "Rules[3].Action", "Rules[3].Args[0].Index", "Rules[3].Args[1].Index",
		"Rules[3].Args[1].Op", "Rules[3].Args[2].Op", "Rules[3].Args[3].Value",
	}
	if got := fields(p.Validate()); !slices.Equal(got, want) {
		t.Errorf("faults:\n%q\nwant\n%q", got, want)
	}
	// What Decide makes of an invalid policy is not defined, but it does not panic.
	p.Decide(Data{Nr: 1, Arch: 0xc000003e}, "amd64")
	_ = p.String()
}

func TestUnknownNamesSuggestTheNearest(t *testing.T) {
	for name, want := range map[string]string{
		"raed": `"read"`, "opennat": `"openat"`, "io_uring_enterr": `"io_uring_enter"`, "getppid64": `"getppid"`,
	} {
		err := (&Policy{Default: Allow, Rules: []Rule{{Names: []string{name}, Action: Allow}}}).Validate()
		if err == nil || !strings.Contains(err.Error(), "did you mean "+want) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	for _, name := range []string{"x", "completely_else", strings.Repeat("r", 10000)} {
		err := (&Policy{Default: Allow, Rules: []Rule{{Names: []string{name}, Action: Allow}}}).Validate()
		if err == nil || strings.Contains(err.Error(), "did you mean") || len(err.Error()) > 20000 {
			t.Errorf("%.20s: %.200v", name, err)
		}
	}
}

func TestNamesOfOtherArchitecturesAreLeftOut(t *testing.T) {
	p := &Policy{Default: KillProcess, Rules: []Rule{
		{Names: []string{"open", "openat"}, Action: Allow},
		{Names: []string{"call_to_come"}, Optional: true, Action: Allow},
	}}
	for _, arch := range []string{"amd64", "arm64"} {
		d, err := Call(arch, "openat")
		if err != nil {
			t.Fatal(err)
		}
		if got := compileWithPure(t, p, arch).Eval(d); got != Allow {
			t.Errorf("openat on %s: %s", arch, got)
		}
	}
	if _, err := Call("arm64", "open"); err == nil || !strings.Contains(err.Error(), "arm64 has no") {
		t.Errorf("Call(arm64, open): %v", err)
	}
	for _, bad := range []func() (Data, error){
		func() (Data, error) { return Call("vax", "open") },
		func() (Data, error) { return Call("amd64", "opem") },
		func() (Data, error) { return Call("amd64", "open", 1, 2, 3, 4, 5, 6, 7) },
	} {
		if d, err := bad(); err == nil {
			t.Errorf("no error: %v", d)
		}
	}
}

func TestCloneSharesNothing(t *testing.T) {
	p := Default()
	before := p.String()
	c := p.Clone()
	for i := range c.Rules {
		c.Rules[i].Names[0] = "x"
		for j := range c.Rules[i].Args {
			c.Rules[i].Args[j].Value = 77
		}
		c.Rules[i].Action = Trap
	}
	if p.String() != before {
		t.Error("a change of the clone shows in the policy")
	}
	if Default().String() != before {
		t.Error("Default shares state between calls")
	}
}

func TestActionText(t *testing.T) {
	for text, a := range map[string]Action{
		"kill_process": KillProcess, "kill_thread": KillThread, "trap": Trap, "trap(5)": Trap | 5,
		"errno(EPERM)": Errno(1), "errno(0)": Errno(0), "errno(4095)": Errno(4095), "errno(EHWPOISON)": Errno(133),
		"trace(0)": Trace(0), "trace(65535)": Trace(65535), "log": Log, "notify": Notify, "allow": Allow,
	} {
		if a.String() != text {
			t.Errorf("%#x is %q, want %q", uint32(a), a, text)
		}
		if got, err := ParseAction(text); got != a || err != nil {
			t.Errorf("ParseAction(%q) = %s, %v", text, got, err)
		}
		if got := actionOf(a.ret()); got != a {
			t.Errorf("%s comes back from the kernel's form as %s", a, got)
		}
	}
	if a, err := ParseAction("errno(38)"); a != Errno(38) || err != nil {
		t.Errorf("errno(38): %s, %v", a, err)
	}
	for _, text := range []string{"", "none", "Allow", "errno", "errno()", "errno(EFOO)", "errno(4096)", "errno(-1)",
		"trace", "trace(65536)", "allow(1)", "errno(1", "errno1)", "kill"} {
		if a, err := ParseAction(text); err == nil {
			t.Errorf("ParseAction(%q) = %s", text, a)
		}
	}
	if s := Action(0).String() + Errno(-1).String() + Op(0).String() + Op(9).String(); s != "noneinvalid(0x80040000)noneOp(9)" {
		t.Errorf("invalid values print as %q", s)
	}
}

// What the kernel does with return values that no compiler makes (__seccomp_filter).
func TestReturnValues(t *testing.T) {
	for ret, want := range map[uint32]Action{
		0x00050000 | 5000: Errno(4095), 0x00010000: KillProcess, 0x7fff0001: Allow, 0x12345678: KillProcess,
		0xffffffff: KillProcess, 0x80000001: KillProcess, 0x00000009: KillThread, 0x7ffc0009: Log,
	} {
		if got := actionOf(ret); got != want {
			t.Errorf("%#x: %s, want %s", ret, got, want)
		}
	}
}
