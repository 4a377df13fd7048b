// Interact runs two commands, each in a sandbox of its own, that talk to each other: what one writes is what the
// other reads. It is what a judge does with an interactive problem.
//
//	interact [options] -- interactor [args] -- solution [args]
//
// Both commands see the base system. It prints how each has ended, and exits with 0 if both exited with 0, with 1
// if not, and with 125 if they could not be run. Read interact for how the two are joined.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"time"

	"github.com/ringfence-go/ringfence/sandbox"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run does what args say and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	const failed = 125
	flags := flag.NewFlagSet("interact", flag.ContinueOnError)
	flags.SetOutput(stderr)
	timeout := flags.Duration("timeout", 10*time.Second, "end each of the two after `TIME` by the clock")
	cpuTime := flags.Duration("cpu-time", 0, "end each of the two after `TIME` on processors")
	if err := flags.Parse(args); err != nil {
		return failed
	}
	left, right, ok := cut(flags.Args())
	if !ok {
		fmt.Fprintln(stderr, "usage: interact [options] -- interactor [args] -- solution [args]")
		return failed
	}
	limits := sandbox.Limits{WallTime: *timeout, CPUTime: *cpuTime}
	interactor, solution := interact(ctx,
		sandbox.Spec{Args: left, Stderr: stderr, Limits: limits},
		sandbox.Spec{Args: right, Limits: limits}) // whose standard error is nobody's: it may hold anything
	fmt.Fprintf(stdout, "interactor: %v\nsolution: %v\n", interactor, solution)
	switch {
	case interactor.Result == nil || solution.Result == nil:
		return failed
	case interactor.failed() || solution.failed():
		return 1
	}
	return 0
}

// cut splits the two commands at "--".
func cut(args []string) (left, right []string, ok bool) {
	i := slices.Index(args, "--")
	if i < 1 || i == len(args)-1 {
		return nil, nil, false
	}
	return args[:i], args[i+1:], true
}

// outcome is how one of the two has ended: what sandbox.Run would return.
type outcome struct {
	Result *sandbox.Result
	Err    error
}

func (o outcome) failed() bool { return o.Err != nil || o.Result.Err() != nil }

func (o outcome) String() string {
	if o.Err != nil {
		return o.Err.Error()
	}
	return o.Result.String()
}

// interact runs two commands of which each reads what the other writes. They share two pipes and nothing else.
//
// Once both run, nobody but the two has an end of the pipes. So the end of one, whatever ends it, is the end of the
// other's input, and SIGPIPE when it writes: neither waits for a dead one. If both wait for each other, a limit
// ends them. Each has its own Result.
func interact(ctx context.Context, left, right sandbox.Spec) (outcome, outcome) {
	pipes, err := join(&left, &right)
	if err != nil {
		return outcome{Err: err}, outcome{Err: err}
	}
	cmds := [2]*sandbox.Cmd{sandbox.Command(ctx, left), sandbox.Command(ctx, right)}
	var outcomes [2]outcome
	outcomes[0].Err = cmds[0].Start()
	if outcomes[0].Err == nil {
		outcomes[1].Err = cmds[1].Start()
	} else {
		outcomes[1].Err = errors.New("not started, since the interactor was not")
	}
	for _, end := range pipes {
		end.Close() // or the two would never see an end
	}
	if outcomes[0].Err == nil && outcomes[1].Err != nil {
		_ = cmds[0].Kill() // it was started
	}
	// The commands do not wait for these, in whatever order they end.
	for i, cmd := range cmds {
		if outcomes[i].Err == nil {
			outcomes[i].Result, outcomes[i].Err = cmd.Wait()
		}
	}
	return outcomes[0], outcomes[1]
}

// join gives each of two commands what the other writes, and returns the ends of the pipes. They are files, which
// are the commands' own: nothing is copied, and nobody is between the two.
func join(left, right *sandbox.Spec) (pipes []*os.File, err error) {
	for _, way := range []struct {
		from *io.Writer
		to   *io.Reader
	}{{&left.Stdout, &right.Stdin}, {&right.Stdout, &left.Stdin}} {
		r, w, err := os.Pipe()
		if err != nil {
			for _, end := range pipes {
				end.Close()
			}
			return nil, err
		}
		*way.from, *way.to = w, r
		pipes = append(pipes, r, w)
	}
	return pipes, nil
}
