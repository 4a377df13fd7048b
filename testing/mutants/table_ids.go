//go:build linux

package main

// identities are mutants of what keeps the IDs of the host away.
var identities = []mutant{
	{
		without: "a look at the saved IDs",
		test:    "sandbox.TestRootSetuidCallerIsRefused", says: `started, want refused|exit status`,
		edits: []edit{{"sandbox/resolve.go", "if host.facts.Caller.SetID {", "if false {"}},
	},
	{
		without: "another ID for root",
		test:    "sandbox.TestRootCallerRunsAsSomebodyElse", says: `_map: \[0 0 1\]`,
		edits: []edit{{"sandbox/resolve_ids.go", "if c.UID != 0 {\n\t\treturn idmap.Single(c.UID, c.UID)", "if true {\n\t\treturn idmap.Single(c.UID, c.UID)"}},
	},
	{
		without: "the command taking the ID of the Spec",
		test:    "sandbox.TestRootCallerMapsIDZeroOnlyIfItIsWritten", says: `uid 0 0 0 gid 34`,
		edits: []edit{{"sandbox/compile_exec.go", `b.Call(fmt.Sprintf("become user %d", c.ids.uid), kernel.Setresuid(c.ids.uid))`, ""}},
	},
	{
		without: "the caller's own number",
		test:    "sandbox.TestOnlyTheCallersOwnIDExistsInside", says: `uid_map`,
		edits: []edit{{"sandbox/resolve_ids.go", "return idmap.Single(c.UID, c.UID), ", "return idmap.Single(0, c.UID), "}},
	},
	{
		without: "what others hold being left out",
		test:    "sandbox.TestSandboxesWithAutoShareNoHostID", says: `1000 users`,
		edits: withoutTaken,
	},
	{
		without: "what others hold being left out",
		test:    "sandbox.TestProcessOfOneRangeCannotSignalOrTraceAnother", says: `"kill -0 \$1" succeeds on the other`,
		edits: withoutTaken,
	},
	{
		without: "what others hold being left out",
		test:    "idmap.TestReservationsShareNoID", says: `taken twice`,
		edits: withoutTaken,
	},
	{
		without: "the command's own IDs",
		test:    "sandbox.TestFilesMadeInsideBelongToTheMappedIDs", says: `other belongs to`,
		edits: []edit{
			{"sandbox/compile_exec.go", `b.Call(fmt.Sprintf("become user %d", c.ids.uid), kernel.Setresuid(c.ids.uid))`, ""},
			{"sandbox/compile_confine.go", "if uid, _ := c.ids.first(); c.ids.uid != uid && !c.joins {", "if false {"},
			{"sandbox/compile_confine.go", "if uid, _ := c.ids.first(); c.ids.uid != uid {", "if false {"},
		},
	},
	{
		without: "a lock that others see",
		test:    "idmap.TestReservationOfAnotherProgramEndsWithIt", says: `1000|holds the rest`,
		edits: []edit{{"idmap/auto_linux.go", "if err = flock(f, unix.LOCK_EX|unix.LOCK_NB); err == nil {", "if err == nil {"}},
	},
	{
		without: "the lock being closed on exec",
		test:    "idmap.TestReservationOfAnotherProgramEndsWithIt", says: `IDs`,
		edits: []edit{{"idmap/auto_linux.go", "lock, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)", "lock, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD, 0)"}},
	},
	{
		without: "a look at the mode",
		test:    "idmap.TestDirectoryOfLocksIsPrivate", says: `open: .*want "0770"`,
		edits: []edit{{"idmap/auto_linux.go", "st.Mode&0o077 != 0", "st.Mode&0o007 != 0"}},
	},
	{
		without: "O_NOFOLLOW",
		test:    "idmap.TestDirectoryOfLocksIsPrivate", says: `a link: `,
		edits: []edit{{"idmap/auto_linux.go", "unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC", "unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC"}},
	},
	{
		alone: true, without: "the check before the start, and newuidmap, which refuses it too",
		test: "sandbox.TestHostRootCannotBeMappedWithoutPrivilege", says: `user: `,
		edits: []edit{{"sandbox/resolve_ids.go", "if isOwn(r, own) || within(r, ranges) {", "if true {"},
			{"sandbox/resolve_ids.go", "return idmap.ApplyByHelper(ctx, pid, i.uids, i.gids)", "return nil"}},
	},
	{
		without: "telling why newuidmap refuses",
		test:    "idmap.TestHelpersMapNoIDsOfOthers", says: `the host's root: `,
		edits: []edit{{"idmap/apply_helper_linux.go", "failed.Remedy, failed.Err = explainHelper(h.facts(path), text, s, ranges)", "failed.Err = err; _ = ranges; _ = s"}},
	},
	{
		without: "an absolute path of the helper",
		test:    "idmap.TestHelperIsNotTakenFromARelativeDirectory", says: `nil`,
		edits: []edit{{"idmap/apply_helper_linux.go", "path, err := exec.LookPath(name); err == nil && filepath.IsAbs(path)", "path, err := filepath.Abs(name); err == nil"}},
	},
	{
		alone: true, without: "PID 1 being undumpable, where fs.suid_dumpable is 1 and a change of user makes it so",
		test: "sandbox.TestInitOfARangeIsOutOfReach", says: `list:/proc/1/fd: ok|test timed out`,
		edits: []edit{{"sandbox/compile_confine.go", `b.Call("keep PID 1 out of the command's reach", kernel.Prctl(unix.PR_SET_DUMPABLE, 0))`, dumpable},
			{"sandbox/compile_confine.go", `b.Call("keep PID 1 out of the command's reach again", kernel.Prctl(unix.PR_SET_DUMPABLE, 0))`, dumpable},
			{"sandbox/compile_exec.go", `b.Call("keep PID 1 out of the command's reach again", kernel.Prctl(unix.PR_SET_DUMPABLE, 0))`, dumpable}},
	},
	{
		without: "the command dropping its capabilities",
		test:    "sandbox.TestCapabilitiesInARangeEndWithIt", says: `the control: `,
		edits: []edit{
			{"sandbox/compile_capabilities.go", `b.Call("drop every capability of the command", kernel.Capset())`, ""},
			{"sandbox/compile_capabilities.go", "if c.capabilities == 0 {\n\t\tb.Append(all)\n\t\treturn\n\t}", "if c.capabilities == 0 {\n\t\treturn\n\t}"},
		},
	},
	{
		alone: true, without: "the lifeline",
		test: "sandbox.TestSandboxWithARangeEndsWithItsCaller", says: `is left`,
		edits: deaf,
	},
	{
		without: "setgroups",
		test:    "sandbox.TestRootCallersGroupsAreDroppedInARange", says: `no "range: uid 0 0 0 gid 0 0 0 groups \[\]`,
		edits: []edit{{"sandbox/compile_start.go", `b.Call("leave the caller's groups", kernel.Setgroups(nil))`, ""}},
	},
	{
		without: "a refusal of groups that cannot be joined",
		test:    "sandbox.TestGroupsNeedASubordinateGroup", says: `join groups|setgroups`,
		edits: []edit{{"sandbox/resolve_ids.go", "if len(i.groups) > 0 && i.keepsGroups {", "if false {"}},
	},
	{
		without: "a refusal of 0",
		test:    "idmap.TestSubordinate", says: `"bob`,
		edits: []edit{{"idmap/subid.go", "case e.SubID < 1 ||", "case e.SubID < 0 ||"}},
	},
	{
		without: "a refusal of 0",
		test:    "idmap.FuzzSubordinate", says: `gives away the host's root`,
		edits: []edit{{"idmap/subid.go", "case e.SubID < 1 ||", "case e.SubID < 0 ||"}},
	},
	{
		without: "a look at the file system",
		test:    "idmap.TestRootIsToldOfAFileSystemThatIsNotProc", says: `written: .*1000`,
		edits: []edit{{"idmap/apply_linux.go", "if st.Type != unix.PROC_SUPER_MAGIC {", "if st.Type == 0 {"}},
	},
}

// dumpable is what the kernel does by itself at a change of user, where fs.suid_dumpable is 1.
const dumpable = `b.Call("be in everybody's reach", kernel.Prctl(unix.PR_SET_DUMPABLE, 1))`

// withoutTaken lets a Reservation take what others hold.
var withoutTaken = []edit{{"idmap/auto_linux.go", "uids, gids = append(uids, u...), append(gids, g...)", "_, _ = u, g"},
	{"idmap/auto_linux.go", "next(r.UIDs), next(r.GIDs)), 0)", "0, 0), 0)"}}
