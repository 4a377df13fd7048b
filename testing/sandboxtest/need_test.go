package sandboxtest

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
)

// recorder is a test that notes how it ended.
type recorder struct {
	testing.TB
	said string
}

func (r *recorder) Helper() {}
func (r *recorder) Skipf(format string, args ...any) {
	r.said = fmt.Sprintf(format, args...)
	runtime.Goexit()
}
func (r *recorder) Fatalf(format string, args ...any) {
	r.said = "FATAL " + fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// said returns what Need makes of reqs: "" if the test goes on.
func said(reqs ...Requirement) string {
	r := &recorder{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		Need(r, reqs...)
	}()
	<-done
	return r.said
}

func TestNeed(t *testing.T) {
	missing := Requirement{"moon", func() error { return errors.New("it is day") }}
	there := Requirement{"sun", func() error { return nil }}
	for _, test := range []struct {
		noSkip, want string
		reqs         []Requirement
	}{
		{"", "", nil},
		{"", "", []Requirement{there}},
		{"", "SKIP moon: it is day", []Requirement{there, missing}},
		{"sun, stars", "SKIP moon: it is day", []Requirement{missing}},
		{"sun, moon", "FATAL needs moon: it is day (no skip: RINGFENCE_NO_SKIP has it)", []Requirement{missing}},
		{"all", "FATAL needs moon: it is day (no skip: RINGFENCE_NO_SKIP has it)", []Requirement{missing}},
		{"all", "", []Requirement{there}},
	} {
		t.Setenv(noSkipEnv, test.noSkip)
		if got := said(test.reqs...); got != test.want {
			t.Errorf("%s=%q: %q, want %q", noSkipEnv, test.noSkip, got, test.want)
		}
	}
}

func TestProgram(t *testing.T) {
	if err := Program("go-programs-have-no-such-name").Check(); err == nil {
		t.Error("found a program that does not exist")
	}
	if r := Program("sh"); r.Name != "sh" || runtime.GOOS == "linux" && r.Check() != nil {
		t.Errorf("%q: %v", r.Name, r.Check())
	}
	if r := VirtualMachine(); r.Name != "vm" {
		t.Errorf("name %q", r.Name)
	}
}

func ExampleNeed() {
	test := func(t *testing.T) {
		Need(t, Program("gcc"), UserNamespaces())
		// … compile a program and run it in a sandbox.
	}
	_ = test
}
