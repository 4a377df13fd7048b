// Run is a command line over the whole library, in the manner of bubblewrap and docker run: it runs a
// command in a sandbox and exits as the command did.
//
//	run [options] [--] command [args]
//
// Without options the command sees the host's /usr, read-only, and nothing else of the machine; see
// --help for what can be given to it. Its standard input, output and error are those of run.
//
// Read options.go for the options, spec.go for how they become a sandbox.Spec, exit.go for exit codes,
// json.go for what --json writes, doctor.go for --doctor.
package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/ringfence-go/ringfence/sandbox"
	"github.com/ringfence-go/ringfence/seccomp"
)

func main() { os.Exit(run(os.Args[1:])) }

// run does what args say and returns the exit code.
func run(args []string) int {
	o, err := parse(args)
	switch {
	case err != nil:
		complain(err)
		fmt.Fprintln(os.Stderr, "run: --help lists the options")
		return exitFailed
	case o.help:
		return show(help())
	case o.version:
		return show(version() + "\n")
	case o.doctor:
		return o.diagnose()
	}
	spec, err := o.spec(os.Stdin, os.LookupEnv)
	if err == nil {
		var ids reservation
		ids, err = o.reserve(&spec)
		defer ids.close()
	}
	if err == nil && o.explain {
		var plan *sandbox.Plan
		if plan, err = sandbox.Compile(spec, nil); err == nil {
			return show(plan.String())
		}
	}
	if o.explain {
		complain(err)
		return exitFailed
	}
	outputs, openErr := o.open()
	if openErr != nil {
		complain(openErr)
		return exitFailed
	}
	defer outputs.close()
	var policy *seccomp.Policy
	var result *sandbox.Result
	var interrupt syscall.Signal
	if err == nil {
		spec.Collect = o.collects(outputs.collect)
		policy, result, interrupt, err = start(&o, spec)
	}
	tell(result, err, interrupt)
	if o.stats && result != nil {
		fmt.Fprint(os.Stderr, usageText(&result.Usage))
	}
	code := exitCode(result, err, interrupt)
	if o.json {
		if err := newReport(result, err).write(outputs.json); err != nil {
			complain(fmt.Errorf("--json: %w", err))
			return exitFailed
		}
	}
	if policy != nil {
		if err := writeProfile(outputs.learn, policy); err != nil {
			complain(fmt.Errorf("--learn: %w", err))
			return exitFailed
		}
	}
	return code
}

// outputs are the files that run writes beside the command's own. They are opened before anything runs that
// could put a link in the place of one.
type outputs struct {
	json  *os.File
	learn *os.File // nil: nothing is learned
	// collect holds what options.collect names, in the same order.
	collect []*os.File
}

func (o *options) open() (outputs, error) {
	out := outputs{json: os.Stderr}
	var err error
	if o.jsonFile != "" {
		if out.json, err = os.Create(o.jsonFile); err != nil {
			return out, fmt.Errorf("--json: %w", err)
		}
	}
	if o.learn != "" {
		if out.learn, err = os.Create(o.learn); err != nil {
			out.close()
			return out, fmt.Errorf("--learn: %w", err)
		}
	}
	if out.collect, err = o.openCollections(); err != nil {
		out.close()
		return out, err
	}
	return out, nil
}

func (o *outputs) close() {
	if o.json != os.Stderr {
		o.json.Close()
	}
	if o.learn != nil {
		o.learn.Close()
	}
	closeAll(o.collect)
}

// start runs spec with the streams of this process, or with a terminal, until the end of the command or a
// signal to end, which it returns. With --learn it returns the policy that allows what the command did.
func start(o *options, spec sandbox.Spec) (policy *seccomp.Policy, result *sandbox.Result, interrupt syscall.Signal, err error) {
	spec.Stdin, spec.Stdout, spec.Stderr = os.Stdin, os.Stdout, os.Stderr
	if spec.Limits.OutputMax > 0 {
		// What is no *os.File goes through a pipe, where it is counted.
		spec.Stdout, spec.Stderr = struct{ io.Writer }{os.Stdout}, struct{ io.Writer }{os.Stderr}
	}
	ctx, ender := awaitSignals(o.tty && o.interactive)
	at := &screen{fd: -1}
	stop := func() syscall.Signal {
		at.restore() // before a signal ends this process again
		return ender.stop()
	}
	if o.tty {
		if err = at.use(&spec, o.interactive); err != nil {
			return nil, nil, stop(), err
		}
		defer at.restore() // a panic would leave it raw
	}
	if o.learn != "" {
		policy, result, err = sandbox.Learn(ctx, spec)
		return policy, result, stop(), err
	}
	cmd := sandbox.Command(ctx, spec)
	if err = cmd.Start(); err == nil {
		ender.cmd.Store(cmd)
		unfollow := at.follow(cmd)
		result, err = cmd.Wait()
		unfollow()
	}
	return nil, result, stop(), err
}

// tell prints what a user at a terminal wants to know and cannot see from the exit code alone.
func tell(r *sandbox.Result, err error, interrupt syscall.Signal) {
	switch {
	case interrupt != 0 && r != nil && r.Ended == sandbox.Canceled && r.ExitCode >= 0: // as it was asked to
	case interrupt != 0 && (r == nil || r.Ended == sandbox.Canceled):
		complain(fmt.Errorf("ended by %v", interrupt))
	case err != nil:
		complain(err)
		if onlyUncollected(err) && r.Ended != sandbox.Exited {
			complain(fmt.Errorf("%v", r))
		}
	case r.Ended != sandbox.Exited:
		complain(fmt.Errorf("%v", r))
	}
	if r == nil {
		return
	}
	for _, f := range r.Missing {
		if f == sandbox.Cgroup {
			continue // nobody asked for more than --stats can tell without one
		}
		complain(fmt.Errorf("went without: %s", f))
	}
}

// complain prints an error, a line for each fault.
func complain(err error) {
	for _, e := range faults(err) {
		fmt.Fprintf(os.Stderr, "run: %s\n", strings.TrimPrefix(e.Error(), "sandbox: "))
	}
}

// show writes what was asked for to standard output.
func show(text string) int {
	if _, err := io.WriteString(os.Stdout, text); err != nil {
		complain(err)
		return exitFailed
	}
	return 0
}
