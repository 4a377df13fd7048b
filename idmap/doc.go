// Package idmap describes which user and group IDs exist inside a user namespace, and which IDs of
// the host they stand for (user_namespaces(7)).
//
// A Map is data and works on every system. Apply, which writes one to a process's uid_map or
// gid_map, works on Linux only. Read idmap.go first, then subid.go for the ranges that a system
// administrator has set aside for a user, then apply.go and apply_linux.go.
package idmap
