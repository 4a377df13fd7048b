package seccomp_test

import (
	"fmt"

	"github.com/ringfence-go/ringfence/seccomp"
)

// A policy is rules of which the first match decides.
func ExamplePolicy() {
	p := &seccomp.Policy{
		Default: seccomp.KillProcess,
		Rules: []seccomp.Rule{
			{Names: []string{"read", "write", "exit_group"}, Action: seccomp.Allow},
			{
				// The kernel takes the family as int: look at 32 bits of the argument.
				Names:  []string{"socket"},
				Args:   []seccomp.Arg{{Index: 0, Op: seccomp.Equal, Value: 1, Mask: seccomp.Low32}},
				Action: seccomp.Allow,
			},
			{Names: []string{"socket"}, Action: seccomp.Errno(97)},
		},
	}
	for _, family := range []uint64{1, 2} {
		call, err := seccomp.Call("amd64", "socket", family)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(family, p.Decide(call, "amd64"))
	}
	// Output:
	// 1 allow
	// 2 errno(EAFNOSUPPORT)
}

func ExamplePolicy_Compile() {
	p := &seccomp.Policy{
		Default: seccomp.Errno(1),
		Rules:   []seccomp.Rule{{Names: []string{"read", "write", "exit_group"}, Action: seccomp.Allow}},
	}
	filter, err := p.Compile("arm64")
	if err != nil {
		fmt.Println(err)
		return
	}
	call, err := seccomp.Call("arm64", "mount")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(filter.Eval(call), filter.Len() <= seccomp.MaxInstructions)
	// Output: errno(EPERM) true
}

// Every fault of a policy is reported, with the path of its field.
func ExamplePolicy_Validate() {
	p := &seccomp.Policy{Rules: []seccomp.Rule{{Names: []string{"opennat"}, Action: seccomp.Allow}}}
	fmt.Println(p.Validate())
	// Output:
	// seccomp: Default: no action: say KillProcess, KillThread, Trap, Errno(n), Trace(n), Log, Notify or Allow
	// seccomp: Rules[0].Names[0]: no system call is named "opennat": did you mean "openat"? (set Optional if it is newer than this package)
}

// The text form keeps any policy.
func ExamplePolicy_MarshalText() {
	p := &seccomp.Policy{
		Default: seccomp.Allow,
		Rules: []seccomp.Rule{{
			Names:  []string{"ioctl"},
			Args:   []seccomp.Arg{{Index: 1, Op: seccomp.Equal, Value: 0x5412, Mask: seccomp.Low32}},
			Action: seccomp.Errno(1),
		}},
	}
	text, err := p.MarshalText()
	fmt.Printf("%s%v\n", text, err)
	// Output:
	// default allow
	//
	// errno(EPERM) if arg1 & 0xffffffff == 0x5412
	// 	ioctl
	// <nil>
}

// A program that ReadRaw takes, such as one that another tool made, is explained like the own ones.
func ExampleFilter_Explain() {
	filter, err := seccomp.NewFilter([]seccomp.Instruction{
		{Code: 0x20, K: 4},                 // load arch
		{Code: 0x15, JF: 3, K: 0xc000003e}, // is it amd64?
		{Code: 0x20, K: 0},                 // load the number
		{Code: 0x15, JT: 0, JF: 1, K: 59},  // is it execve?
		{Code: 0x06, K: 0x00050001},        // EPERM
		{Code: 0x06, K: 0x7fff0000},        // allow
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(filter.Explain())
	// Output:
	//    0  load arch
	//    1  if arch == amd64 goto 2 else 5
	//    2  load nr
	//    3  if nr == 59 (execve) goto 4 else 5
	//    4  return errno(EPERM)
	//    5  return allow
}

// The default policy is changed by a rule in front.
func ExampleDefault() {
	p := seccomp.Default()
	p.Rules = append([]seccomp.Rule{{Names: []string{"ptrace"}, Action: seccomp.Allow}}, p.Rules...)
	for _, name := range []string{"ptrace", "mount", "clone3"} {
		call, err := seccomp.Call("amd64", name)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(name, p.Decide(call, "amd64"))
	}
	// Output:
	// ptrace allow
	// mount errno(EPERM)
	// clone3 errno(ENOSYS)
}

func ExampleStrict() {
	p := seccomp.Strict(seccomp.StrictOptions{Violation: seccomp.Errno(1)})
	for _, name := range []string{"read", "fork", "ptrace"} {
		call, err := seccomp.Call("amd64", name)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(name, p.Decide(call, "amd64"))
	}
	// Output:
	// read allow
	// fork errno(EPERM)
	// ptrace errno(EPERM)
}

func ExampleReadOCI() {
	profile, err := seccomp.ReadOCI([]byte(`{
		"defaultAction": "SCMP_ACT_ERRNO",
		"syscalls": [
			{"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
			{"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}}
		]
	}`), seccomp.OCIHost{Arch: "amd64"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(profile.Policy)
	// Output:
	// default errno(EPERM)
	// badarch kill_process
	//
	// allow optional
	// 	read write
}

func ExampleProfile_WriteOCI() {
	profile := &seccomp.Profile{
		Archs: []string{"amd64"},
		Policy: &seccomp.Policy{
			Default: seccomp.KillProcess,
			Rules:   []seccomp.Rule{{Names: []string{"read", "write"}, Action: seccomp.Allow}},
		},
	}
	text, err := profile.WriteOCI()
	fmt.Printf("%s%v\n", text, err)
	// Output:
	// {
	// 	"defaultAction": "SCMP_ACT_KILL_PROCESS",
	// 	"architectures": [
	// 		"SCMP_ARCH_X86_64"
	// 	],
	// 	"syscalls": [
	// 		{
	// 			"names": [
	// 				"read",
	// 				"write"
	// 			],
	// 			"action": "SCMP_ACT_ALLOW"
	// 		}
	// 	]
	// }
	// <nil>
}
