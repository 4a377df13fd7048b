package sandbox

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// What a Supervisor reads of the payload's memory, and what may be decided by it.

// fakeCall is a call whose thread ends after some reads, and then another process has its ID.
type fakeCall struct {
	reads int // that are of the right process
	text  string
}

func (f *fakeCall) valid(uint64) bool { return f.reads >= 0 }

func (f *fakeCall) read(_ int, b []byte, addr uint64) (int, error) {
	f.reads--
	if addr >= uint64(len(f.text)) {
		return 0, syscall.EFAULT
	}
	return copy(b, f.text[addr:]), nil
}

func TestMemoryOfAnotherProcessIsNotGivenAway(t *testing.T) {
	n := &Notification{source: &fakeCall{reads: 0, text: "of another process\x00"}}
	b := make([]byte, 5)
	if k, err := n.ReadMemory(b, 0); k != 0 || !errors.Is(err, os.ErrProcessDone) || !bytes.Equal(b, make([]byte, 5)) {
		t.Errorf("%d, %q, %v: want nothing", k, b, err)
	}
	// In the middle of a string too.
	n.source = &fakeCall{reads: 1, text: strings.Repeat("x", 5000)}
	if s, err := n.ReadString(0, 6000); s != "" || !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("%d bytes, %v: want none", len(s), err)
	}
	n.source = &fakeCall{reads: 2, text: strings.Repeat("x", 5000) + "\x00"}
	if s, err := n.ReadString(0, 6000); len(s) != 5000 || err != nil {
		t.Errorf("%d bytes, %v: want 5000", len(s), err)
	}
}

func TestReadStringEndsAtItsBound(t *testing.T) {
	text := strings.Repeat("x", 9) + "\x00y\x00"
	for _, test := range []struct {
		most int
		want string
		err  error
	}{{10, "xxxxxxxxx", nil}, {9, "", syscall.ENAMETOOLONG}, {0, "", syscall.ENAMETOOLONG}, {-1, "", syscall.ENAMETOOLONG}, {math.MaxInt, "xxxxxxxxx", nil}} {
		n := &Notification{source: &fakeCall{reads: 100, text: text}}
		if s, err := n.ReadString(0, test.most); s != test.want || !errors.Is(err, test.err) {
			t.Errorf("%d bytes at most: %q, %v", test.most, s, err)
		}
	}
}

func TestStringsAtTheEdgeOfMemory(t *testing.T) {
	t.Parallel()
	const most = 1 << 16
	var mu sync.Mutex
	var text string
	var failed error
	read := func(_ context.Context, n *Notification) Answer {
		mu.Lock()
		defer mu.Unlock()
		text, failed = n.ReadString(n.Call.Args[1], most)
		return Return(0)
	}
	for kind, want := range map[string]struct {
		text string
		err  error
	}{
		"end": {"/tmp/pointer", nil}, "across": {"/tmp/pointer", nil}, "long": {"", syscall.ENAMETOOLONG},
		"cut": {"", syscall.EFAULT}, "nowhere": {"", syscall.EFAULT}, "null": {"", syscall.EFAULT}, "kernel": {"", syscall.EFAULT},
	} {
		act := "pointer:" + kind
		inside(t, supervised(read, "mkdirat"), act).want(act, "ok")
		mu.Lock()
		if text != want.text || !errors.Is(failed, want.err) || want.err == nil && failed != nil {
			t.Errorf("%s: %q, %v; want %q, %v", kind, text, failed, want.text, want.err)
		}
		mu.Unlock()
	}
	// The kernel is of the same mind.
	inside(t, nil, "pointer:end").want("pointer:end", "ok")
	inside(t, nil, "pointer:cut").want("pointer:cut", "EFAULT")
}

func TestReadMemoryStopsWhereMemoryEnds(t *testing.T) {
	t.Parallel()
	type reading struct {
		n   int
		err error
	}
	var got []reading
	var mu sync.Mutex
	read := func(_ context.Context, n *Notification) Answer {
		mu.Lock()
		defer mu.Unlock()
		for _, size := range []int{0, 1, 13, 14, 5000} { // the string, its NUL, and what is not mapped
			k, err := n.ReadMemory(make([]byte, size), n.Call.Args[1])
			got = append(got, reading{k, err})
		}
		_, err := n.ReadMemory(make([]byte, 1), n.Call.Args[1]+13)
		got = append(got, reading{0, err})
		return Return(0)
	}
	inside(t, supervised(read, "mkdirat"), "pointer:end").want("pointer:end", "ok")
	var sizes []int
	for _, r := range got {
		sizes = append(sizes, r.n)
	}
	if !slices.Equal(sizes, []int{0, 1, 13, 13, 13, 0}) || !errors.Is(got[len(got)-1].err, syscall.EFAULT) {
		t.Errorf("%v", got)
	}
}

// Another thread replaces a path between the Supervisor's look and the kernel's. To decide about Continue
// by it is to decide nothing; to do the call's work on one's own copy is right.
func TestOnlyAnAnswerOnTheSupervisorsOwnCopyHoldsAgainstARace(t *testing.T) {
	t.Parallel()
	const allowed, secret = "/data/allowed", "/data/secrets"
	act := "swap:" + allowed + "," + secret
	files := func(spec *Spec) {
		spec.Mounts = append(spec.Mounts, Mount{Type: File, Target: allowed, Data: []byte("public")}, Mount{Type: File, Target: secret, Data: []byte("SECRET")})
	}
	// decide gives its answer for the path that is allowed; the runtime's own files are of no matter.
	decide := func(answer func() Answer) func(*Spec) {
		return func(spec *Spec) {
			files(spec)
			supervised(func(_ context.Context, n *Notification) Answer {
				switch path, err := n.ReadString(n.Call.Args[1], syscall.PathMax); {
				case err != nil:
					return Refuse(syscall.EFAULT)
				case path == allowed:
					return answer()
				case strings.HasPrefix(path, "/data/") || strings.Trim(path, "/datlowescr") == "":
					return Refuse(syscall.EACCES) // also what is half one, half the other
				}
				return Continue()
			}, "openat")(spec)
		}
	}
	wrong := inside(t, decide(Continue), act).of(act).Detail
	if !strings.Contains(wrong, "SECRET") {
		t.Errorf("Continue: %q, want the secret to come out: this proves nothing", wrong)
	}
	path, _ := hostSecret(t)
	if err := os.WriteFile(path, []byte("public"), 0o600); err != nil {
		t.Fatal(err)
	}
	right := inside(t, decide(func() Answer {
		f, err := os.Open(path)
		if err != nil {
			return Refuse(syscall.EIO)
		}
		return ReturnFile(f)
	}), act).of(act).Detail
	if right != "EACCES public" {
		t.Errorf("ReturnFile: %q, want EACCES public", right)
	}
}
