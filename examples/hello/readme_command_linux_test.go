package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/moby/sys/capability"

	"github.com/ringfence-go/ringfence/sandbox"
)

// The programs of the README that are about the command's own process.

func Example_capabilities() {
	ctx := context.Background()
	out, err := sandbox.Output(ctx, sandbox.Spec{
		Args:         []string{"grep", "CapEff", "/proc/self/status"},
		Capabilities: []capability.Cap{capability.CAP_NET_RAW},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s", out)
	// Output: CapEff:	0000000000002000
}

func Example_terminal() {
	ctx := context.Background()
	var screen strings.Builder
	cmd := sandbox.Command(ctx, sandbox.Spec{
		Args:     []string{"sh", "-c", "tty; stty size; read line; echo you typed $line"},
		Terminal: &sandbox.Terminal{Rows: 40, Cols: 100},
		Stdin:    strings.NewReader("a line\n"), // or os.Stdin, raw: see examples/run/terminal.go
		Stdout:   &screen,                       // all that the terminal shows
	})
	if err := cmd.Start(); err != nil {
		log.Fatal(err)
	}
	if err := cmd.Resize(50, 120); err != nil && !errors.Is(err, os.ErrProcessDone) {
		log.Fatal(err)
	}
	result, err := cmd.Wait()
	fmt.Println(result, err, strings.Contains(screen.String(), "/dev/pts/0\r\n"), strings.HasSuffix(screen.String(), "you typed a line\r\n"))
	// Output: exit status 0 <nil> true true
}

// written is a Writer that does something when it is written to.
type written func()

func (w written) Write(b []byte) (int, error) { w(); return len(b), nil }

func Example_stop() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ready := written(cancel)
	result, err := sandbox.Run(ctx, sandbox.Spec{
		Args:        []string{"sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done"},
		Stdout:      ready,           // ends ctx when the command says so
		StopSignal:  syscall.SIGTERM, // zero kills at once
		StopTimeout: 5 * time.Second, // what is not over by then is killed
	})
	fmt.Println(result, err, result.ExitCode)
	// Output: canceled context canceled 7
}

func Example_interact() {
	ctx := context.Background()
	verdicts, err := func() (verdicts [2]*sandbox.Result, err error) {
		answers, say, err := os.Pipe() // from the solution to the interactor
		if err != nil {
			return verdicts, err
		}
		questions, ask, err := os.Pipe() // and back
		if err != nil {
			return verdicts, err
		}
		limits := sandbox.Limits{WallTime: 10 * time.Second} // also if both wait for each other
		interactor := sandbox.Command(ctx, sandbox.Spec{
			Args:  []string{"sh", "-c", "echo 6 7; read x; test $x = 42"},
			Stdin: answers, Stdout: ask, Limits: limits,
		})
		solution := sandbox.Command(ctx, sandbox.Spec{
			Args:  []string{"sh", "-c", "read a b; echo $((a * b))"},
			Stdin: questions, Stdout: say, Limits: limits,
		})
		err = errors.Join(interactor.Start(), solution.Start())
		for _, end := range []*os.File{answers, say, questions, ask} {
			end.Close() // the commands have theirs: if one ends, the other sees it
		}
		if err != nil {
			_ = interactor.Kill() // whichever was started
			_ = solution.Kill()
		}
		for i, cmd := range []*sandbox.Cmd{interactor, solution} {
			result, waitErr := cmd.Wait()
			verdicts[i], err = result, errors.Join(err, waitErr)
		}
		return verdicts, err
	}()
	fmt.Println(verdicts[0], verdicts[1], err)
	// Output: exit status 0 exit status 0 <nil>
}
