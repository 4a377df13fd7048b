package seccomp

import (
	"fmt"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// known reports whether any architecture has a call of this name.
func known(name string) bool {
	for _, a := range kernel.Archs() {
		if _, ok := a.Index(name); ok {
			return true
		}
	}
	return false
}

// spelled reports whether name has the form of a call's name: what the text form can hold.
func spelled(name string) bool {
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return name != ""
}

// unknownName says what is wrong with the name of a call and suggests the nearest known one.
func unknownName(name string) string {
	if !spelled(name) {
		return fmt.Sprintf("%.64q is not the name of a system call: letters, digits and underscores", name)
	}
	if near := nearest(name); near != "" {
		return fmt.Sprintf("no system call is named %q: did you mean %q? (set Optional if it is newer than this package)", name, near)
	}
	return fmt.Sprintf("no system call is named %q (set Optional if it is newer than this package)", name)
}

// maxName bounds the names that nearest compares: the time grows with the square of the length.
const maxName = 64

// nearest returns the known name with the least edit distance, or "" if none is near.
func nearest(name string) string {
	if name == "" || len(name) > maxName {
		return ""
	}
	best, distance := "", min(3, len(name)/2)+1
	for _, a := range kernel.Archs() {
		for i := range a.Len() {
			_, candidate := a.At(i)
			// Ties go to the first in the alphabet, so that the message does not depend on the
			// order of the tables.
			if d := editDistance(name, candidate); d < distance || d == distance && best != "" && candidate < best {
				best, distance = candidate, d
			}
		}
	}
	return best
}

// editDistance counts the bytes to insert, delete or replace to get from a to b.
func editDistance(a, b string) int {
	if len(b) > maxName {
		return len(b)
	}
	var row [maxName + 1]int
	for j := range len(b) + 1 {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
