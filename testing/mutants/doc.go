//go:build linux

// Command mutants shows that the tests which SECURITY.md names can fail: it takes one protection out of the
// library at a time, and runs the test that is to miss it.
//
//	go run ./testing/mutants                # every mutant that this host can show
//	go run ./testing/mutants -run ioctl     # those whose protection or test matches
//	go run ./testing/mutants -together 6    # faster: see its -help
//	go run ./testing/mutants -vm -together 9 # those that need cgroup v2, in a virtual machine (testing/vm)
//	go run ./testing/mutants -list
//
// The tables are in table_*.go. A mutant is text that is replaced in files of the library, by an overlay of
// the go command: the repository is not written to. plan.Check would refuse most of them before anything
// runs; it is taken out of them too, so that it is the behavior which is tested. The tests of this package
// see to it that the text is still there, and that no row of SECURITY.md goes without a mutant.
//
// Started as root it shows all; tests run as package sandboxtest runs them, as a user or as root.
package main
