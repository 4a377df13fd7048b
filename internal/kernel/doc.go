// Package kernel knows what golang.org/x/sys/unix does not: the system call tables of every ABI that a
// filter can meet, and the layout of the structures that system calls take, as data rather than as calls.
//
// Read arch.go and syscalls.go for the tables, which build everywhere; call.go for what a system call with
// prepared arguments is, and calls_linux.go and files_linux.go for the ones that set up a sandbox.
package kernel
