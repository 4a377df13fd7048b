// Facts counts the tests that show what SECURITY.md says, in what "go test -v" printed.
//
//	go run ./testing/facts <log> [<log of a virtual machine> ...]
//
// It runs at the root of the repository, and fails if a row of the table names no test, or one that
// there is not, and if a fact passed in none of the logs: a test that was renamed, left out or skipped
// everywhere shows nothing.
package main

import (
	"fmt"
	"io"
	"os"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: facts <log> [<log of a virtual machine> ...]")
		os.Exit(2)
	}
	ok, err := run(os.Stdout, os.Args[1], os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "facts:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

func run(w io.Writer, here string, machines []string) (ok bool, err error) {
	all, faults, err := find(os.DirFS("."))
	if err != nil {
		return false, err
	}
	outside, inside := verdicts{}, verdicts{}
	if err := outside.read(here); err != nil {
		return false, err
	}
	for _, name := range machines {
		if err := inside.read(name); err != nil {
			return false, err
		}
	}
	c := count(all, outside, inside)
	faults = append(faults, c.faults()...)
	for _, fault := range faults {
		fmt.Fprintln(w, fault)
	}
	fmt.Fprintln(w, c)
	return len(faults) == 0, nil
}
