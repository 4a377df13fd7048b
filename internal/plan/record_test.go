//go:build linux

package plan

import (
	"encoding/binary"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRecords(t *testing.T) {
	failed := make([]byte, SizeofFailed)
	binary.LittleEndian.PutUint32(failed, uint32(Failed))
	binary.LittleEndian.PutUint32(failed[RecordIndex:], 65534)
	errno := -int64(unix.EACCES)
	binary.LittleEndian.PutUint64(failed[RecordResult:], uint64(errno))
	if r, err := ParseRecord(failed); err != nil || r.Kind != Failed || r.Index != 65534 || r.Result != errno {
		t.Errorf("a failure reads as %+v, %v", r, err)
	}

	started := NewRecord(Started, 3).Bytes
	binary.LittleEndian.PutUint32(started[RecordPID:], 4711)
	for i := range 3 {
		binary.LittleEndian.PutUint64(started[RecordNotes+8*i:], uint64(-int64(i)))
	}
	if r, err := ParseRecord(started); err != nil || r.Kind != Started || r.PID != 4711 || !slices.Equal(r.Notes, []int64{0, -1, -2}) {
		t.Errorf("a start reads as %+v, %v", r, err)
	}

	cloned := NewRecord(Cloned, 0).Bytes
	if r, err := ParseRecord(cloned); err != nil || r.Kind != Cloned || len(r.Notes) != 0 {
		t.Errorf("PID 1 reads as %+v, %v", r, err)
	}

	ended := NewRecord(Ended, 0).Bytes
	binary.LittleEndian.PutUint32(ended[RecordStatus:], 7<<8)
	for i, v := range []uint64{1, 500_000, 2, 250_000, 4096} {
		binary.LittleEndian.PutUint64(ended[RecordUsage+8*i:], v)
	}
	r, err := ParseRecord(ended)
	if err != nil || r.Kind != Ended || !r.Status.Exited() || r.Status.ExitStatus() != 7 {
		t.Errorf("an end reads as %+v, %v", r, err)
	}
	if u := r.Usage; u.Utime.Nano() != 1_500_000_000 || u.Stime.Nano() != 2_250_000_000 || u.Maxrss != 4096 {
		t.Errorf("usage reads as %+v", u)
	}
	if _, err := ParseRecord(ended[:len(ended)-1]); err == nil {
		t.Error("an end that is cut off is read")
	}
	for _, b := range [][]byte{nil, {1}, make([]byte, 16), append([]byte{9}, make([]byte, 15)...)} {
		if r, err := ParseRecord(b); err == nil {
			t.Errorf("%v reads as %+v", b, r)
		}
	}
	if n := len(NewRecord(Started, MaxNotes).Bytes); n > MaxRecord || MaxRecord < sizeofEnded {
		t.Errorf("the largest record has %d bytes, more than %d", n, MaxRecord)
	}
}

// FuzzParseRecord reads what a hostile payload might write, if it ever got at the report.
func FuzzParseRecord(f *testing.F) {
	f.Add(make([]byte, 15))
	for _, kind := range []RecordKind{Failed, Cloned, Started, Ended} {
		f.Add(NewRecord(kind, 2).Bytes)
		f.Add(append(NewRecord(kind, 2).Bytes, 0xff))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRecord(b)
		if err != nil {
			return
		}
		if r.Kind < Failed || r.Kind > Ended || len(r.Notes) > len(b)/8 {
			t.Errorf("%d bytes read as %+v", len(b), r)
		}
	})
}
