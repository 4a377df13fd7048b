//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

// options are what the command line asks for.
type options struct {
	match    *regexp.Regexp
	vm       bool
	verbose  bool
	together int
}

func run(ctx context.Context) error {
	pattern := flag.String("run", "", "only mutants whose protection or test matches this `expression`")
	vm := flag.Bool("vm", false, "those that need cgroup v2, in a virtual machine")
	list := flag.Bool("list", false, "print what there is, and do nothing")
	verbose := flag.Bool("v", false, "print what the tests print")
	together := flag.Int("together", 1, "how many mutants are one, each with a test of its own: `n` times as fast, but one may hide another")
	flag.Parse()
	match, err := regexp.Compile(*pattern)
	if err != nil {
		return err
	}
	o := options{match, *vm, *verbose, *together}
	chosen := o.choose(tables())
	if *list {
		for i := range chosen {
			fmt.Println(&chosen[i])
		}
		return nil
	}
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	b := &bench{root: root, work: work, options: o, passed: map[string]bool{}}
	return b.all(ctx, chosen)
}

func (o options) choose(all []mutant) []mutant {
	var chosen []mutant
	for _, m := range all {
		if m.vm == o.vm && (o.match.MatchString(m.without) || o.match.MatchString(m.test)) {
			chosen = append(chosen, m)
		}
	}
	return chosen
}

func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	return strings.TrimSpace(string(out)), err
}

// bench is where mutants are tried.
type bench struct {
	options
	root, work string
	passed     map[string]bool // tests of mutants, without a mutant
}

func (b *bench) all(ctx context.Context, mutants []mutant) error {
	if err := b.control(ctx, mutants); err != nil {
		return err
	}
	bad := 0
	for _, batch := range b.batches(mutants) {
		began := time.Now()
		wrong, err := b.try(ctx, batch)
		if err != nil {
			return err
		}
		took := time.Since(began).Round(100 * time.Millisecond)
		for i, m := range batch {
			if wrong[i] == "" {
				fmt.Printf("fails as it must: %v (%v)\n", m, took)
				continue
			}
			bad++
			fmt.Printf("WRONG: %v: %s (%v)\n", m, wrong[i], took)
		}
	}
	fmt.Printf("%d mutants, %d of them wrong\n", len(mutants), bad)
	if bad > 0 {
		return fmt.Errorf("%d tests would not miss what they are there for, or cannot be run here", bad)
	}
	return nil
}

// control runs the tests without a mutant.
func (b *bench) control(ctx context.Context, mutants []mutant) error {
	tests := map[string][]string{}
	for i := range mutants {
		folder, test := mutants[i].name()
		if !slices.Contains(tests[folder], test) {
			tests[folder] = append(tests[folder], test)
		}
	}
	for _, folder := range slices.Sorted(maps.Keys(tests)) {
		out, err := b.test(ctx, folder, tests[folder], nil, 10*time.Minute)
		if err != nil {
			return err
		}
		for _, test := range tests[folder] {
			b.passed[folder+"."+test] = strings.Contains(out, "--- PASS: "+test+" ")
		}
	}
	return nil
}

// batches returns the mutants that are tried together. One whose test may hang is alone.
func (b *bench) batches(mutants []mutant) [][]*mutant {
	var all [][]*mutant
	for i := range mutants {
		m := &mutants[i]
		at := slices.IndexFunc(all, func(batch []*mutant) bool {
			return len(batch) < b.together && !m.hangs() && !batch[0].hangs() && m.goesWith(b.root, batch)
		})
		if at < 0 {
			all, at = append(all, nil), len(all)
		}
		all[at] = append(all[at], m)
	}
	return all
}

// try returns what is wrong with each of some mutants of one package; "" if its test fails, and passes without it.
func (b *bench) try(ctx context.Context, batch []*mutant) ([]string, error) {
	wrong := make([]string, len(batch))
	folder, _ := batch[0].name()
	changed, err := files(b.root, batch...)
	if err != nil {
		for i := range wrong {
			wrong[i] = err.Error()
		}
		return wrong, nil
	}
	var tests []string
	for _, m := range batch {
		_, test := m.name()
		tests = append(tests, test)
	}
	const limit = time.Minute // a mutant may leave its test waiting
	out, err := b.test(ctx, folder, tests, changed, time.Duration(len(tests))*limit)
	if err != nil {
		return nil, err
	}
	for i, m := range batch {
		wrong[i] = b.judge(m, out)
	}
	return wrong, nil
}

// judge returns what is wrong with a mutant whose test has said this.
func (b *bench) judge(m *mutant, out string) string {
	_, test := m.name()
	if b.together > 1 && !strings.Contains(out, "[build failed]") {
		out = saidBy(test, out)
	}
	switch {
	case !b.passed[m.test]:
		return "it does not pass without a mutant"
	case strings.Contains(out, "[build failed]") || strings.Contains(out, "[setup failed]"):
		return "it does not compile:\n" + out
	case !strings.Contains(out, "--- FAIL: "+test+" ") && !strings.Contains(out, "panic: test timed out"):
		return "it does not fail:\n" + out
	case !regexp.MustCompile(m.says).MatchString(out):
		return fmt.Sprintf("it fails, and does not say %q:\n%s", m.says, out)
	}
	return ""
}

// marker is a line that says which test comes next.
var marker = regexp.MustCompile(`^=== (?:RUN|CONT|NAME|PAUSE) +(\w+)`)

// saidBy returns what one of several tests has said.
func saidBy(test, out string) string {
	var said strings.Builder
	now := ""
	for line := range strings.Lines(out) {
		if m := marker.FindStringSubmatch(line); m != nil {
			now = m[1]
		}
		if now == test || strings.HasPrefix(line, "--- ") && strings.Contains(line, ": "+test+" ") {
			said.WriteString(line)
		}
	}
	return said.String()
}

// test runs tests with files in the place of the library's, and returns what they say.
func (b *bench) test(ctx context.Context, folder string, tests []string, files map[string]string, limit time.Duration) (string, error) {
	overlay, err := b.overlay(files)
	if err != nil {
		return "", err
	}
	pattern := "^(" + strings.Join(tests, "|") + ")$"
	args := []string{"go", "test", "-count=1", "-vet=off", "-ldflags=-s -w", "-v", "-timeout", limit.String(), "-run", pattern, "./" + folder}
	switch {
	case b.vm:
		args = []string{"go", "run", "./testing/vm", "-run", pattern, "./" + folder}
	case os.Geteuid() == 0:
		// A sandbox without its lifeline outlives its caller, and does not outlive this. What one without its IPC
		// and UTS namespaces makes and changes is not the host's. The network is: one without its own has to find it.
		args = append([]string{"unshare", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc"}, args...)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = b.root
	cmd.Env = append(os.Environ(), "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" -overlay="+overlay))
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second // for what is left and holds the pipe
	_ = cmd.Run()               // what was said decides
	if b.verbose {
		fmt.Print(out.String())
	}
	return out.String(), ctx.Err()
}

// overlay writes what the go command's -overlay takes: see "go help build".
func (b *bench) overlay(files map[string]string) (string, error) {
	replace := map[string]string{}
	for name, text := range files {
		to := filepath.Join(b.work, strings.ReplaceAll(name, "/", "-"))
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(b.root, name)] = to
	}
	data, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	name := filepath.Join(b.work, "overlay.json")
	return name, os.WriteFile(name, data, 0o600)
}
