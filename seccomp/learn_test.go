package seccomp

import (
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
)

// learned makes a Learner on amd64 and lets it see calls.
func learned(t *testing.T, base *Policy, always []string, calls ...Data) *Policy {
	t.Helper()
	l, err := NewLearner(base, "amd64", always...)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range calls {
		if got, want := l.Record(d), base.Decide(d, "amd64"); got != want {
			t.Errorf("Record(%v): %v, want what the base says: %v", d, got, want)
		}
	}
	p := l.Policy()
	if err := p.Validate(); err != nil {
		t.Fatalf("%v\n%v", err, p)
	}
	return p
}

func callOf(t *testing.T, name string, args ...uint64) Data {
	t.Helper()
	d, err := Call("amd64", name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestLearnedPolicyAllowsWhatWasSeenAndNothingElse(t *testing.T) {
	p := learned(t, Default(), []string{"execve"},
		callOf(t, "getpid"), callOf(t, "openat", 3, 4), callOf(t, "ioctl", 1, 0x5401), callOf(t, "ioctl", 2, 0x5413),
		callOf(t, "socket", 1, 1, 0), callOf(t, "socket", 40, 1, 0), callOf(t, "mount"), callOf(t, "clone", 0x01200011),
		callOf(t, "prlimit64", 0, 7), callOf(t, "clone3"))
	for _, tt := range []struct {
		call Data
		want Action
	}{
		{callOf(t, "getpid"), Allow},
		{callOf(t, "execve"), Allow},
		{callOf(t, "openat", 9, 9), Allow},
		{callOf(t, "ioctl", 9, 0x5401), Allow},
		{callOf(t, "ioctl", 9, 0x5402), KillProcess},
		{callOf(t, "ioctl", 9, 1<<32|0x5413), Allow},
		{callOf(t, "socket", 1, 1, 0), Allow},
		{callOf(t, "socket", 2, 1, 0), KillProcess},
		{callOf(t, "socket", 40, 1, 0), Errno(eAFNOSUPPORT)},
		{callOf(t, "mount", 7), Errno(ePERM)},
		{callOf(t, "clone", 0x01200011), Allow},
		{callOf(t, "clone", 0x11), KillProcess},
		{callOf(t, "prlimit64", 0, 3, 0x1000), Allow},
		{callOf(t, "prlimit64", 5), KillProcess},
		{callOf(t, "prlimit64", 1), KillProcess},
		{callOf(t, "prlimit64", 1<<32|1), KillProcess},
		{callOf(t, "clone3"), Errno(eNOSYS)},
		{callOf(t, "getuid"), KillProcess},
		{Data{Nr: 4000, Arch: callOf(t, "getpid").Arch}, Errno(eNOSYS)},
		{Data{Nr: 20, Arch: 0x40000003}, KillProcess},
	} {
		if got := p.Decide(tt.call, "amd64"); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.call, got, tt.want)
		}
	}
}

// Whatever a program does, what is learned from it decides about the same calls as the base did, never
// allows what the base refuses, and can be written as a profile that decides the same.
func TestLearnedPolicyNeverGoesBeyondItsBase(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	names := []string{"ioctl", "socket", "clone", "prlimit64", "personality", "setpriority", "sched_setaffinity", "fcntl", "mmap", "prctl", "kill", "ptrace"}
	values := []uint64{0, 1, 2, 3, 16, 40, 0x5401, 0x5412, 1<<32 | 1, 1<<32 | 0x5412, 0x01200011, 0x10000000, ^uint64(0)}
	draw := func() Data {
		var args []uint64
		for range 6 {
			args = append(args, values[rng.IntN(len(values))])
		}
		return callOf(t, names[rng.IntN(len(names))], args...)
	}
	for _, base := range []*Policy{Default(), Strict(StrictOptions{}), Strict(StrictOptions{Processes: true, Violation: Errno(ePERM)}), {Default: Allow}} {
		for range 100 {
			var calls []Data
			for range rng.IntN(60) {
				calls = append(calls, draw())
			}
			p := learned(t, base, []string{"write"}, calls...)
			for _, d := range calls {
				if got, want := p.Decide(d, "amd64"), base.Decide(d, "amd64"); got != want {
					t.Fatalf("%v was seen: %v, want %v\n%v", d, got, want, p)
				}
			}
			for range 200 {
				d := draw()
				if got, limit := p.Decide(d, "amd64"), base.Decide(d, "amd64"); got != KillProcess && got != limit {
					t.Fatalf("%v: %v, but the base says %v", d, got, limit)
				}
			}
			compileWithPure(t, p, "amd64") // libseccomp has no form for the conditions of some
		}
	}
}

func TestLearnedPolicyCanBeWrittenAsAProfile(t *testing.T) {
	p := learned(t, Default(), []string{"execve", "write", "exit_group"},
		callOf(t, "ioctl", 1, 0x5401), callOf(t, "prlimit64", 0), callOf(t, "socket", 2, 1, 0), callOf(t, "mount"), callOf(t, "setpriority", 0, 7), callOf(t, "clone", 0x11))
	text, err := (&Profile{Policy: p, Archs: []string{"amd64"}}).WriteOCI()
	if err != nil {
		t.Fatal(err)
	}
	back, err := ReadOCI(text, OCIHost{Arch: "amd64"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ioctl", "prlimit64", "socket", "mount", "setpriority", "clone", "execve", "getpid"} {
		for _, v := range []uint64{0, 1, 2, 7, 0x11, 0x5401, 1<<32 | 1, 1 << 31} {
			d := callOf(t, name, v, v, v)
			if got, want := back.Policy.Decide(d, "amd64"), p.Decide(d, "amd64"); got != want {
				t.Errorf("%s(%#x): %v after writing and reading, %v before", name, v, got, want)
			}
		}
	}
}

// Values that are no commands but data are not told apart, and then the base's own rules stand.
func TestLearnedPolicyIsNotAListOfNumbers(t *testing.T) {
	var calls []Data
	for i := range uint64(500) {
		calls = append(calls, callOf(t, "ioctl", 0, 0x8000+i))
	}
	p := learned(t, Default(), nil, calls...)
	if len(p.Rules) > 10 {
		t.Errorf("%d rules", len(p.Rules))
	}
	if got := p.Decide(callOf(t, "ioctl", 0, 0x5412), "amd64"); got != Errno(ePERM) {
		t.Errorf("TIOCSTI: %v, want the base's refusal", got)
	}
}

func TestWatchingAsksAboutEverything(t *testing.T) {
	l, err := NewLearner(Default(), "amd64", "execve")
	if err != nil {
		t.Fatal(err)
	}
	w := l.Watching()
	for name, want := range map[string]Action{"execve": Allow, "getpid": Notify, "mount": Notify} {
		if got := w.Decide(callOf(t, name), "amd64"); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if got := w.Decide(Data{Nr: 20, Arch: 0x40000003}, "amd64"); got != KillProcess {
		t.Errorf("a foreign ABI: %v", got)
	}
}

func TestLearnerRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, tt := range []struct {
		base   *Policy
		arch   string
		always string
		want   string
	}{
		{nil, "amd64", "read", "nil"},
		{&Policy{}, "amd64", "read", "Default"},
		{Default(), "pdp11", "read", "pdp11"},
		{Default(), "amd64", "raed", "always[0]"},
	} {
		if _, err := NewLearner(tt.base, tt.arch, tt.always); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: want an error about %s", err, tt.want)
		}
	}
}

func TestLearnerIsForManyGoroutines(t *testing.T) {
	l, err := NewLearner(Default(), "amd64")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range uint64(100) {
				l.Record(callOf(t, "ioctl", 0, i))
				_ = l.Policy()
			}
		})
	}
	wg.Wait()
}
