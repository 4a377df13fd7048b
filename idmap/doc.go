// Package idmap describes which user and group IDs exist inside a user namespace, and which IDs of
// the host they stand for (user_namespaces(7)).
//
// A Map is data and works on every system. Apply writes one to a process's uid_map or gid_map, by itself,
// which takes privilege for all but the caller's own ID, and ApplyByHelper through newuidmap(1) and
// newgidmap(1), for the ranges that a system administrator has set aside for a user. Auto reserves a range of
// those that no other sandbox has. These work on Linux only.
//
// Read idmap.go first, then subid.go for the ranges that are set aside, then apply.go and helper.go for what
// can go wrong, apply_linux.go and apply_helper_linux.go for how maps are written, and auto.go and
// auto_linux.go for reservations.
package idmap
