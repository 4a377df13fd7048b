// Package filetree reads and writes files below a directory that hostile code may change at the same time: the
// root of a sandbox. No path of such a tree leads out of it.
//
// Every path is resolved by openat2(2), within the root and without any link. What is found is held by a
// descriptor that can do nothing (O_PATH), looked at, and opened for reading only if it is a regular file or
// a directory, by that descriptor: what the name stands for by then does not matter, and neither a device
// nor a fifo is ever opened. What the kernel makes up (procfs and its like) is refused, and everything is
// counted.
//
// Read find_linux.go first: everything else goes through it. read_linux.go, tar_linux.go and fs_linux.go
// are the forms in which files come out, write_linux.go is how they go in, user_linux.go is with whose
// rights.
package filetree
