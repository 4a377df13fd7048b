package sandbox

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// The kernel counts the descriptors that are on their way for all of a user's processes together
// (ETOOMANYREFS, unix(7)): a payload that leaves many lying in its sockets would keep every start that
// sends one from working.
func TestStartSendsNoDescriptor(t *testing.T) {
	zero, err := Compile(Spec{Args: []string{"true"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(zero.String(), "sendmsg(") {
		t.Error("a start depends on descriptors being sent")
	}
	watched, err := Compile(Spec{Args: []string{"true"}, Limits: Limits{CPUTime: time.Second}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(watched.String(), "sendmsg(") {
		t.Error("the control: nothing sends a descriptor at all")
	}
}

// Somebody outside may hold the command's output pipe and write for ever.
func TestPipeThatSomebodyKeepsFullDoesNotHoldFinishUp(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	flooded := make(chan struct{})
	go func() {
		defer close(flooded)
		for {
			if _, err := w.Write(make([]byte, 4096)); err != nil {
				return
			}
		}
	}()
	s := streams{outputs: []*outputCopy{{from: r, to: io.Discard}}}
	s.atEnd(r)
	s.copy()
	done := make(chan error, 1)
	go func() { done <- s.finish() }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("finish waits for a writer that is not the sandbox's")
	}
	w.Close()
	<-flooded
}

func TestClosedFileIsAFault(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	err = validate(&Spec{Args: []string{"true"}, Stdin: f, ExtraFiles: []*os.File{nil, f}})
	for _, field := range []string{"Spec.Stdin: a closed file", "Spec.ExtraFiles[1]: a closed file"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%v, want %q", err, field)
		}
	}
}

func TestDeepTargetsAreAFault(t *testing.T) {
	spec := Spec{Args: []string{"true"}}
	for i := range 100 {
		target := "/" + string(rune('a'+i%26)) + strings.Repeat("/x", i+50)
		spec.Mounts = append(spec.Mounts, Mount{Type: Tmpfs, Target: target})
	}
	if err := validate(&spec); err == nil || !strings.Contains(err.Error(), "components of Targets together") {
		t.Errorf("%v, want a fault of Mounts", err)
	}
	spec.Mounts = spec.Mounts[:50]
	if _, err := Compile(spec, nil); err != nil {
		t.Errorf("the control: %v", err)
	}
}

func TestSearchOfALongPathIsBounded(t *testing.T) {
	path := strings.Repeat("/x:", 10)
	for i := range 1000 {
		path += "/" + strings.Repeat("y", i%100+1) + string(rune('a'+i%26)) + ":"
	}
	if _, err := Compile(Spec{Args: []string{"true"}, Env: []string{"PATH=" + path}}, nil); err == nil || !strings.Contains(err.Error(), "PATH") {
		t.Errorf("%v, want a fault of PATH", err)
	}
}
