package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"syscall"

	"github.com/ringfence-go/ringfence/sandbox"
	"github.com/ringfence-go/ringfence/seccomp"
)

// The programs of the README about system calls.

func Example_whichCall() {
	ctx := context.Background()
	err := func() error {
		policy := seccomp.Default()
		policy.Rules = append([]seccomp.Rule{{Names: []string{"rmdir"}, Action: seccomp.KillProcess}}, policy.Rules...)
		result, err := sandbox.Run(ctx, sandbox.Spec{Args: []string{"rmdir", "/tmp"}, Seccomp: policy})
		if err != nil {
			return err
		}
		if result.Ended == sandbox.Forbidden {
			fmt.Println("no program may call", result.Syscall) // rmdir
		}
		return nil
	}()
	if err != nil {
		log.Fatal(err)
	}
	// Output: no program may call rmdir
}

func Example_answeringCalls() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(dir+"/today", []byte("sunny\n"), 0o600); err != nil {
		log.Fatal(err)
	}
	// serve opens what is below /weather in a directory of the caller's.
	serve := func(ctx context.Context, n *sandbox.Notification) sandbox.Answer {
		path, err := n.ReadString(n.Call.Args[1], syscall.PathMax) // a copy: the original may change
		if err != nil {
			return sandbox.Refuse(syscall.EFAULT)
		}
		name, ok := strings.CutPrefix(path, "/weather/")
		if !ok {
			return sandbox.Continue() // whatever the path is by then, it is in the sandbox's own root
		}
		file, err := os.OpenInRoot(dir, name)
		if errors.Is(err, os.ErrNotExist) {
			return sandbox.Refuse(syscall.ENOENT)
		} else if err != nil {
			return sandbox.Refuse(syscall.EACCES)
		}
		return sandbox.ReturnFile(file)
	}
	policy := seccomp.Default()
	policy.Rules = append([]seccomp.Rule{{Names: []string{"openat"}, Action: seccomp.Notify}}, policy.Rules...)
	out, err := sandbox.Output(ctx, sandbox.Spec{
		Args:       []string{"cat", "/weather/today"},
		Seccomp:    policy,
		Supervisor: serve,
	})
	fmt.Print(string(out), err)
	// Output:
	// sunny
	// <nil>
}

func Example_learning() {
	ctx := context.Background()
	err := func() error {
		spec := sandbox.Spec{Args: []string{"sh", "-c", "echo $((6 * 7))"}}
		policy, result, err := sandbox.Learn(ctx, spec)
		if err != nil {
			return err // it was not started, or ctx ended it
		}
		fmt.Println("learned from:", result)

		spec.Seccomp = policy
		result, err = sandbox.Run(ctx, spec) // does it again
		fmt.Println(result, err)

		spec.Args = []string{"sh", "-c", "mkdir /tmp/x"}
		result, err = sandbox.Run(ctx, spec) // is something else
		fmt.Println(result.Ended, err)
		return nil
	}()
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// learned from: exit status 0
	// exit status 0 <nil>
	// forbidden system call <nil>
}
