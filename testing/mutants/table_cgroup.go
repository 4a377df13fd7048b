//go:build linux

package main

// cgroups are mutants of what a cgroup holds.
var cgroups = []mutant{
	{
		without: "memory.max", vm: true,
		test: "sandbox.TestCgroupOfMemoryBomb", says: `want out of memory`,
		edits: []edit{{"internal/cgroup/limits.go", `s.number("MemoryMax", Memory, "memory.max", l.MemoryMax)`, ""}},
	},
	{
		without: "pids.max", vm: true,
		test: "sandbox.TestCgroupStopsAForkBomb", says: `refused 0 times`,
		edits: []edit{{"internal/cgroup/limits.go", `s.number("PidsMax", Pids, "pids.max", l.PidsMax)`, ""}},
	},
	{
		without: "cpu.max", vm: true,
		test: "sandbox.TestCgroupHoldsCPUMax", says: `of a processor in|never held back`,
		edits: []edit{{"internal/cgroup/limits.go", `s.add("CPUMax", CPU, "cpu.max", fmt.Sprintf("%d %d", quota, period))`, "_, _ = quota, period"}},
	},
	{
		without: "a watch on cpu.stat", vm: true,
		test: "sandbox.TestCgroupCountsCPUTimeOfAll", says: `want out of CPU time`,
		edits: []edit{{"sandbox/watch.go", "if limit := c.spec.Limits.CPUTime; limit > 0 {", "if limit := c.spec.Limits.CPUTime; limit < 0 {"}},
	},
	{
		without: "a look at memory.events", vm: true,
		test: "sandbox.TestCgroupTellsAKillFromWantOfMemory", says: `SIGKILL of its own: `,
		edits: guessed,
	},
	{
		without: "a look at memory.events",
		test:    "sandbox.TestVerdict", says: `SIGKILL of its own: |the host out of memory: `,
		edits: guessed,
	},
	{
		without: "a read-only mount", vm: true,
		test: "sandbox.TestCgroupIsTheRootOfAllInside", says: `inside: `,
		edits: []edit{{"sandbox/compile_base.go", `makeFS(b, "/sys/fs/cgroup", "cgroup2", maskAttrs)`, `makeFS(b, "/sys/fs/cgroup", "cgroup2", maskAttrs&^unix.MOUNT_ATTR_RDONLY)`}},
	},
	{
		without: "a cgroup namespace: the kernel mounts none then", vm: true,
		test: "sandbox.TestCgroupIsTheRootOfAllInside", says: `make a cgroup2 .*operation not permitted`,
		edits: []edit{{"sandbox/resolve.go", "r.namespaces |= ns.flag\n", "r.namespaces |= ns.flag &^ unix.CLONE_NEWCGROUP\n"},
			{"sandbox/compile_base.go", "c.namespaces&unix.CLONE_NEWCGROUP == 0 {", "false {"}},
	},
	{
		without: "its removal", vm: true,
		test: "sandbox.TestCgroupOfManyRunsIsGone", says: `left: `,
		edits: []edit{{"sandbox/cell.go", "return cgroupError(\"remove the sandbox's cgroup\", c.leaf.Remove(ctx))", "_ = ctx\n\treturn nil"}},
	},
	{
		without: "a look for what dead callers left", vm: true,
		test: "sandbox.TestCgroupsOfKilledCallerAreRemovedByTheNextStart", says: `left|are`,
		edits: []edit{{"internal/cgroup/stale_linux.go", "if kind == nil {", "if kind != nil || kind == nil {"}},
	},
}

// guessed takes every SIGKILL for a want of memory.
var guessed = []edit{{"sandbox/run.go", "case oom == cgroup.OOMByLimit && ", "case "}}
