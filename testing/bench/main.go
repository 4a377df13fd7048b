//go:build linux

// Bench runs the same short command in sandboxes of several kinds, in turn, and prints how their times
// compare. Times of one machine at one moment say little; the ratios of one run are what counts.
//
//	go run ./testing/bench [-n runs] [-command path]
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/ringfence-go/ringfence/sandbox"
)

// contestant is one way to run the command.
type contestant struct {
	name string
	run  func() error
}

func main() {
	runs := flag.Int("n", 200, "runs of each contestant")
	command := flag.String("command", "", "a static program that does nothing; by default one is compiled")
	flag.Parse()
	if err := bench(*runs, *command); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(runs int, command string) error {
	dir, err := os.MkdirTemp("", "ringfence-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if command == "" {
		if command, err = payload(dir); err != nil {
			return err
		}
	}
	there, err := keep(command)
	if err != nil {
		return err
	}
	defer there.close()
	list := append(contestants(command), there.contestants()...)
	if limited, err := limited(command); err != nil {
		fmt.Printf("no cgroup to measure: %v\n", err)
		fmt.Printf("in a machine that has one: make vm-test VM=\"-run '^$' ./sandbox -- -test.bench InCgroup\"\n\n")
	} else {
		list = append(list, limited)
	}
	times, err := interleave(runs, list)
	if err != nil {
		return err
	}
	base := times["ringfence"]
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tmedian\t10 %\t90 %\tringfence/this\t")
	for _, c := range list {
		t := times[c.name]
		fmt.Fprintf(w, "%s\t%v\t%v\t%v\t%.2f\t\n", c.name, round(median(t)), round(quantile(t, .1)), round(quantile(t, .9)), float64(median(base))/float64(median(t)))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := callers(os.Stdout, runs, command); err != nil {
		return err
	}
	return throughput(os.Stdout, runs, list)
}

// payload compiles the smallest program there is a compiler for.
func payload(dir string) (string, error) {
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	out := dir + "/true"
	const source = "int main(void) { return 0; }"
	cc := exec.Command("gcc", "-O2", "-static", "-x", "c", "-o", out, "-")
	cc.Stdin = strings.NewReader(source)
	if err := cc.Run(); err != nil {
		return "", fmt.Errorf("compile the command (or name one with -command): %w", err)
	}
	return out, nil
}

func ringfence(command string) func() error {
	spec := sandbox.Spec{Args: []string{"/command"}, Mounts: []sandbox.Mount{{Source: command, Target: "/command"}}}
	return func() error {
		r, err := sandbox.Run(context.Background(), spec)
		if err != nil {
			return err
		}
		return r.Err()
	}
}

// limited is a run whose limits take a cgroup.
func limited(command string) (contestant, error) {
	spec := sandbox.Spec{
		Args: []string{"/command"}, Mounts: []sandbox.Mount{{Source: command, Target: "/command"}},
		Limits: sandbox.Limits{MemoryMax: 64 << 20, PidsMax: 16, CPUMax: 1}, Cgroup: sandbox.CgroupOptions{MoveCaller: true},
	}
	run := func() error {
		r, err := sandbox.Run(context.Background(), spec)
		if err != nil {
			return err
		}
		return r.Err()
	}
	return contestant{"ringfence, limits by a cgroup", run}, run()
}

func contestants(command string) []contestant {
	list := []contestant{
		{"ringfence", ringfence(command)},
		{"os/exec", func() error { return exec.Command(command).Run() }},
		{"os/exec + CLONE_NEWUSER", func() error {
			c := exec.Command(command)
			c.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags:  syscall.CLONE_NEWUSER,
				UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
				GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
			}
			return c.Run()
		}},
	}
	add := func(name, tool string, args ...string) {
		if path, err := exec.LookPath(tool); err == nil {
			list = append(list, contestant{name, func() error { return exec.Command(path, args...).Run() }})
		}
	}
	// The mounts of the base system, in bubblewrap's words.
	bwrap := []string{"--unshare-all", "--new-session", "--die-with-parent", "--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev",
		"--tmpfs", "/dev/shm", "--tmpfs", "/tmp", "--tmpfs", "/home/sandbox"}
	for _, masked := range []string{"acpi", "asound", "interrupts", "kcore", "keys", "latency_stats", "sched_debug", "scsi", "timer_list", "timer_stats"} {
		if info, err := os.Stat("/proc/" + masked); err == nil && info.IsDir() {
			bwrap = append(bwrap, "--tmpfs", "/proc/"+masked)
		} else if err == nil {
			bwrap = append(bwrap, "--ro-bind", "/dev/null", "/proc/"+masked)
		}
	}
	for _, readOnly := range []string{"bus", "fs", "irq", "sys", "sysrq-trigger"} {
		if _, err := os.Stat("/proc/" + readOnly); err == nil {
			bwrap = append(bwrap, "--ro-bind", "/proc/"+readOnly, "/proc/"+readOnly)
		}
	}
	for _, link := range []string{"/bin", "/sbin", "/lib", "/lib64"} {
		if target, err := os.Readlink(link); err == nil {
			bwrap = append(bwrap, "--symlink", target, link)
		}
	}
	for _, pattern := range []string{"/etc/alternatives", "/etc/java-*", "/etc/ld.so.*", "/etc/localtime", "/etc/ssl/certs"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			continue // only for a bad pattern
		}
		for _, file := range files {
			bwrap = append(bwrap, "--ro-bind", file, file)
		}
	}
	add("bubblewrap --unshare-all", "bwrap", append(bwrap, "--ro-bind", command, "/command", "/command")...)
	add("unshare, all namespaces", "unshare", "--user", "--map-current-user", "--mount", "--pid", "--fork", "--net", "--ipc", "--uts", "--cgroup", command)
	return list
}

// interleave runs the contestants in turn, so that a noisy neighbor meets them all.
func interleave(runs int, list []contestant) (map[string][]time.Duration, error) {
	times := map[string][]time.Duration{}
	for i := range runs + 1 {
		for _, c := range list {
			began := time.Now()
			if err := c.run(); err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			if i > 0 { // the first is for the caches
				times[c.name] = append(times[c.name], time.Since(began))
			}
		}
	}
	return times, nil
}

// callers shows what the size of the caller costs: runs with and without a large heap take turns, some
// at a time.
func callers(out io.Writer, runs int, command string) error {
	const blocks = 10
	var small, big []time.Duration
	c := []contestant{{"caller", ringfence(command)}}
	for range blocks {
		t, err := interleave(max(runs/blocks, 2), c)
		if err != nil {
			return err
		}
		small = append(small, t["caller"]...)
		release := grow()
		t, err = interleave(max(runs/blocks, 2), c)
		release()
		if err != nil {
			return err
		}
		big = append(big, t["caller"]...)
	}
	a, b := median(small), median(big)
	fmt.Fprintf(out, "\ncaller with a touched heap of 1 GiB and 10,000 goroutines: %v, without: %v, ratio %.2f\n", round(b), round(a), float64(b)/float64(a))
	return nil
}

// grow makes this program large until release is called.
func grow() (release func()) {
	const page = 4096
	heap := make([]byte, 1<<30)
	for i := 0; i < len(heap); i += page {
		heap[i] = 1
	}
	stop := make(chan struct{})
	var idle sync.WaitGroup
	for range 10000 {
		idle.Go(func() { <-stop })
	}
	return func() {
		close(stop)
		idle.Wait()
		runtime.KeepAlive(heap)
		heap = nil
		debug.FreeOSMemory()
	}
}

func median(t []time.Duration) time.Duration { return quantile(t, .5) }

func quantile(t []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(t))
	return sorted[int(q*float64(len(sorted)-1))]
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
