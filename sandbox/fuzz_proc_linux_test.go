package sandbox

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"testing"
)

// FuzzProcFiles reads files of /proc as a kernel may write them one day, and the name of a program may be in one of
// them: no number becomes negative, and what a map says of an ID is in its ranges.
func FuzzProcFiles(f *testing.F) {
	f.Add([]byte("27 (a) b) R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n"), 1000)
	f.Add([]byte("1 () S 1 1 1 0 -1 0 0 0 0 0 9223372036854775807 9223372036854775807 1 1 0"), 0)
	f.Add([]byte("         0       1000          1\n1 100000 65536\n"), 1)
	f.Add([]byte("0 0 4294967295\n-5 9223372036854775807 9223372036854775807\nx"), math.MaxInt32)
	f.Fuzz(func(t *testing.T, data []byte, id int) {
		if n := parseTicks(data); n < 0 {
			t.Errorf("%d ticks", n)
		}
		text := string(data)
		outside, ok := parentID(text, id)
		if ok != mapped(text, id) {
			t.Errorf("%d: two answers", id)
		}
		if ok && id >= 0 && (outside < 0 || int64(outside) > math.MaxUint32) {
			t.Errorf("%d is %d outside", id, outside)
		}
	})
}

// FuzzCPUSet holds what validate takes for a list of processors against what a list is.
func FuzzCPUSet(f *testing.F) {
	for _, s := range []string{"", "0-3,8", "3-1", "0-8191", "0-8192", "1,", "-1", "+1", "00001", "1-2-3", "0x1", " 1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, set string) {
		faults := &faults{}
		validateCPUSet(faults, "CPUSet", set)
		if faults.err() != nil || set == "" {
			return
		}
		for part := range strings.SplitSeq(set, ",") {
			first, last, isRange := strings.Cut(part, "-")
			if !isRange {
				last = first
			}
			a, errA := strconv.ParseUint(first, 10, 16)
			b, errB := strconv.ParseUint(last, 10, 16)
			if errA != nil || errB != nil || a > b || b > maxCPU {
				t.Errorf("%q is taken", set)
			}
		}
	})
}

// FuzzProfilePath writes paths of programs into profiles: what is in quotes is one word, and says the path again.
func FuzzProfilePath(f *testing.F) {
	for _, s := range []string{"/usr/bin/app", `/a "b"/{c,d}*[e]?^\`, "/a\nb", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, program string) {
		if strings.ContainsRune(program, 0) {
			return // which no path has
		}
		quoted := profilePath(program)
		inner := quoted[1 : len(quoted)-1]
		var plain bytes.Buffer
		for i := 0; i < len(inner); i++ {
			switch {
			case inner[i] == '\\' && i+1 < len(inner):
				i++
			case strings.IndexByte(`\"*?[]{}^,`, inner[i]) >= 0:
				t.Fatalf("%q: %c means something", quoted, inner[i])
			}
			plain.WriteByte(inner[i])
		}
		if got := plain.String(); got != program {
			t.Errorf("%q became %q", program, got)
		}
		for _, r := range profileName(program) {
			if r > 'z' || strings.ContainsRune("/. \n\"", r) {
				t.Errorf("the name %q of a file", profileName(program))
			}
		}
	})
}
