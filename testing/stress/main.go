//go:build linux

// Stress runs the stressors of stress-ng(1), class by class, in sandboxes with limits, and prints what became of
// them, and of the caller and of a sandbox beside them. It fails if one of the two was held up, if a run has no
// ending that it can have, or if anything is left.
//
//	go run ./testing/stress [-time 1s] [class ...]
//
// It needs stress-ng, from the package of that name.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ringfence-go/ringfence/sandbox"
)

var classes = []string{"cpu", "cpu-cache", "device", "filesystem", "gpu", "interrupt", "io", "memory", "network", "os", "pipe", "scheduler", "security", "vm", foreign}

// foreign is the stressor that also makes calls by another ABI, for which the default filter ends the sandbox. It is
// left out of its class, os, and runs alone.
const foreign = "enosys"

func main() {
	each := flag.Duration("time", time.Second, "how long each stressor runs")
	flag.Parse()
	if err := stress(*each, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "stress:", err)
		os.Exit(1)
	}
}

func stress(each time.Duration, chosen []string) error {
	if _, err := exec.LookPath("stress-ng"); err != nil {
		return fmt.Errorf("%w: install the package stress-ng", err)
	}
	if len(chosen) == 0 {
		chosen = classes
	}
	tmp, err := os.MkdirTemp("", "ringfence-stress-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := os.Setenv("TMPDIR", tmp); err != nil { // where nobody else leaves anything
		return err
	}
	// What is made once and kept.
	if _, err := sandbox.Run(context.Background(), sandbox.Spec{Args: []string{"true"}}); err != nil {
		return err
	}
	before := left()
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "class\tran\tskipped, or had faults\tended\ttook\tcaller's longest gap\tlongest run beside\t")
	var faults []error
	for _, class := range chosen {
		r, err := runClass(class, each)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", class, err))
		}
		fmt.Fprintf(out, "%s\t%d\t%s\t%v\t%v\t%v\t%v\t\n", class, len(r.ran), strings.Join(r.notes, " "), r.ended, r.took.Round(time.Second), r.gap.Round(time.Millisecond), r.run.Round(time.Millisecond))
		out.Flush()
	}
	// What is reaped by others may take a moment.
	after := left()
	for until := time.Now().Add(5 * time.Second); after != before && time.Now().Before(until); after = left() {
		time.Sleep(10 * time.Millisecond)
	}
	if after != before {
		faults = append(faults, fmt.Errorf("left: %s, before: %s", after, before))
	}
	return errors.Join(faults...)
}

// report is what became of a class.
type report struct {
	ran, notes []string
	ended      string
	took       time.Duration
	gap, run   time.Duration
}

// The most that the caller and a sandbox beside may be held up.
const (
	longestGap = 3 * time.Second
	longestRun = 15 * time.Second
)

func runClass(class string, each time.Duration) (report, error) {
	var rep report
	log := &tail{most: 4 << 20}
	what := []string{"--class", class, "--seq", "1", "--exclude", foreign}
	if class == foreign {
		what = []string{"--" + foreign, "1"}
	}
	spec := sandbox.Spec{
		Args: append([]string{"/usr/bin/stress-ng", "--timeout", strconv.Itoa(max(1, int(each.Seconds()))), "--temp-path", "/tmp", "--metrics"}, what...),
		Dir:  "/tmp", Stdout: log, Stderr: log,
		Limits: sandbox.Limits{
			WallTime: 10*time.Minute + 200*each,
			// Of each process, and of all: no cgroup is needed, and the machine is not to be filled.
			Rlimits: []sandbox.Rlimit{
				{Type: "RLIMIT_AS", Soft: 1 << 30, Hard: 1 << 30}, {Type: "RLIMIT_NPROC", Soft: 300, Hard: 300},
				{Type: "RLIMIT_FSIZE", Soft: 128 << 20, Hard: 128 << 20}, {Type: "RLIMIT_NOFILE", Soft: 1024, Hard: 1024},
			},
		},
	}
	stop := beside(&rep)
	began := time.Now()
	r, err := sandbox.Run(context.Background(), spec)
	rep.took = time.Since(began)
	err = errors.Join(err, stop())
	if r == nil {
		return rep, err
	}
	rep.ended = r.String()
	rep.read(log.b)
	want := sandbox.Exited
	if class == foreign {
		want = sandbox.Forbidden
	}
	if r.Ended != want {
		err = errors.Join(err, fmt.Errorf("it ended by %v, want %v", r, want))
	}
	return rep, err
}

// beside runs small sandboxes and measures them, and this program's own loop, until it is stopped.
func beside(rep *report) (stop func() error) {
	end, done, errs := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(done)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for last := time.Now(); ; {
			select {
			case <-end:
				return
			case <-tick.C:
			}
			now := time.Now()
			rep.gap, last = max(rep.gap, now.Sub(last)), now
		}
	}()
	go func() {
		for {
			began := time.Now()
			if _, err := sandbox.Output(context.Background(), sandbox.Spec{Args: []string{"echo", "x"}}); err != nil {
				errs <- fmt.Errorf("the sandbox beside it: %w", err)
				return
			}
			rep.run = max(rep.run, time.Since(began))
			select {
			case <-end:
				errs <- nil
				return
			case <-time.After(200 * time.Millisecond): // now and then
			}
		}
	}()
	return func() error {
		close(end)
		<-done
		err := <-errs
		if rep.gap > longestGap || rep.run > longestRun {
			err = errors.Join(err, fmt.Errorf("held up for %v and %v, want at most %v and %v", rep.gap, rep.run, longestGap, longestRun))
		}
		return err
	}
}

var (
	ranLine  = regexp.MustCompile(`(?m)^stress-ng: metrc: \[\d+\] ([a-z0-9-]+) +(\d+) +[0-9.]+ +[0-9.]+`)
	noteLine = regexp.MustCompile(`(?m)^stress-ng: (?:info|warn|fail): +\[\d+\] ([a-z0-9-]+)(?: stressor|:).*(skipp|fail|not supported|not implemented|cannot|out of)`)
)

// read finds what stress-ng tells of its stressors.
func (rep *report) read(log []byte) {
	for _, m := range ranLine.FindAllSubmatch(log, -1) {
		rep.ran = append(rep.ran, string(m[1]))
	}
	for _, m := range noteLine.FindAllSubmatch(log, -1) {
		if name := string(m[1]); !slices.Contains(rep.notes, name) {
			rep.notes = append(rep.notes, name)
		}
	}
}

// tail keeps the last bytes that are written to it.
type tail struct {
	b    []byte
	most int
}

func (t *tail) Write(b []byte) (int, error) {
	t.b = append(t.b, b...)
	if over := len(t.b) - t.most; over > 0 {
		t.b = slices.Delete(t.b, 0, over)
	}
	return len(b), nil
}

// left counts what this process has.
func left() string {
	fds, _ := os.ReadDir("/proc/self/fd")
	files, _ := os.ReadDir(os.TempDir())
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	children := 0
	tasks, _ := os.ReadDir("/proc/self/task")
	for _, task := range tasks {
		list, _ := os.ReadFile("/proc/self/task/" + task.Name() + "/children")
		children += len(strings.Fields(string(list)))
	}
	return fmt.Sprintf("%d descriptors, %d children, %d mounts, %d files", len(fds), children, strings.Count(string(mounts), "\n"), len(files))
}
