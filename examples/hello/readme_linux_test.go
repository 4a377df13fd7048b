package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/ringfence-go/ringfence/sandbox"
)

// The programs of the README: each function holds one, and shows what it prints.

func Example_streams() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	var sorted bytes.Buffer
	result, err := sandbox.Run(ctx, sandbox.Spec{
		Args:   []string{"sort", "-", "/in/more"},
		Stdin:  strings.NewReader("pear\napple\n"),
		Stdout: &sorted,
		Mounts: []sandbox.Mount{
			{Type: sandbox.File, Target: "/in/more", Data: []byte("fig\n")},
			{Type: sandbox.Tmpfs, Target: "/scratch", Size: 16 << 20},
			{Source: dir, Target: "/out", Writable: true}, // of the host; read-only without Writable
		},
	})
	fmt.Print(result, err, "\n", &sorted)
	// Output:
	// exit status 0 <nil>
	// apple
	// fig
	// pear
}

func Example_collect() {
	ctx := context.Background()
	var answer bytes.Buffer
	result, err := sandbox.Run(ctx, sandbox.Spec{
		Args: []string{"sh", "-c", "mkdir /tmp/out; echo 42 >/tmp/out/answer; ln -s /etc/passwd /tmp/out/trap"},
		Collect: []sandbox.Collect{
			{Path: "/tmp/out/answer", File: &answer, MaxBytes: 1 << 20},
			{Path: "/tmp/out/trap", File: io.Discard},
		},
	})
	fmt.Print(result, ", the answer is ", &answer)
	var left *sandbox.CollectError
	if errors.As(err, &left) {
		fmt.Println(left) // collect "/tmp/out/trap": a symbolic link, which is not followed
	}
	// Output:
	// exit status 0, the answer is 42
	// sandbox: collect "/tmp/out/trap": a symbolic link, which is not followed (let the command leave regular files there)
}

func Example_copy() {
	ctx := context.Background()
	err := func() error {
		box, err := sandbox.New(ctx, sandbox.Spec{})
		if err != nil {
			return err
		}
		defer box.Close()
		source := fstest.MapFS{"add": {Data: []byte("echo $((40 + 2)) >/tmp/answer\n"), Mode: 0o644}} // or os.DirFS, embed.FS
		if err := box.CopyIn(ctx, "/tmp/src", source, sandbox.CopyOptions{}); err != nil {
			return err
		}
		if _, err := box.Run(ctx, sandbox.Spec{Args: []string{"sh", "/tmp/src/add"}}); err != nil {
			return err
		}
		return box.CopyOut(ctx, sandbox.Collect{Path: "/tmp/answer", File: os.Stdout}) // 42
	}()
	if err != nil {
		log.Fatal(err)
	}
	// Output: 42
}

func Example_limits() {
	ctx := context.Background()
	err := func() error {
		result, err := sandbox.Run(ctx, sandbox.Spec{
			Args: []string{"sleep", "1000"},
			Limits: sandbox.Limits{
				WallTime:  100 * time.Millisecond,
				CPUTime:   time.Second, // of all processes together
				OutputMax: 1 << 20,     // bytes on each of Stdout and Stderr
				Rlimits:   []sandbox.Rlimit{{Type: "RLIMIT_NOFILE", Soft: 64, Hard: 64}},
			},
		})
		if err != nil {
			return err // it was not started, or ctx ended it
		}
		switch result.Ended {
		case sandbox.Exited:
			fmt.Println("exit code", result.ExitCode)
		case sandbox.Signaled:
			fmt.Println("signal", result.Signal)
		default:
			fmt.Println(result) // "timed out", "out of CPU time", "output exceeded"
		}
		return result.Err()
	}()
	var exit *sandbox.ExitError
	fmt.Println(errors.As(err, &exit))
	// Output:
	// timed out
	// true
}

func Example_cgroup() {
	ctx := context.Background()
	err := func() error {
		result, err := sandbox.Run(ctx, sandbox.Spec{
			Args: []string{"tail", "/dev/zero"}, // wants all the memory there is
			Limits: sandbox.Limits{
				MemoryMax: 64 << 20, // bytes, of all processes together, with files in memory; no swap
				PidsMax:   32,       // processes and threads
				CPUMax:    0.5,      // processors
			},
		})
		var missing *sandbox.UnsupportedError
		if errors.As(err, &missing) {
			fmt.Println("no cgroup for", missing.Feature) // the remedy for this host is in missing.Remedy
			return nil
		}
		fmt.Println(result, result.Usage.MemoryPeak <= 65<<20) // out of memory true
		return err
	}()
	if err != nil {
		log.Fatal(err)
	}
}

func Example_errors() {
	ctx := context.Background()
	_, err := sandbox.Run(ctx, sandbox.Spec{Args: []string{"true"}, Dir: "tmp", Hostname: "a b"})
	var fault *sandbox.SpecError
	if errors.As(err, &fault) {
		fmt.Println(fault.Field) // Dir
	}
	fmt.Println(strings.Contains(err.Error(), "Hostname"))

	_, err = sandbox.Run(ctx, sandbox.Spec{Args: []string{"no-such-command"}})
	fmt.Println(errors.Is(err, sandbox.ErrNotFound))
	// Output:
	// Dir
	// true
	// true
}

func Example_plan() {
	err := func() error {
		plan, err := sandbox.Compile(sandbox.Spec{Args: []string{"true"}}, nil)
		if err != nil {
			return err
		}
		fmt.Print(plan) // … prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) = 0 …
		return nil
	}()
	if err != nil {
		log.Fatal(err)
	}
}

func Example_run() {
	ctx := context.Background()
	result, err := sandbox.Run(ctx, sandbox.Spec{Args: []string{"sh", "-c", "id; ls /"}})
	fmt.Print(result, err)
	// Output: exit status 0 <nil>
}

const readme = "../../README.md"

// Every program in the README is one of this folder, so that it compiles and does what it says.
func TestReadmeShowsTheseProgramsAlone(t *testing.T) {
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	var programs string
	for _, name := range []string{"main.go", "readme_linux_test.go", "readme_calls_linux_test.go", "readme_command_linux_test.go", "readme_doctor_linux_test.go", "readme_ids_linux_test.go", "readme_living_linux_test.go"} {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		programs += unindent(string(src))
	}
	main, _ := os.ReadFile("main.go")
	_, main, _ = bytes.Cut(main, []byte("// Hello runs one command in a sandbox.\n"))
	if !bytes.Contains(text, append([]byte("```go\n"), main...)) {
		t.Error("the README does not show main.go as it is")
	}
	blocks := strings.Split(string(text), "```go\n")[1:]
	if len(blocks) < 6 {
		t.Errorf("%d programs found", len(blocks))
	}
	for _, block := range blocks {
		block, _, _ = strings.Cut(block, "```")
		if !strings.Contains(programs, unindent(block)) {
			t.Errorf("nothing compiles this:\n%s", block)
		}
	}
}

// unindent takes the white space before each line away.
func unindent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimLeft(line, "\t "))
	}
	return b.String()
}

// Every link of the README to a file leads to one.
func TestReadmeLinksLeadSomewhere(t *testing.T) {
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(string(text), "](")[1:] {
		link, _, _ := strings.Cut(part, ")")
		if strings.HasPrefix(link, "https://") {
			continue
		}
		if name, ok := strings.CutPrefix(link, "#"); ok {
			if !strings.Contains(strings.ToLower(string(text)), "\n## "+name+"\n") {
				t.Errorf("no heading for #%s", name)
			}
		} else if _, err := os.Stat("../../" + link); err != nil {
			t.Error(err)
		}
	}
}
