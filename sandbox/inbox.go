//go:build linux

package sandbox

import (
	"encoding/binary"
	"fmt"
)

// What a sandbox that waits is told: one message that goes, as it is, into memory of its own, which the kernel
// then reads as paths, strings and arrays of pointers to them.
const (
	inboxPaths   = 12       // candidates for the command
	inboxPath    = 1024     // bytes of the working directory, and of the first candidate
	inboxOther   = 256      // bytes of each further candidate
	inboxStrings = 64 << 10 // bytes of Args and Env
	inboxVector  = 256      // pointers of each, and one that is NULL

	inboxDir  = 0
	inboxArgv = inboxDir + inboxPath + inboxPath + (inboxPaths-1)*inboxOther
	inboxEnv  = inboxArgv + 8*(inboxVector+1)
	inboxText = inboxEnv + 8*(inboxVector+1)
	inboxSize = inboxText + inboxStrings
)

// inboxCandidate returns where a candidate is.
func inboxCandidate(i int) int {
	if i == 0 {
		return inboxDir + inboxPath
	}
	return inboxDir + 2*inboxPath + (i-1)*inboxOther
}

// inboxMessage returns what tells a sandbox whose inbox is at addr to execute r's command. An empty candidate is
// one that nobody finds.
func inboxMessage(r *resolved, addr uint64) ([]byte, error) {
	b := make([]byte, inboxText, inboxText+4096)
	if len(r.dir) >= inboxPath {
		return nil, &SpecError{Field: "Dir", Reason: fmt.Sprintf("longer than %d bytes, which a pool does not take", inboxPath-1)}
	}
	copy(b[inboxDir:], r.dir)
	if len(r.candidates) > inboxPaths {
		return nil, &SpecError{Field: "Env", Reason: fmt.Sprintf("PATH has more than %d entries, which a pool does not take", inboxPaths)}
	}
	for i, p := range r.candidates {
		room := inboxOther
		if i == 0 {
			room = inboxPath
		}
		if len(p) >= room {
			return nil, &SpecError{Field: "Args[0]", Reason: fmt.Sprintf("its path would be longer than %d bytes, which a pool does not take", room-1)}
		}
		copy(b[inboxCandidate(i):], p)
	}
	for _, list := range []struct {
		field   string
		strings []string
		at      int
	}{{"Args", r.argv, inboxArgv}, {"Env", r.env, inboxEnv}} {
		if len(list.strings) > inboxVector {
			return nil, &SpecError{Field: list.field, Reason: fmt.Sprintf("more than %d strings, which a pool does not take", inboxVector)}
		}
		for i, s := range list.strings {
			binary.LittleEndian.PutUint64(b[list.at+8*i:], addr+uint64(len(b)))
			b = append(append(b, s...), 0)
		}
	}
	if len(b) > inboxSize {
		return nil, &SpecError{Field: "Args", Reason: fmt.Sprintf("with Env more than %d bytes, which a pool does not take", inboxStrings)}
	}
	return b, nil
}
