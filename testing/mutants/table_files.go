//go:build linux

package main

// hosts are mutants of what keeps the host's files and descriptors away.
var hosts = []mutant{
	{
		without: "read-only binds",
		test:    "sandbox.TestPayloadCannotOverwriteTheCallersBinary", says: `openw:/f: .*want EROFS`,
		edits: []edit{{"sandbox/compile_mounts.go", "attrs := uint64(readOnly)\n\tif writable {", "attrs := uint64(readOnly)\n\tif true {"}},
	},
	{
		without: "PID 1 being out of reach",
		test:    "sandbox.TestPayloadCannotOverwriteTheCallersBinary", says: `open:/proc/1/exe: `,
		edits: []edit{{"sandbox/compile_confine.go", `b.Call("keep PID 1 out of the command's reach", kernel.Prctl(unix.PR_SET_DUMPABLE, 0))`, ""}},
	},
	{
		without: "the seals of the memfd",
		test:    "internal/launch.TestMemfdCannotBeChangedAndCanBeExecuted", says: `want EPERM|write|seal`,
		edits: []edit{{"internal/launch/file_linux.go", "unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE", "unix.F_SEAL_SEAL"}},
	},
	{
		without: "close_range, whatever its number",
		test:    "sandbox.TestPayloadInheritsNoDescriptor", says: `payload's descriptors: 0 1 2 .*77 `,
		edits: []edit{
			{"internal/plan/build.go", "b.closeRange(label, first, kernel.LastDescriptor)", "b.closeRange(label, first, 76)"},
			{"sandbox/compile_exec.go", `b.OnExec("let the execution close the report and everything above it", c.report)`, `b.Call("let the execution close the report", kernel.SetCloseOnExec(c.report))`},
		},
	},
	{
		without: "close_range before the execution",
		test:    "sandbox.TestPayloadInheritsNoDescriptor", says: `payload's descriptors: 0 1 2 3 4`,
		edits: []edit{{"sandbox/compile_exec.go", `b.OnExec("let the execution close the report and everything above it", c.report)`, ""}},
	},
	{
		without: "a refusal of magic links in Dir",
		test:    "sandbox.TestDirCannotBeADescriptorOfTheCaller", says: `through a link to /proc/self/cwd: .*want ELOOP`,
		edits: []edit{{"sandbox/compile_exec.go", "c.dir, ownDir, unix.RESOLVE_NO_MAGICLINKS", "c.dir, ownDir, 0"}},
	},
	{
		without: "the holes being closed",
		test:    "sandbox.TestExtraFilesKeepTheirNumbersAndHolesStayClosed", says: `descriptors 0 1 2 3 4`,
		edits: []edit{{"sandbox/compile_exec.go", `b.Call("let the execution close a hole", kernel.SetCloseOnExec(fd))`, "_ = fd"}},
	},
	{
		without: "a /tmp of its own",
		test:    "sandbox.TestPayloadCannotReadHostHome", says: `want ENOENT`,
		edits: []edit{
			{"sandbox/compile_base.go", `mountNew(b, "tmpfs", tmp, c.root, "/tmp")`, "_ = tmp"},
			{"internal/probe/facts_linux.go", `topLevel = [...]string{`, `topLevel = [...]string{"/tmp", `},
		},
	},
	{
		without: "a base system of certain paths alone",
		test:    "sandbox.TestBaseSystemHoldsNothingElseOfTheHost", says: `/ holds (sys|boot)`,
		edits: []edit{{"internal/probe/facts_linux.go", `topLevel = [...]string{`, `topLevel = [...]string{"/boot", "/sys", `}},
	},
	{
		without: "taking the host's tree away, and the look above",
		test:    "sandbox.TestNothingOfTheHostIsAboveTheRoot", says: `above the root are`,
		edits: []edit{
			{"sandbox/compile_base.go", `b.Call("take the host's tree away", kernel.UmountDetach("."))`, ""},
			{"sandbox/compile_base.go", "ownDir, unix.RESOLVE_NO_XDEV))", "ownDir, 0))"},
		},
	},
	{
		without: "taking the host's tree away: the look above finds it",
		test:    "sandbox.TestNothingOfTheHostIsAboveTheRoot", says: `check that nothing is above the root: .*cross-device`,
		edits: []edit{{"sandbox/compile_base.go", `b.Call("take the host's tree away", kernel.UmountDetach("."))`, ""}},
	},
	{
		without: "leaving the host's root, and RESOLVE_IN_ROOT",
		test:    "sandbox.TestSetUpFollowsNoLinkOutOfTheRoot", says: `the set-up made .* on the host`,
		edits: []edit{
			{"sandbox/compile_base.go", `b.Call("take the host's tree away", kernel.UmountDetach("."))`, ""},
			{"sandbox/compile_base.go", "ownDir, unix.RESOLVE_NO_XDEV))", "ownDir, 0))"},
			{"sandbox/compile_mounts.go", "const resolve = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS", "const resolve = 0"},
		},
	},
	{
		without: "leaving the host's root, and RESOLVE_IN_ROOT",
		test:    "sandbox.TestSetUpOnATreeThatIsBeingSwappedStaysInside", says: `the set-up made .* on the host`,
		edits: []edit{
			{"sandbox/compile_base.go", `b.Call("take the host's tree away", kernel.UmountDetach("."))`, ""},
			{"sandbox/compile_base.go", "ownDir, unix.RESOLVE_NO_XDEV))", "ownDir, 0))"},
			{"sandbox/compile_mounts.go", "const resolve = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS", "const resolve = 0"},
		},
	},
	{
		without: "/dev and /proc never being links",
		test:    "sandbox.TestDevAndProcOfATreeMustBeDirectories", says: `dev -> /tmp: .*want an \*OpError`,
		edits: []edit{{"internal/kernel/files_linux.go", `named(unix.MOVE_MOUNT_F_EMPTY_PATH, "MOVE_MOUNT_F_EMPTY_PATH")`, `named(unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_SYMLINKS, "MOVE_MOUNT_F_EMPTY_PATH")`}},
	},
	{
		without: "links that are followed inside",
		test:    "sandbox.TestVarRunLeadsToRun", says: `open /var/run: `,
		edits: []edit{{"sandbox/compile_mounts.go", "const resolve = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS", "const resolve = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS"}},
	},
	{
		without: "MOUNT_ATTR_RDONLY",
		test:    "sandbox.TestBindIsReadOnlyUnlessWritable", says: `create:/data/x: .*want EROFS`,
		edits: []edit{{"sandbox/compile_mounts.go", "attrs := uint64(readOnly)\n\tif writable {", "attrs := uint64(readOnly)\n\tif true {"}},
	},
	{
		without: "MOUNT_ATTR_NOSUID",
		test:    "sandbox.TestEveryMountIsNosuidNodevAndPrivate", says: `/data is not nosuid`,
		edits: []edit{{"sandbox/compile_mounts.go", "unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV", "unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NODEV"}},
	},
	{
		without: "AT_RECURSIVE",
		test:    "sandbox.TestRootSubmountsOfABindAreReadOnlyToo", says: `create:/data/sub/x: .*want EROFS`,
		edits: []edit{{"sandbox/compile_mounts.go", `kernel.MountSetattr(fd, attrs, true)`, `kernel.MountSetattr(fd, attrs, false)`}},
	},
	{
		without: "private propagation",
		test:    "sandbox.TestRootNoMountGoesFromTheHostIntoTheSandboxOrBack", says: `a mount of the host came in`,
		edits: []edit{{"sandbox/compile_mounts.go", `b.Call("keep mounts from propagating", kernel.MakePrivate())`, ""}},
	},
}
