//go:build linux

package main

// processes are mutants of what holds the processes of a sandbox, and tells how they ended.
var processes = []mutant{
	{
		alone: true, without: "the joiner being undumpable",
		test: "sandbox.TestWhoJoinsIsOutOfReach", says: `got at \[[^]]`,
		edits: []edit{
			{"sandbox/compile_join.go", `b.Call("keep the joiner out of everybody's reach", kernel.Prctl(unix.PR_SET_DUMPABLE, 0))`, ""},
			{"sandbox/compile_join.go", `b.Call("keep the joiner out of everybody's reach still", kernel.Prctl(unix.PR_SET_DUMPABLE, 0))`, ""},
		},
	},
	{
		alone: true, without: "close_range before the execution",
		test: "sandbox.TestACommandThatJoinsHasNoDescriptorOfTheJoiner", says: `descriptors, and more`,
		edits: unclosed,
	},
	{
		without: "an empty bounding set",
		test:    "sandbox.TestACommandThatJoinsHasNoDescriptorOfTheJoiner", says: `no "CapBnd`,
		edits: []edit{{"sandbox/compile_join.go", "c.compileBounding(b)\n", ""}},
	},
	{
		without: "the caller killing what the joiner has left",
		test:    "sandbox.TestACommandEndsWithItsJoiner", says: `the command goes on`,
		edits: []edit{{"internal/launch/process_linux.go", "_ = send(p.command, unix.SIGKILL)            // it may have ended\n", ""}},
	},
	{
		without: "commands ending with PID 1",
		test:    "sandbox.TestCloseEndsCommands", says: `test timed out|goes on|hang`,
		edits: []edit{{"sandbox/watch.go", "if c.keeps {\n\t\t_ = p.Kill() // it may have ended\n\t\treturn\n\t}", "if c.keeps {\n\t\treturn\n\t}"}},
	},
	{
		without: "looks at the end of the sandbox",
		test:    "sandbox.TestCloseBesideStarts", says: `living_reach`,
		edits: []edit{{"sandbox/join.go", "if s.joins == nil || s.over() {", "if false {"}, {"sandbox/join.go", "if s.over() {\n\t\t\treturn &OpError", "if false {\n\t\t\treturn &OpError"}},
	},
	{
		alone: true, without: "the lifeline",
		test: "sandbox.TestKilledCallerLeavesNothingOfSandboxesThatLive", says: `kill \d+ left`,
		edits: append([]edit{{"internal/kernel/namespaces_linux.go", `fd)}, num(1), null(), null(), num(0)}}`, `fd)}, num(0), null(), null(), num(0)}}`}}, deaf...),
	},
	{
		without: "the pidfd",
		test:    "sandbox.TestEndOfACommandIsNoOtherProcesses", says: `want (exit status 3|timed out)`,
		edits: []edit{{"internal/kernel/calls_linux.go", `named(unix.P_PIDFD, "P_PIDFD")`, `named(unix.P_ALL, "P_ALL")`}},
	},
	{
		without: "reaping a command whose joiner was killed, by its pidfd or as an orphan",
		test:    "sandbox.TestCloseReapsWhatASubreaperGets", says: `Close hangs|orphan`,
		edits: []edit{{"internal/launch/process_linux.go", "if p.keeps && p.init >= 0 && reapsOrphans() {", "if false {"},
			{"internal/launch/process_linux.go", "_, _ = waitFor(unix.P_PIDFD, p.command, nil) // ECHILD: somebody else's", ""}},
	},
	{
		without: "one of the stages",
		test:    "sandbox.TestPoolHoldsItsCommandsAsRunDoes", says: `another command sees`,
		edits: []edit{{"sandbox/compile_limits.go", "if core {", "if core && !c.waits {"}},
	},
	{
		without: "streams of its own",
		test:    "sandbox.TestPoolRunsEachCommandInASandboxOfItsOwn", says: `run 0: `,
		edits: []edit{{"sandbox/compile_inbox.go", "for i, fd := range c.streams {", "for i, fd := range c.streams[:2] {"}},
	},
	{
		without: "asking for the ID",
		test:    "sandbox.TestCallOfAKilledThreadIsNotValid", says: `test timed out|valid at the end`,
		edits: []edit{{"sandbox/supervise_linux.go", "return s.listener.Valid(id)", "return s.listener.Valid(id) || true"}},
	},
	{
		without: "asking for the ID again",
		test:    "sandbox.TestMemoryOfAnotherProcessIsNotGivenAway", says: `want nothing`,
		edits: []edit{{"sandbox/supervisor.go", "if !n.Valid() {\n\t\tclear", "if false {\n\t\tclear"}},
	},
	{
		without: "giving the Supervisor's own file",
		test:    "sandbox.TestOnlyAnAnswerOnTheSupervisorsOwnCopyHoldsAgainstARace", says: `ReturnFile: `,
		edits: []edit{{"sandbox/supervise_linux.go", "err = s.listener.ReturnFile(n.id, a.file, !a.keeps)", "err = s.listener.Continue(n.id)"}},
	},
	{
		without: "a bound on answers at a time",
		test:    "sandbox.TestManyCallsAtOnceAreAllAnswered", says: `at a time`,
		edits: []edit{{"sandbox/supervise_linux.go", "room := make(chan struct{}, maxAnswers)", "room := make(chan struct{}, 1<<20)"}},
	},
	{
		without: "a context that ends with the sandbox",
		test:    "sandbox.TestWaitReturnsWhenSupervisorsWaitForTheEnd", says: `Wait does not return`,
		edits: []edit{{"sandbox/supervise_linux.go", "cancel() // also of those", "// also of those"}, {"sandbox/watch.go", "defer cancel()\n\t\t\tselect {", "_ = cancel\n\t\t\tselect {"}},
	},
	{
		without: "signals being kept away while a descriptor is on its way",
		test:    "sandbox.TestSignalsLoseNoAnswer", says: `want map`,
		edits: []edit{{"internal/launch/listener_linux.go", "return withoutSignals(func() error { return notifyAddFD(fd, &a) })", "_ = withoutSignals\n\t\t\treturn notifyAddFD(fd, &a)"}},
	},
	{
		without: "the error of an answer being told",
		test:    "sandbox.TestReturnFileToAProcessWithoutRoomIsEMFILE", says: `want EMFILE`,
		edits: []edit{{"sandbox/supervise_linux.go", "refusal = number // EMFILE", "_ = number // EMFILE"}},
	},
	{
		alone: true, without: "a /proc of its own",
		test: "sandbox.TestPayloadSeesAndSignalsNobodyOutside", says: `processes are seen`,
		edits: []edit{{"sandbox/compile_base.go", `c.proc = makeFS(b, "/proc", "proc", attrs)`, `c.proc = b.Open("open /proc", kernel.OpenTree(unix.AT_FDCWD, "/proc"))`},
			{"sandbox/compile_base.go", "for _, e := range c.facts.ProcMasked {", "for _, e := range c.facts.ProcMasked[:0] {"},
			{"sandbox/compile_base.go", "for _, e := range c.facts.ProcReadOnly {", "for _, e := range c.facts.ProcReadOnly[:0] {"}},
	},
	{
		without: "masks in /proc",
		test:    "sandbox.TestProcTellsNothingOfTheHost", says: `/proc/\w+ holds`,
		edits: []edit{{"sandbox/compile_base.go", "for _, e := range c.facts.ProcMasked {", "for _, e := range c.facts.ProcMasked[:0] {"}},
	},
	{
		without: "a network namespace",
		test:    "sandbox.TestNetworkIsLoopbackAlone", says: `interfaces "`,
		edits: networked,
	},
	{
		without: "a network namespace",
		test:    "sandbox.TestPayloadCannotReachTheCallersListeners", says: `dial:unix.*want ECONNREFUSED`,
		edits: networked,
	},
	{
		without: "an IPC namespace",
		test:    "sandbox.TestSandboxesShareNoChannel", says: `shmfind:\d+: .*want ENOENT`,
		edits: []edit{{"sandbox/resolve.go", "r.namespaces |= ns.flag\n", "r.namespaces |= ns.flag &^ unix.CLONE_NEWIPC\n"}},
	},
	{
		without: "an environment of its own",
		test:    "sandbox.TestEnvironmentIsNeverInherited", says: `shows it`,
		edits: []edit{{"sandbox/resolve_command.go", `r.env = []string{"PATH=" + defaultPath, "HOME=" + home, "LANG=C.UTF-8"}`, `_, r.env = home, os.Environ()`},
			{"sandbox/resolve_command.go", "import (\n", "import (\n\t\"os\"\n"}},
	},
	{
		without: "ignored signals being reset",
		test:    "sandbox.TestCallersSignalsDoNotReachIntoTheCommand", says: `no "SigIgn`,
		edits: []edit{{"sandbox/compile_start.go", "b.Append(resetSignals[b.Process()]())\n", "_ = resetSignals\n"}},
	},
	{
		without: "umask",
		test:    "sandbox.TestFileModeMaskIsTheUsualOne", says: `0000`,
		edits: []edit{{"sandbox/compile_exec.go", `b.Call("set the usual file mode mask", kernel.Umask(0o022))`, ""}},
	},
	{
		without: "the caller closing its ends",
		test:    "examples/interact.TestEachSideHasItsOwnVerdict", says: `timed out`,
		edits: []edit{{"examples/interact/main.go", "end.Close() // or the two would never see an end", "_ = end // or the two would never see an end"}},
	},
	{
		without: "the signal",
		test:    "sandbox.TestStopSignalLetsTheCommandEndByItself", says: `want canceled, 3`,
		edits: []edit{{"sandbox/stop.go", "if c.spec.StopSignal == 0 || c.keeps", "if true || c.keeps"}},
	},
	{
		without: "the first reason after that",
		test:    "sandbox.TestKillEndsTheTimeToStop", says: `test timed out`,
		edits: []edit{{"sandbox/stop.go", "return c.asked && !c.killing", "return false"}},
	},
	{
		without: "looking below children",
		test:    "sandbox.TestSignalAllReachesEveryProcess", says: `test timed out|signaled|map`,
		edits: []edit{{"internal/launch/everybody_linux.go", "if m.fd >= 0 {\n\t\t\t\tline", "if false {\n\t\t\t\tline"}},
	},
	{
		without: "looking again",
		test:    "sandbox.TestSignalAllKillsWhoForks", says: `started faster`,
		edits: []edit{{"internal/launch/everybody_linux.go", "const maxRounds = 100", "const maxRounds = 1"}},
	},
	{
		alone: true, without: "the lifeline",
		test: "sandbox.TestKilledCallerLeavesNothing", says: `kill \d+ left`,
		edits: deaf,
	},
	{
		without: "PID 1 going by the command's end",
		test:    "sandbox.TestGrandchildThatHoldsAPipeDoesNotHoldWaitUp", says: `test timed out`,
		edits: []edit{{"sandbox/compile_exec.go", "kernel.Wait4(c.ended, plan.RecordStatus, plan.RecordUsage), 2)", "kernel.Wait4(c.ended, plan.RecordStatus, plan.RecordUsage), -int64(unix.ECHILD))"}},
	},
	{
		without: "a watch on the context",
		test:    "sandbox.TestCanceledContextEndsARunAtAnyMoment", says: `test timed out`,
		edits: []edit{{"sandbox/watch.go", "case <-c.ctx.Done():\n\t\t\t\tc.cancel(timeout)", "case <-c.ctx.Done():\n\t\t\t\t_ = c.cancel"}},
	},
	{
		without: "the wait status that PID 1 reports",
		test:    "sandbox.TestExitCodeIsTheCommandsOwn", says: `exit 137: .*code 0`,
		edits: []edit{{"sandbox/run.go", "r.Ended, r.ExitCode = Exited, exit.Status.ExitStatus()", "r.Ended, r.ExitCode = Exited, exit.Init.ExitStatus()"}},
	},
	{
		without: "the signal that PID 1 reports",
		test:    "sandbox.TestSignalIsTheCommandsOwn", says: `signal \d+ to itself`,
		edits: []edit{{"sandbox/run.go", "r.Ended, r.Signal = Signaled, exit.Status.Signal()\n\tcase cause != 0:", "r.Ended, r.Signal = Signaled, unix.SIGKILL\n\tcase cause != 0:"},
			{"sandbox/run.go", "if exit.Reported && exit.Status.Signaled() {", "if false {"}},
	},
	{
		alone: true, without: "the report being closed on exec",
		test: "sandbox.TestGarbageOnEveryDescriptorChangesNoResult", says: `could write to|PID 1 ended without a report|garbage`,
		edits: unclosed,
	},
	{
		alone: true, without: "an owner of the report",
		test: "sandbox.TestManyRunsLeaveNothing", says: `descriptors`,
		edits: []edit{{"internal/launch/process_linux.go", "if p.lifeline != nil {\n\t\tp.lifeline.Close()", "if p.lifeline != nil {\n\t\t_, _ = unix.Dup(0)\n\t\tp.lifeline.Close()"}},
	},
	{
		without: "output being counted",
		test:    "sandbox.TestOutputMaxIsExact", says: `want output exceeded|test timed out`,
		edits: []edit{{"sandbox/streams.go", "if c.bounded && int64(len(b)) > c.left {", "if false {"}},
	},
	{
		without: "the size of a tmpfs",
		test:    "sandbox.TestTmpfsIsBounded", says: `a tmpfs of 1 MiB takes`,
		edits: []edit{{"sandbox/compile_base.go", `{"size", strconv.FormatInt(size, 10)}`, `{"size", strconv.FormatInt(size*2, 10)}`}},
	},
	{
		without: "the rules of no_new_privs, at a filter and at PID 2", checked: true,
		test: "internal/plan.TestCheckFindsBrokenRules", says: `want a fault|want the rule`,
		edits: unruled,
	},
	{
		without: "the rule of the bounding set", checked: true,
		test: "sandbox.TestNoStepThatConfinesCanBeLost", says: `nobody misses step`,
		edits: []edit{{"internal/plan/check.go", "if f := c.program(); f != nil {", "if f := c.program(); f != nil && f.Rule != RuleBoundingSet {"}},
	},
	{
		without: "a look for NUL bytes in arguments",
		test:    "sandbox.TestValidateFindsEachFault", says: `NUL`,
		edits: []edit{{"sandbox/validate.go", "case strings.IndexByte(s, 0) >= 0:\n\t\tf.add(index(list, i)", "case false:\n\t\tf.add(index(list, i)"}},
	},
	{
		without: "a look for NUL bytes in arguments",
		test:    "sandbox.FuzzValidate", says: `a NUL byte got through`,
		edits: []edit{{"sandbox/validate.go", "case strings.IndexByte(s, 0) >= 0:\n\t\tf.add(index(list, i)", "case false:\n\t\tf.add(index(list, i)"}},
	},
	{
		without: "a refusal of /proc as Dir",
		test:    "sandbox.FuzzValidate", says: `Dir .* got through`,
		edits: []edit{{"sandbox/validate.go", `case clean == "/proc" || strings.HasPrefix(clean, "/proc/"):`, `case clean == "/proc":`}},
	},
}

var (
	// unclosed lets the command have what PID 1 needs.
	unclosed = []edit{{"sandbox/compile_exec.go", `b.OnExec("let the execution close the report and everything above it", c.report)`, ""}}
	// deaf makes no signal of the caller's end.
	deaf = []edit{{"internal/kernel/calls_linux.go", `named(unix.O_ASYNC|unix.O_NONBLOCK, "O_ASYNC|O_NONBLOCK")`, `named(unix.O_NONBLOCK, "O_NONBLOCK")`}}
	// networked leaves the command in the caller's network.
	networked = []edit{{"sandbox/resolve.go", "if ns.feature == NetworkNamespace && r.hostNet {", "if ns.feature == NetworkNamespace {"}}
	// unruled lets a filter come without no_new_privs.
	unruled = []edit{{"internal/plan/check_confine.go", "case !c.has(didNoNewPrivs):", "case false:"},
		{"internal/plan/check_processes.go", "case !c.has(didNoNewPrivs):", "case false:"}}
)
