package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// host is a row of the matrix.
type host struct {
	kernel     string
	parameters string
	// refuses is what the error says on a host that cannot run sandboxes; "" on one that can, and must
	// pass every test that has to do with the kernel.
	refuses string
	// remedy is what sandbox.Probe says there of the feature that is missing.
	remedy string
	// lifted says that root does what that remedy says, and then the user's sandboxes run.
	lifted bool
}

// hosts are all rows. Those that refuse are the three ways in which distributions and administrators
// forbid user namespaces, and the last kernel that lacks what no sandbox can do without.
var hosts = []host{
	{kernel: "5.10", refuses: `needs Linux 5\.1[45] or later`, remedy: `^boot Linux 5\.15 or later; this is 5\.10$`},
	{kernel: "5.15"},
	{kernel: "6.1"},
	{kernel: "6.8"},
	{kernel: "6.12"},
	{kernel: "newest"},
	{kernel: "6.1", parameters: "sysctl.user.max_user_namespaces=0", refuses: `user namespace is not supported here: .*sysctl user\.max_user_namespaces`,
		remedy: `^as root: sysctl -w user\.max_user_namespaces=`},
	{kernel: "6.1", parameters: "sysctl.kernel.unprivileged_userns_clone=0", refuses: `user namespace is not supported here: .*sysctl kernel\.unprivileged_userns_clone=1`,
		remedy: `^as root: sysctl -w kernel\.unprivileged_userns_clone=1\n`},
	{kernel: "6.8", parameters: "sysctl.kernel.apparmor_restrict_unprivileged_userns=1", refuses: `user namespace is not supported here: .*AppArmor`,
		remedy: `(?s)^as root: put this into /etc/apparmor\.d/ringfence-.* flags=\(unconfined\) \{\n +userns,`},
	{kernel: "6.8", parameters: "sysctl.kernel.apparmor_restrict_unprivileged_userns=1", lifted: true},
}

// kernelPackages have the tests whose outcome depends on the kernel. They are patterns, so that a
// package that does not exist is none.
var kernelPackages = []string{
	"./examples/run/...", "./idmap/...", "./internal/cgroup/...", "./internal/image/...", "./internal/launch/...",
	"./internal/probe/...", "./sandbox/...", "./testing/vm/...",
}

// outcome is what came of a row.
type outcome struct {
	release              string
	passed, failed, skip int
	took                 time.Duration
	err                  error // the machine's
	code                 int
}

// Lines of test binaries that are about a whole test.
var (
	passLine = regexp.MustCompile(`(?m)^--- PASS: `)
	failLine = regexp.MustCompile(`(?m)^--- FAIL: `)
	skipLine = regexp.MustCompile(`(?m)^--- SKIP: `)
)

// errNotReached says that the packages of a kernel could not be fetched.
var errNotReached = errors.New("not reached")

// result is the cell that says how it went.
func (o outcome) result(h host) string {
	switch {
	case errors.Is(o.err, errNotReached):
		return "not reached"
	case o.err != nil:
		return "**machine died**"
	case o.code != 0:
		return fmt.Sprintf("**%d failed**, %d passed", o.failed, o.passed)
	case h.refuses != "":
		return "refuses, as it must"
	}
	return fmt.Sprintf("%d passed, %d skipped", o.passed, o.skip)
}

func (o outcome) fine() bool { return o.err == nil && o.code == 0 || errors.Is(o.err, errNotReached) }

// name is the first cell of the row.
func (h host) name() string {
	if h.parameters == "" {
		return h.kernel
	}
	if h.lifted {
		return h.kernel + ", `" + h.parameters + "`, with the profile of the doctor"
	}
	return h.kernel + ", `" + h.parameters + "`"
}

// row is a line of the table.
func (h host) row(o outcome) string {
	expected := "runs"
	if h.refuses != "" {
		expected = "refuses"
	}
	release, took := "-", "-"
	if o.release != "" {
		release, took = o.release, fmt.Sprintf("%d s", int(o.took.Round(time.Second)/time.Second))
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s |\n", h.name(), release, expected, o.result(h), took)
}

const tableHead = "| host | kernel | expected | result | time |\n|---|---|---|---|---|\n"

// runMatrix runs every row whose name matches, prints what came of it, and keeps what the tests printed
// in the cache.
func runMatrix(ctx context.Context, args []string) (code int, err error) {
	fs := flag.NewFlagSet("vm matrix", flag.ContinueOnError)
	only := fs.String("only", "", "rows whose kernel or parameters match this `expression`")
	update := fs.String("update", "", "`file` in whose table the rows are replaced")
	if err := fs.Parse(args); err != nil {
		return exitMachine, err
	}
	match, err := regexp.Compile(*only)
	if err != nil {
		return exitMachine, err
	}
	rows := map[string]string{}
	for i, h := range hosts {
		if !match.MatchString(h.kernel + " " + h.parameters) {
			continue
		}
		log := filepath.Join(defaultCache(), "matrix", fmt.Sprintf("%02d-%s.log", i, h.kernel))
		fmt.Printf("== %s %s: %s\n", h.kernel, h.parameters, log)
		o := h.try(ctx, log)
		if ctx.Err() != nil {
			return exitMachine, ctx.Err()
		}
		if o.err != nil {
			fmt.Printf("%v\n", o.err)
		}
		if !o.fine() {
			code = 1
		}
		row := h.row(o)
		fmt.Print(row)
		rows[h.name()] = row
	}
	if *update == "" {
		return code, nil
	}
	text, err := os.ReadFile(*update)
	if err != nil {
		return exitMachine, err
	}
	return code, os.WriteFile(*update, []byte(replaceRows(string(text), rows)), 0o644)
}

// try runs the tests of one row.
func (h host) try(ctx context.Context, log string) outcome {
	// With systemd, the root file system is Debian 12 whatever the kernel. It has a word of its own in
	// what is allowed, by files in sysctl.d: where the parameters are to hold, it stays away.
	machine := "systemd"
	if h.refuses != "" || h.lifted {
		machine = "minimal"
	}
	o, err := parseOptions([]string{"-machine", machine, "-kernel", h.kernel, "-append", h.parameters, "-refresh"}, io.Discard)
	if err != nil {
		return outcome{err: err}
	}
	o.tests = kernelPackages
	if h.refuses != "" {
		o.tests, o.run = []string{"./testing/vm"}, "^TestHostRunsSandboxesOrSaysWhyNot$"
		o.env["RINGFENCE_VM_REFUSES"], o.env["RINGFENCE_VM_REMEDY"] = h.refuses, h.remedy
	}
	if h.lifted {
		o.tests, o.root, o.run, o.apparmor = []string{"./testing/vm"}, true, "^TestRootProfileOfTheDoctorIsEnough$", true
	}
	began := time.Now()
	var result outcome
	var text bytes.Buffer
	result.code, result.release, result.err = o.logTests(ctx, &text, log)
	result.took = time.Since(began)
	all := text.Bytes()
	result.passed = len(passLine.FindAllIndex(all, -1))
	result.failed = len(failLine.FindAllIndex(all, -1))
	result.skip = len(skipLine.FindAllIndex(all, -1))
	return result
}

// logTests is runTests with a copy of the output in a file, where it can be watched.
func (o *options) logTests(ctx context.Context, out io.Writer, log string) (code int, release string, err error) {
	if err := os.MkdirAll(filepath.Dir(log), 0o755); err != nil {
		return exitMachine, "", err
	}
	f, err := os.Create(log)
	if err != nil {
		return exitMachine, "", err
	}
	defer f.Close()
	return o.runTests(ctx, io.MultiWriter(out, f))
}

// replaceRows puts rows into the table of text, by their names and in the order of hosts, and leaves the
// others as they are. A text without a table gets one at its end.
func replaceRows(text string, rows map[string]string) string {
	head, _, _ := strings.Cut(tableHead, "\n")
	before, after, found := strings.Cut(text, head)
	if !found {
		before = strings.TrimRight(text, "\n") + "\n\n"
	}
	old, rest := map[string]string{}, ""
	for line := range strings.Lines(after) {
		if rest == "" && strings.HasPrefix(line, "|") {
			name, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " |")
			old[name] = line
		} else if rest != "" || line != "\n" {
			rest += line
		}
	}
	table := tableHead
	for _, h := range hosts {
		if row, ok := rows[h.name()]; ok {
			table += row
		} else {
			table += old[h.name()] // "" if there was none
		}
	}
	if rest != "" {
		table += "\n"
	}
	return before + table + rest
}
