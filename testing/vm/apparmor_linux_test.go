package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ringfence-go/ringfence/sandbox"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// innerEnv makes TestInnerDoctor one.
const innerEnv = "RINGFENCE_VM_INNER"

// TestInnerDoctor is a part of the test below: a user who asks what to do.
func TestInnerDoctor(t *testing.T) {
	if os.Getenv(innerEnv) == "" {
		return
	}
	host, err := sandbox.Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Err(); err != nil {
		fmt.Println("refused:", err)
	} else {
		out, err := sandbox.Output(t.Context(), sandbox.Spec{Args: []string{"echo", "hello"}})
		fmt.Printf("ran: %s%v\n", out, err)
	}
	for _, s := range host.Features() {
		if s.Feature == sandbox.UserNamespace {
			fmt.Printf("%s\nend of the remedy\n", s.Remedy)
		}
	}
}

// askDoctor starts the part above as the user of the tests.
func askDoctor(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestInnerDoctor$")
	cmd.Env = append(os.Environ(), innerEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: sandboxtest.UID, Gid: sandboxtest.UID}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// Under Ubuntu's restriction the doctor has a profile for the program: root does with it what it says, to the letter,
// and then sandboxes run. Before that they do not.
func TestRootProfileOfTheDoctorIsEnough(t *testing.T) {
	tools := os.Getenv(apparmorEnv)
	if tools == "" {
		sandboxtest.Skip(t, "apparmor", "there is no Ubuntu kernel with its restriction here")
	}
	before := askDoctor(t)
	if !strings.Contains(before, "refused: ") {
		t.Fatalf("the restriction is not there: %s", before)
	}
	_, remedy, _ := strings.Cut(before, "as root: put this into ")
	file, remedy, _ := strings.Cut(remedy, "\n")
	profile, remedy, _ := strings.Cut(remedy, "\nand load it: ")
	command, _, found := strings.Cut(remedy, "\n")
	if !found || command != "apparmor_parser -r "+file {
		t.Fatalf("no profile, or no command that loads it, in\n%s", before)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.ReplaceAll("\n"+profile, "\n    ", "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	// The parser of this Ubuntu, with its own C library and its own folder of what profiles include.
	lib := filepath.Join(tools, "usr/lib/x86_64-linux-gnu")
	parser := exec.Command(filepath.Join(lib, "ld-linux-x86-64.so.2"), "--library-path", lib, filepath.Join(tools, "sbin/apparmor_parser"),
		"--base", filepath.Join(tools, "etc/apparmor.d"), "-K", "-r", file)
	if out, err := parser.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", parser, err, out)
	}
	if after := askDoctor(t); !strings.Contains(after, "ran: hello\n<nil>\n") || !strings.Contains(after, "\n\nend of the remedy") {
		t.Errorf("with the profile: %s\nwhich is\n%s", after, profile)
	}
}
