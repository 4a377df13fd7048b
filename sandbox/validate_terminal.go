package sandbox

import (
	"io"
	"reflect"
)

// validateTerminal holds a Terminal to one output: what programs write to either stream is on the screen.
func validateTerminal(f *faults, spec *Spec) {
	if spec.Terminal != nil && spec.Stderr != nil && !sameWriter(spec.Stdout, spec.Stderr) {
		f.add("Stderr", "set beside Terminal, which has one output: leave it nil, or make it the same as Stdout")
	}
}

// sameWriter reports whether both are one writer, without a panic for types that cannot be compared.
func sameWriter(a, b io.Writer) bool {
	if a == nil || b == nil || !reflect.TypeOf(a).Comparable() || !reflect.TypeOf(b).Comparable() {
		return false
	}
	defer func() { _ = recover() }() // an interface in a comparable struct may hold what is not
	return a == b
}

// validateStop checks how a command is asked to end.
func validateStop(f *faults, spec *Spec) {
	const lastSignal = 64 // SIGRTMAX
	if sig := spec.StopSignal; sig < 0 || sig > lastSignal {
		f.add("StopSignal", "%d is not from 1 to %d", int(sig), lastSignal)
	}
	switch d := spec.StopTimeout; {
	case d < 0:
		f.add("StopTimeout", "%v is negative", d)
	case d > 0 && spec.StopSignal == 0:
		f.add("StopTimeout", "set without a StopSignal")
	}
}
