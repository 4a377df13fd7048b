// Package plan describes the set-up of a sandbox as data: a program of system calls for three processes,
// each call with its arguments, the result that it must have, and a label that a user understands.
//
// Read op.go for what a program is, build.go for how one is written with descriptors that are known
// beforehand, check.go for the rules that hold for every one, print.go for what it looks like, record.go
// for what it tells its caller while it runs. Nothing here touches the system.
package plan
