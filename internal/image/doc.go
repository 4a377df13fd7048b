// Package image turns a plan.Program into a static ELF executable of a few KiB: the interpreter, which
// is machine code copied out of the running program's own text, and a data segment that holds the ops
// and everything they point to.
//
// Read layout_linux.go for what the data segment looks like, stub_amd64.s for the interpreter that
// walks it, and reference_test.go for the same interpreter in Go.
package image
