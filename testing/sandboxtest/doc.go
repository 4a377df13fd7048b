// Package sandboxtest helps to test programs that use package sandbox.
//
// A sandbox that works for root proves little: users are not root, and the kernel asks more of them.
// Main therefore runs a test binary that root has started again as a user without any privilege, so
// that a plain "go test" means the same everywhere:
//
//	func TestMain(m *testing.M) { sandboxtest.Main(m) }
//
// Tests whose names begin with TestRoot are about a caller that is root. They run as root, when root
// started the binary, and not at all otherwise.
//
// Main also fails the binary if a test left something behind: see CheckLeaks.
//
// A test that needs something of its host says so with Need. That is the only way to skip: a host
// that is known to have a thing says so in the environment variable RINGFENCE_NO_SKIP, a list of the
// names of requirements with commas, or "all", and then the test fails where it would have been
// skipped. Every skip prints a line "SKIP name: reason", which "go test -v" shows.
//
// Read need.go for requirements, main_linux.go for what Main does, leak.go for what counts as a leak.
package sandboxtest
