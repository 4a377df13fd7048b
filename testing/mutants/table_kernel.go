//go:build linux

package main

// privileges are mutants of what keeps privilege, the kernel's surface and PID 1 away.
var privileges = []mutant{
	{
		alone: true, without: "an empty bounding set",
		test: "sandbox.TestPayloadHasNoPrivilege", says: `/proc/self/status: CapBnd is not empty`,
		edits: bounded,
	},
	{
		alone: true, without: "PID 1 dropping its capabilities",
		test: "sandbox.TestPayloadHasNoPrivilege", says: `/proc/1/status: CapPrm is not empty`,
		edits: []edit{{"sandbox/compile_confine.go", `b.Call("drop every capability of "+c.waiter(), kernel.Capset())`, ""}},
	},
	{
		alone: true, without: "nosuid and no_new_privs: each is enough by itself",
		test: "sandbox.TestRootSetuidFilesGiveNothingInside", says: `want user 33 still`,
		edits: []edit{
			{"sandbox/compile_mounts.go", "unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV", "unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NODEV"},
			// Nor does the kernel take a filter then.
			{"sandbox/compile_confine.go", `b.Call("forbid gaining privileges", kernel.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1))`, ""},
			{"sandbox/compile_confine.go", `b.Call(stepLoadFilter, kernel.Seccomp(c.filter.raw))`, ""},
			{"sandbox/compile_confine.go", `b.Call("let "+c.waiter()+" do nothing but wait and report", load)`, "_ = load"},
			unheard[0],
		},
	},
	{
		alone: true, without: "no_new_privs: the kernel takes no filter then",
		test: "sandbox.TestNoNewPrivsAndFilterAreOn", says: `seccomp.*permission denied`,
		edits: []edit{{"sandbox/compile_confine.go", `b.Call("forbid gaining privileges", kernel.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1))`, ""}},
	},
	{
		alone: true, without: "others being dropped",
		test: "sandbox.TestCapabilitiesAreExactlyThoseOfTheSpec", says: `\[net_raw\]: CapPrm`,
		edits: allKept,
	},
	{
		alone: true, without: "an empty bounding set, where a file gives root what is in it",
		test: "sandbox.TestCapabilitiesOfRootInsideAreExactlyThoseOfTheSpec", says: `\[\]: CapBnd`,
		edits: bounded,
	},
	{
		alone: true, without: "the ambient set",
		test: "sandbox.TestCapabilitiesAreExactlyThoseOfTheSpec", says: `\[net_raw\]: CapAmb|CapPrm`,
		edits: []edit{{"sandbox/compile_capabilities.go", `b.Call("keep "+capabilityName(n)+" over the execution", kernel.RaiseAmbient(n))`, ""}},
	},
	{
		alone: true, without: "a bounding set of the Spec's",
		test: "sandbox.TestCapabilitiesOfRootInsideAreExactlyThoseOfTheSpec", says: `\[net_raw\]: CapBnd`,
		edits: []edit{{"sandbox/compile_capabilities.go", "if !c.keeps(n) {\n\t\t\tb.Append([]*plan.Op{op})\n\t\t}", "_, _ = n, op"}},
	},
	{
		alone: true, without: "PID 1 dropping its capabilities",
		test: "sandbox.TestCapabilitiesOfRootInsideAreExactlyThoseOfTheSpec", says: `PID 1: CapPrm`,
		edits: []edit{{"sandbox/compile_confine.go", `b.Call("drop every capability of "+c.waiter(), kernel.Capset())`, ""}},
	},
	{
		alone: true, without: "the witness dropping its capabilities",
		test: "sandbox.TestCapabilitiesOfRootInsideAreExactlyThoseOfTheSpec", says: `its witness: CapPrm`,
		edits: []edit{{"sandbox/compile_confine.go", `b.Call("drop every capability of the witness", kernel.Capset())`, ""}},
	},
	{
		without: "keeping them over the change of user",
		test:    "sandbox.TestRootCapabilitiesOfAnotherUserAreExactlyThoseOfTheSpec", says: `capset|operation not permitted`,
		edits: []edit{{"sandbox/compile_capabilities.go", `b.Call("keep capabilities over the change of user", kernel.Prctl(unix.PR_SET_KEEPCAPS, 1))`, ""}},
	},
	{
		without: "PID 1 being undumpable",
		test:    "sandbox.TestPayloadWithEveryCapabilityCannotReachItsInit", says: `/proc/1/|test timed out`,
		edits: []edit{{"sandbox/compile_confine.go", `b.Call("keep PID 1 out of the command's reach", kernel.Prctl(unix.PR_SET_DUMPABLE, 0))`, ""}},
	},
	{
		without: "a network namespace",
		test:    "sandbox.TestPayloadWithEveryCapabilityCannotReachTheHost", says: `dial:tcp.*want ECONNREFUSED`,
		edits: []edit{{"sandbox/resolve.go", "if ns.feature == NetworkNamespace && r.hostNet {", "if ns.feature == NetworkNamespace {"}},
	},
	{
		without: "the filter refusing mount",
		test:    "sandbox.TestCapabilityToMountDoesNotPassTheDefaultFilter", says: `call:mount: `,
		edits: []edit{{"seccomp/default.go", "{`setns mount umount umount2", "{`setns umount umount2"}, {"seccomp/default.go", "classMisc = class{`mknod ", "classMisc = class{`mount mknod "}},
	},
	{
		alone: true, without: "a refusal of ptrace",
		test: "sandbox.TestDefaultFilterRefusesWhatNoProgramNeeds", says: `call:ptrace: .*want|ptrace`,
		edits: []edit{{"sandbox/compile_confine.go", "b.Listen(stepLoadFilter, c.filter.raw,", "b.Listen(stepLoadFilter, allowed(),"},
			{"sandbox/compile_confine.go", "// compileWitness starts", "func allowed() []byte {\n\tf, _ := (&seccomp.Policy{Default: seccomp.Allow}).Compile(\"amd64\")\n\treturn f.Raw()\n}\n\n// compileWitness starts"},
			{"sandbox/compile_confine.go", "\t\"github.com/ringfence-go/ringfence/internal/plan\"\n", "\t\"github.com/ringfence-go/ringfence/internal/plan\"\n\t\"github.com/ringfence-go/ringfence/seccomp\"\n"}},
	},
	{
		without: "foreign ABIs being killed",
		test:    "sandbox.TestForeignABIsKill", says: `\(x32\) forbidden|\(386\) forbidden`,
		edits: []edit{{"seccomp/default.go", "BadArch: KillProcess,", "BadArch: Errno(eNOSYS),"}},
	},
	{
		without: "rules for sockets",
		test:    "sandbox.TestSocketsThatReachTheHypervisorOrTheKernelAreRefused", says: `socket:16,3,15: .*want EPROTONOSUPPORT`,
		edits: []edit{{"seccomp/default.go", "p.Rules = append(p.Rules, socketRules()...)", "p.Rules = append(p.Rules, Rule{Names: []string{\"socket\", \"socketpair\"}, Action: Allow})\n\t_ = socketRules"}},
	},
	{
		without: "a refusal of keyrings",
		test:    "sandbox.TestKeyringsAreOutOfReach", says: `keyring: .*want EPERM`,
		edits: []edit{{"seccomp/default.go", "{`keyctl add_key request_key`, \"not", "{`uselib`, \"not"}, {"seccomp/default.go", "classMisc = class{`mknod ", "classMisc = class{`keyctl add_key request_key mknod "}},
	},
	{
		alone: true, without: "the witness",
		test: "sandbox.TestForbiddenCallIsNamed", says: `want mkdir forbidden|test timed out`,
		edits: unheard,
	},
	{
		alone: true, without: "interrupted calls being counted",
		test: "sandbox.TestForbiddenCallCannotBeTakenBack", says: `want a forbidden call|PID 1 ended without a report`,
		edits: []edit{{"sandbox/compile_confine.go", `Tolerates("a call that a signal interrupted was made all the same", unix.ENOENT).Again()`, "Again()"}},
	},
	{
		alone: true, without: "the lifeline's signal being blocked for the witness, and looked at by its handler",
		test: "sandbox.TestPayloadCannotSignalTheWitnessAway", says: `want mkdir forbidden|PID 1 ended without a report|bad system call`,
		edits: append([]edit{{"sandbox/compile_confine.go", `b.Call("block the lifeline's signal for the witness of refused calls", kernel.BlockSignal(unix.SIGIO))`, ""}}, blind...),
	},
	{
		alone: true, without: "PID 1 being undumpable",
		test: "sandbox.TestPayloadCannotReadOrTraceTheWitness", says: `on:(attach|read|seize)|test timed out`,
		edits: []edit{{"sandbox/compile_confine.go", `b.Call("keep PID 1 out of the command's reach", kernel.Prctl(unix.PR_SET_DUMPABLE, 0))`, ""}},
	},
	{
		alone: true, without: "the witness",
		test: "sandbox.TestWitnessSeesCallsAlsoWhenItIsTheLastToRun", says: `forbidden|come to|test timed out`,
		edits: unheard,
	},
	{
		without: "a look whether any process is left, when a call is gone",
		test:    "sandbox.TestEndThatNobodyForbade", says: `(exit|kill).*: forbidden`,
		edits: []edit{{"internal/plan/record.go", "binary.LittleEndian.Uint64(b[RecordSeen:]) != 0 {", "binary.LittleEndian.Uint64(b[RecordSeen:]) == notSeen {"}},
	},
	{
		without: "the rule for prlimit64",
		test:    "sandbox.TestPayloadCannotLimitPID1ByTheWitness", says: `on:pidlimit:\$,\d+: .*want EPERM`,
		edits: limited,
	},
	{
		without: "the rule for prlimit64",
		test:    "sandbox.TestPayloadCannotTraceOrChangeItsInit", says: `prlimit:1: .*want EPERM`,
		edits: limited,
	},
	{
		alone: true, without: "the witness being there before the command",
		test: "sandbox.TestForkBombIsNoStartError", says: `want a run`,
		edits: []edit{
			{"sandbox/compile.go", "\t\tc.compileWitness(b)\n\t\tb.Fork(", "\t\tb.Fork("},
			{"sandbox/compile.go", "\t\tc.compileInitConfine(b)\n\t\tc.compileInitFilter(b)\n\t\tc.compileReap(b)", "\t\tc.compileWitness(b)\n\t\tc.compileInitConfine(b)\n\t\tc.compileInitFilter(b)\n\t\tc.compileReap(b)"},
			{"sandbox/compile_confine.go", "listener := b.Next() // as the command will find", "listener := c.listener"},
			{"sandbox/compile_confine.go", "\t\tb.Close(c.streams...) // which PID 2", "\t\t_ = c.streams // which PID 2"},
		},
	},
	{
		without: "the window",
		test:    "sandbox.TestStrictPolicyAllowsOneExecve", says: `the second: .*want execve forbidden`,
		edits: []edit{{"seccomp/window.go", "if w == (ExecWindow{}) {", "if true {"}},
	},
	{
		without: "decisions being recorded",
		test:    "seccomp.TestLearnedPolicyNeverGoesBeyondItsBase", says: `allow`,
		edits: learned,
	},
	{
		without: "decisions being recorded",
		test:    "sandbox.TestLearnObeysItsBase", says: `under what it has learned`,
		edits: learned,
	},
	{
		without: "killing for what was not seen",
		test:    "sandbox.TestLearnedPolicyIsEnoughAndNoMore", says: `something else: `,
		edits: []edit{{"seccomp/learn.go", "p := &Policy{Default: KillProcess, BadArch", "p := &Policy{Default: Allow, BadArch"}},
	},
	{
		alone: true, without: "PID 1 being undumpable",
		test: "sandbox.TestPayloadCannotReadItsInit", says: `/proc/1/mem|/proc/1/maps`,
		edits: []edit{{"sandbox/compile_confine.go", `b.Call("keep PID 1 out of the command's reach", kernel.Prctl(unix.PR_SET_DUMPABLE, 0))`, ""}},
	},
	{
		without: "rules for PID 1 in the default filter",
		test:    "sandbox.TestPayloadCannotTraceOrChangeItsInit", says: `renice:1: .*want EPERM`,
		edits: []edit{{"seccomp/default_init.go", "const initPID = 1", "const initPID = 99"}},
	},
	{
		alone: true, without: "the lifeline's handler being able to look who sends its signal",
		test: "sandbox.TestPayloadCannotEndItsInit", says: `bad system call|PID 1 ended without a report`,
		edits: blind,
	},
	{
		alone: true, without: "the lifeline's handler being able to look who sends its signal",
		test: "sandbox.TestPayloadCannotHoldItsInitUpWithSignals", says: `bad system call|PID 1 ended without a report`,
		edits: blind,
	},
}

var (
	// bounded leaves capabilities in the bounding set.
	bounded = []edit{
		{"sandbox/compile_capabilities.go", "if c.capabilities == 0 {\n\t\tb.Append(all)\n\t\treturn\n\t}", "if c.capabilities == 0 {\n\t\treturn\n\t}"},
		{"sandbox/compile_capabilities.go", "func (c *compilation) compileUnbound(b *plan.Builder) {", "func (c *compilation) compileUnbound(b *plan.Builder) {\n\tif c.capabilities == 0 {\n\t\treturn\n\t}"},
	}
	// allKept keeps all capabilities where the Spec has any.
	allKept = []edit{
		{"sandbox/compile_capabilities.go", "func (r *resolved) keeps(n int) bool { return r.capabilities&(1<<n) != 0 }", "func (r *resolved) keeps(n int) bool { return r.capabilities != 0 }"},
		{"sandbox/compile_capabilities.go", "kernel.CapsetTo(c.capabilities)", "kernel.CapsetTo(1<<(c.facts.LastCap+1) - 1)"},
	}
	// unheard leaves the call to the kernel, which ends one process for it.
	unheard = []edit{{"sandbox/filter.go", "case listens && slices.ContainsFunc(actions(p), kills):", "case false:"}}
	// limited lets everybody limit everybody.
	limited = []edit{{"seccomp/default_init.go", `{Names: []string{"prlimit64"}, Action: Errno(ePERM)},`, `{Names: []string{"prlimit64"}, Action: Allow},`}}
	// blind lets whoever sends the lifeline's signal end PID 1.
	blind = []edit{{"sandbox/filter.go", `"read", "write", "sendmsg", "wait4", "rt_sigreturn"`, `"write", "sendmsg", "wait4", "rt_sigreturn"`}}
	// learned takes what was seen for allowed.
	learned = []edit{{"seccomp/learn.go", "o.uses[l.use(name, &d)] = action", "o.uses[l.use(name, &d)] = Allow"},
		{"seccomp/learn.go", "case len(base) == 1:\n\t\treturn base", "case len(base) == 1:\n\t\treturn []Rule{{Names: []string{name}, Action: Allow}}"}}
)
