package sandbox

import "fmt"

// State says whether a host gives a feature, as a try of Probe has found.
type State int

// The states. Zero is that nothing is known.
const (
	// Inconclusive is that the feature could not be tried, or that the try ended in a way that says nothing
	// about the host, such as for want of memory or time.
	Inconclusive State = iota
	// Works is that a sandbox with the feature was set up, and its command ran.
	Works
	// Missing is that the host, or this version of the library, does not give it.
	Missing
)

// String returns the state in a word.
func (s State) String() string {
	switch s {
	case Inconclusive:
		return "inconclusive"
	case Works:
		return "works"
	case Missing:
		return "missing"
	}
	return fmt.Sprintf("State(%d)", int(s))
}

// FeatureState is what Probe has found out about one Feature.
type FeatureState struct {
	Feature Feature
	State   State
	// By is the mechanism, as in Enforcement; "" unless it Works.
	By string
	// Cause is why it does not work, or could not be tried: the error that Run gives. nil if it Works.
	Cause error
	// Remedy is what can be done on this host: text of one or more lines with the very commands, options or
	// files. "" if it Works, or if nothing is known to help.
	Remedy string
}
