//go:build linux

package main

// trees are mutants of what is taken out of a sandbox and brought in.
var trees = []mutant{
	{
		without: "links not being followed",
		test:    "sandbox.TestCollectedLinkLeadsNowhere", says: `a link: `,
		edits: followed,
	},
	{
		without: "links not being followed",
		test:    "internal/filetree.TestNoSwapLeadsOutOfTheTree", says: `holds what is outside`,
		edits: followed,
	},
	{
		without: "a file being opened by the descriptor that was looked at",
		test:    "internal/filetree.TestWhatWasLookedAtIsRead", says: `a secret of the host.*want what was there`,
		edits: byName,
	},
	{
		without: "a refusal of fifos",
		test:    "internal/filetree.TestOnlyRegularFilesAreRead", says: `fifo`,
		edits: []edit{{"internal/filetree/find_linux.go", "case unix.S_IFREG, unix.S_IFDIR:\n\tcase", "case unix.S_IFREG, unix.S_IFDIR, unix.S_IFIFO:\n\tcase"},
			{"internal/filetree/find_linux.go", "\tcase unix.S_IFIFO:\n\t\treturn &caseOf{ErrKind, \"a fifo\"}\n", ""}},
	},
	{
		without: "a refusal of devices",
		test:    "internal/filetree.TestOnlyRegularFilesAreRead", says: `dev/null: `,
		edits: []edit{{"internal/filetree/find_linux.go", "case unix.S_IFREG, unix.S_IFDIR:\n\tcase", "case unix.S_IFREG, unix.S_IFDIR, unix.S_IFCHR:\n\tcase"},
			{"internal/filetree/find_linux.go", "case unix.S_IFCHR, unix.S_IFBLK:", "case unix.S_IFBLK:"}},
	},
	{
		without: "a refusal of what the kernel makes up",
		test:    "internal/filetree.TestOnlyRegularFilesAreRead", says: `proc/cpuinfo: `,
		edits: []edit{{"internal/filetree/find_linux.go", "if slices.Contains(pseudo, int64(s.Type)) {", "if slices.Contains(pseudo[:0], int64(s.Type)) {"}},
	},
	{
		without: "bytes being counted",
		test:    "internal/filetree.TestLimitsHold", says: `ten within 9 bytes|9: `,
		edits: []edit{{"internal/filetree/read_linux.go", "b.bytes.CompareAndSwap(left, left-got)", "b.bytes.CompareAndSwap(left, left)"}},
	},
	{
		without: "files being counted",
		test:    "internal/filetree.TestLimitsHold", says: `200 files`,
		edits: []edit{{"internal/filetree/read_linux.go", "if b.files.Add(-1) < 0 {", "if b.files.Add(0) < 0 {"}},
	},
	{
		without: "the end of everything coming before",
		test:    "sandbox.TestCollectComesAfterEverythingHasEnded", says: `bytes, then`,
		edits: []edit{
			{"sandbox/compile_exec.go", `b.Call("kill what is left", kernel.KillAll()).Tolerates("PID 2 may be the last", unix.ESRCH)`, ""},
			{"sandbox/compile_exec.go", `b.Until("reap what is left", kernel.Wait4(left, plan.RecordStatus, plan.RecordUsage), -int64(unix.ECHILD))`, "_ = left"},
			{"sandbox/cmd.go", "return c.process.WaitReported()", "return c.process.WaitReported()\n\t}\n\tif len(c.spec.Collect) > 0 {\n\t\tc.uncollected = c.collect()"},
			{"sandbox/cmd.go", "\tc.uncollected = c.collect()\n\tused,", "\tused,"},
		},
	},
	{
		without: "links not being followed",
		test:    "sandbox.TestCopiesLeadNowhereWhileThePayloadSwaps", says: `holds what is the host's|directory has changed`,
		edits: followed,
	},
	{
		without: "links not being followed",
		test:    "internal/filetree.TestWritesLeadNowhereWhileTheTreeIsSwapped", says: `outside there is now`,
		edits: followed,
	},
	{
		without: "O_EXCL",
		test:    "internal/filetree.TestWhatIsThereIsReplacedIfAskedAndNeverWrittenTo", says: `a (hard )?link: outside there is`,
		edits: []edit{{"internal/filetree/write_linux.go", "unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC", "unix.O_WRONLY|unix.O_CREAT|unix.O_NONBLOCK|unix.O_CLOEXEC"}},
	},
	{
		without: "O_NONBLOCK",
		test:    "internal/filetree.TestLeasedFileDoesNotHoldUp", says: `want EAGAIN|test timed out`,
		edits: []edit{{"internal/filetree/find_linux.go", "const how = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY", "const how = unix.O_RDONLY | unix.O_NOCTTY"}},
	},
	{
		without: "links not being followed",
		test:    "internal/filetree.FuzzPath", says: `leads out`,
		edits: followed,
	},
	{
		without: "the rights of the command",
		test:    "sandbox.TestRootCollectsWithTheRightsOfTheCommand", says: `root's`,
		edits: asCaller,
	},
	{
		without: "the rights of the command",
		test:    "internal/filetree.TestRootReadsWithTheRightsOfTheSandbox", says: `result as .*a secret of the host`,
		edits: asCaller,
	},
	{
		without: "leaving root's groups",
		test:    "internal/filetree.TestRootReadsWithTheRightsOfTheSandbox", says: `groups as .*a secret of the host`,
		edits: []edit{{"internal/filetree/user_linux.go", "if u.DropGroups && !(len(groups) == 0) {", "if false {"}},
	},
	{
		without: "dropping capabilities",
		test:    "internal/filetree.TestRootReadsWithTheRightsOfTheSandbox", says: `result as .*a secret of the host`,
		edits: []edit{{"internal/filetree/user_linux.go", "none[0].Effective, none[1].Effective = 0, 0", ""}},
	},
	{
		without: "the rights of the command",
		test:    "sandbox.TestRootCopiesWithTheRightsOfTheCommand", says: `nil|<nil>`,
		edits: asCaller,
	},
	{
		without: "the rights of the command",
		test:    "internal/filetree.TestRootWritesWithTheRightsOfTheSandbox", says: `<nil>`,
		edits: asCaller,
	},
}

var (
	// followed follows links, as everybody does.
	followed = []edit{
		{"internal/filetree/find_linux.go", "resolve = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS", "resolve = 0"},
		{"internal/filetree/find_linux.go", "Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC", "Flags: unix.O_PATH | unix.O_CLOEXEC"},
	}
	// byName looks at a file, and opens whatever has its name then.
	byName = []edit{
		{"internal/filetree/find_linux.go", "type node struct {\n\tfd   int", "type node struct {\n\troot int\n\tpath string\n\tfd   int"},
		{"internal/filetree/find_linux.go", "n := node{fd: fd}", "n := node{fd: fd, root: root, path: path}"},
		{"internal/filetree/find_linux.go", "at := unix.AT_FDCWD\n", "at := unix.AT_FDCWD\n\tif n.path != \"\" && !n.isDir() {\n\t\tat, path = n.root, n.path\n\t}\n"},
	}
	// asCaller uses the caller's own rights.
	asCaller = []edit{{"internal/filetree/user_linux.go", "if u == nil {\n\t\treturn nil, nil\n\t}", "if true {\n\t\treturn nil, nil\n\t}"}}
)
