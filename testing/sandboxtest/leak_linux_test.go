package sandboxtest

import (
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// diff returns the names of what act adds, with the numbers cut off.
func diff(act func()) []string {
	before := things()
	act()
	after := things()
	maps.DeleteFunc(after, func(id, _ string) bool { _, old := before[id]; return old })
	var names []string
	for name := range after {
		names = append(names, strings.TrimRight(name, "0123456789"))
	}
	slices.Sort(names)
	return names
}

func TestThingsFindWhatIsLeft(t *testing.T) {
	if got := diff(func() {}); got != nil {
		t.Errorf("nothing was done, and %q is left", got)
	}

	var f *os.File
	if got := diff(func() { f, _ = os.Open("testdata/hello.txt") }); !slices.Equal(got, []string{"descriptor "}) {
		t.Errorf("an open file: %q", got)
	}
	f.Close()

	stop := make(chan struct{})
	if got := diff(func() { go func() { <-stop }() }); !slices.Equal(got, []string{"goroutine "}) {
		t.Errorf("a goroutine: %q", got)
	}
	close(stop)

	cmd := exec.Command("sleep", "1000")
	got := diff(func() {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
	})
	if !slices.Contains(got, "child process ") {
		t.Errorf("a child process: %q", got)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // killed
}

func TestMountsAreListed(t *testing.T) {
	all := map[string]string{}
	addMounts(all)
	for name := range all {
		if strings.HasSuffix(name, " on /proc") {
			return
		}
	}
	t.Errorf("no /proc among %d mounts", len(all))
}

type fakeRun func() int

func (f fakeRun) Run() int { return f() }

func TestCheckLeaksKeepsTheExitCode(t *testing.T) {
	for _, code := range []int{0, 1, 7} {
		if got := CheckLeaks(fakeRun(func() int { return code })); got != code {
			t.Errorf("exit code %d became %d", code, got)
		}
	}
}
