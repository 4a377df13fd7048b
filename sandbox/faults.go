package sandbox

import (
	"errors"
	"fmt"
	"strconv"
)

// maxFaults is how many faults of one Spec are reported; the rest is counted. A Spec made by a
// program can be wrong a million times over, and nobody reads that.
const maxFaults = 100

// faults collects what is wrong with a Spec, in the order in which it is found.
type faults struct {
	errs []error
	more int // faults beyond maxFaults
}

// add notes a fault of field, given as its path from the Spec: "Mounts[2].Target".
func (f *faults) add(field, format string, args ...any) {
	if len(f.errs) == maxFaults {
		f.more++
		return
	}
	f.errs = append(f.errs, &SpecError{Field: field, Reason: fmt.Sprintf(format, args...)})
}

// full says that further faults would only be counted. Loops over input whose length nothing bounds
// stop there.
func (f *faults) full() bool { return f.more > 0 }

// err joins the faults; it is nil if there is none.
func (f *faults) err() error {
	if f.more > 0 {
		return errors.Join(append(f.errs[:len(f.errs):len(f.errs)], fmt.Errorf("sandbox: and %d more faults of the Spec", f.more))...)
	}
	return errors.Join(f.errs...)
}

// count notes a fault if a list holds more than most entries, and returns how many of them to look at.
func (f *faults) count(field string, n, most int) int {
	if n > most {
		f.add(field, "%d entries, at most %d are possible", n, most)
		return most
	}
	return n
}

// index returns the path of an entry of a list.
func index(field string, i int) string { return field + "[" + strconv.Itoa(i) + "]" }

// brief quotes s for a message, and cuts what is too long to read.
func brief(s string) string {
	const most = 64
	if len(s) > most {
		return strconv.Quote(s[:most]) + "…"
	}
	return strconv.Quote(s)
}
