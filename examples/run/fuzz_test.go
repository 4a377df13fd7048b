package main

import (
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// FuzzParse reads command lines, a word a line: the command is what is left of them, and numbers are what they say.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"true", "--dir\n/x\n--\ntrue\n-x", "--tmpfs=/a:b:1G\n--ro-bind\na\n/b\ntrue", "--uid\n-1\ntrue", "-it\nsh",
		"--rlimit\nnofile=1:2\ntrue", "--cpus=0.5\n--io-max\n/:rbps=1M\ntrue", "--doctor\n--json", "--env\n=\ntrue", "--timeout\n1e9h\ntrue",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, "\n")
		o, err := parse(slices.Clone(args))
		again, errAgain := parse(slices.Clone(args))
		if (err == nil) != (errAgain == nil) || !slices.Equal(o.command, again.command) {
			t.Fatalf("two answers: %v, %v", err, errAgain)
		}
		if err != nil {
			return
		}
		if n := len(o.command); n > len(args) || !slices.Equal(o.command, args[len(args)-n:]) {
			t.Errorf("%q has the command %q", args, o.command)
		}
		if o.limits.WallTime < 0 || o.limits.MemoryMax < 0 || o.limits.PidsMax < 0 || o.limits.OutputMax < 0 || o.stopTimeout < 0 {
			t.Errorf("%q: %+v", args, o.limits)
		}
		for _, m := range o.mounts {
			if m.Size < 0 {
				t.Errorf("%q: %+v", args, m)
			}
		}
	})
}

// FuzzNumber holds numbers with a suffix against their digits.
func FuzzNumber(f *testing.F) {
	for _, s := range []string{"0", "1k", "9223372036854775807", "8388608T", "16777216T", "1kk", "k", "-1", "+1", "1_0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := parseLimit(s)
		if err != nil || s == "unlimited" {
			return
		}
		digits, shift := s, 0
		if i := strings.IndexAny(s, "kKmMgGtT"); i >= 0 {
			digits, shift = s[:i], 10*(1+strings.Index("kmgt", strings.ToLower(s[i:])))
		}
		want, err := strconv.ParseUint(digits, 10, 64)
		if err != nil || bits.Len64(want)+shift > 64 || n != want<<shift {
			t.Errorf("%q is %d, want %s times 2^%d", s, n, digits, shift)
		}
		if size, err := parseSize(s); err == nil && (size <= 0 || uint64(size) != n) {
			t.Errorf("%q is a size of %d", s, size)
		}
		if d, err := parseDuration(s); err == nil && d <= 0 {
			t.Errorf("%q is %v", s, d)
		}
	})
}
