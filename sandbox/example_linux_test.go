package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"strings"
	"syscall"

	"github.com/ringfence-go/ringfence/sandbox"
	"github.com/ringfence-go/ringfence/seccomp"
)

// What the command leaves is taken out as an fs.FS; a link that it made leads nowhere.
func ExampleCollect() {
	spec := sandbox.Spec{
		Args: []string{"sh", "-c", "mkdir /tmp/out; echo 42 >/tmp/out/answer; ln -s /etc/passwd /tmp/out/trap"},
		Collect: []sandbox.Collect{{Path: "/tmp/out", FS: func(out fs.FS) error {
			entries, err := fs.ReadDir(out, ".")
			if err != nil {
				return err
			}
			for _, e := range entries {
				data, err := fs.ReadFile(out, e.Name())
				fmt.Printf("%s: %q, %v\n", e.Name(), data, errors.Is(err, sandbox.ErrNotCollected))
			}
			return nil
		}}},
	}
	result, err := sandbox.Run(context.Background(), spec)
	fmt.Println(result, err)
	// Output:
	// answer: "42\n", false
	// trap: "", true
	// exit status 0 <nil>
}

// The Result of a Forbidden run names the call.
func ExampleResult_syscall() {
	policy := seccomp.Default()
	policy.Rules = append([]seccomp.Rule{{Names: []string{"sync"}, Action: seccomp.KillProcess}}, policy.Rules...)
	result, err := sandbox.Run(context.Background(), sandbox.Spec{Args: []string{"sync"}, Seccomp: policy})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(result.Ended, result.Syscall, result.Signal == syscall.SIGSYS)
	// Output: forbidden system call sync true
}

// A Supervisor opens a file for the command, by its own copy of the path: the command may change the
// original while it is read, and gets what was asked for then.
func ExampleSupervisor() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(dir+"/news", []byte("nothing new\n"), 0o600); err != nil {
		log.Fatal(err)
	}
	root, err := os.OpenRoot(dir) // no name leads out of it
	if err != nil {
		log.Fatal(err)
	}
	defer root.Close()
	serve := func(_ context.Context, n *sandbox.Notification) sandbox.Answer {
		path, err := n.ReadString(n.Call.Args[1], syscall.PathMax)
		if err != nil {
			return sandbox.Refuse(syscall.EFAULT)
		}
		name, ok := strings.CutPrefix(path, "/caller/")
		if !ok {
			// The kernel reads the path again. That is harmless: every path is one of the sandbox's root.
			return sandbox.Continue()
		}
		file, err := root.Open(name)
		if err != nil {
			return sandbox.Refuse(syscall.ENOENT)
		}
		return sandbox.ReturnFile(file)
	}
	policy := seccomp.Default()
	policy.Rules = append([]seccomp.Rule{{Names: []string{"openat"}, Action: seccomp.Notify}}, policy.Rules...)
	out, err := sandbox.Output(context.Background(), sandbox.Spec{
		Args:       []string{"sh", "-c", "cat /caller/news; cat /caller/../etc/passwd || echo refused"},
		Stderr:     io.Discard,
		Seccomp:    policy,
		Supervisor: serve,
	})
	fmt.Print(string(out), err)
	// Output:
	// nothing new
	// refused
	// <nil>
}

// Learn watches a command, and what it returns lets the command do the same again.
func ExampleLearn() {
	ctx := context.Background()
	spec := sandbox.Spec{Args: []string{"sh", "-c", "echo $((6 * 7))"}}
	policy, result, err := sandbox.Learn(ctx, spec)
	fmt.Println(result, err)
	spec.Seccomp = policy
	result, err = sandbox.Run(ctx, spec)
	fmt.Println(result, err)
	spec.Args = []string{"sh", "-c", "kill -0 $$"}
	result, err = sandbox.Run(ctx, spec)
	fmt.Println(result, err)
	// Output:
	// exit status 0 <nil>
	// exit status 0 <nil>
	// forbidden system call: kill <nil>
}

// Probe tells what sandboxes can have on this machine.
func ExampleProbe() {
	host, err := sandbox.Probe(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range host.Features() {
		if s.Feature == sandbox.UserNamespace {
			fmt.Println(s.Feature, s.State, s.By)
		}
	}
	fmt.Println(host.Err())
	// Output:
	// user namespace works CLONE_NEWUSER
	// <nil>
}
