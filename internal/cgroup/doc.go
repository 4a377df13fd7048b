// Package cgroup holds processes in cgroups of version 2, in a subtree that was delegated to the caller:
// it finds one, makes a cgroup for each sandbox, and reads there what the kernel counted.
//
// Find finds the subtree and returns it as a Tree. Tree.New makes a Leaf, the cgroup of one sandbox, with
// its Limits in force before anything runs in it. A Leaf has the descriptor that a process is born into,
// says what was used (Stats), tells of limits that are reached (AwaitOOM, AwaitCPUTime), can be paused and
// given other limits, and is removed with all that is in it.
//
// What the package decides is a function of data, tested without an operating system:
//
//	limits.go     which limit is which value in which file
//	stats.go      what the kernel counted, and what follows from it
//	peaks.go      the most that there was, where the kernel does not say
//	parse.go      the formats of its files
//	place.go      where in the tree a process is
//	choose.go     which cgroup will do, and why others will not
//	errors.go     what is said when none does
//
// What it does:
//
//	find_linux.go      tries one way after the other
//	host_linux.go      shows the real tree to choose.go
//	manager_linux.go   asks systemd for a subtree
//	bus_linux.go       how systemd is spoken to
//	tree_linux.go      owns the subtree: controllers, and how a process gets in
//	leaf_linux.go      makes a cgroup and sets its limits
//	ahead_linux.go     makes the next one meanwhile
//	measure_linux.go   reads what was counted, samples what was not
//	watch_linux.go     waits for events in its files
//	control_linux.go   pauses, kills, removes
//	stale_linux.go     removes what dead callers left
//	file_linux.go      files of a cgroup, by its descriptor
//	device_linux.go    the disk that holds a path
//
// Section names in comments are those of Documentation/admin-guide/cgroup-v2.rst of the kernel.
package cgroup
