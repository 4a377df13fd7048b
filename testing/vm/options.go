package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// options are what the command line asks for.
type options struct {
	machine    string // minimal, systemd
	kernel     string
	cgroup     string // delegated, none
	parameters string
	root       bool
	memory     int
	cpus       int
	accel      string
	timeout    time.Duration
	refresh    bool
	cache      string
	env        map[string]string
	run        string
	quiet      bool
	apparmor   bool

	tests    []string // packages and binaries
	testArgs []string
}

// What the machines have, by the names of package sandboxtest's requirements: a test that lacks one of
// these fails instead of being skipped.
var has = map[string][]string{
	"minimal": {"user-namespaces", "clone3", "sh", "true", "hugetlb"},
	"systemd": {"user-namespaces", "clone3", "sh", "true", "unshare", "python3", "strace", "time", "bwrap", "java", "podman"},
}

// slow is the factor by which emulation is slower than what it runs on, on a host with other work to do:
// sandboxtest.Slow.
const slow = "5"

// variables is a flag that adds NAME=VALUE to a map.
type variables map[string]string

func (v variables) String() string { return "" }

func (v variables) Set(s string) error {
	name, value, ok := strings.Cut(s, "=")
	if !ok || name == "" {
		return fmt.Errorf("%q is not NAME=VALUE", s)
	}
	v[name] = value
	return nil
}

// parseOptions reads the arguments of this command. What comes after "--" is for the test binaries.
func parseOptions(args []string, usage io.Writer) (*options, error) {
	o := &options{env: map[string]string{}}
	fs := flag.NewFlagSet("vm", flag.ContinueOnError)
	fs.SetOutput(usage)
	fs.StringVar(&o.machine, "machine", "minimal", "`kind` of machine: minimal, systemd")
	fs.StringVar(&o.kernel, "kernel", "6.1", "`version` of Linux: see kernels.go")
	fs.StringVar(&o.cgroup, "cgroup", "delegated", "`who` owns the cgroup of the tests: delegated, none")
	fs.StringVar(&o.parameters, "append", "", "more `parameters` for the kernel")
	fs.BoolVar(&o.root, "root", false, "run the tests named TestRoot, as root")
	fs.IntVar(&o.memory, "memory", 2048, "`MiB` of memory")
	fs.IntVar(&o.cpus, "cpus", 2, "`number` of processors")
	fs.StringVar(&o.accel, "accel", "tcg,thread=multi", "QEMU's `accelerator`")
	fs.DurationVar(&o.timeout, "timeout", 20*time.Minute, "how `long` the machine may run")
	fs.BoolVar(&o.refresh, "refresh", false, "look for a later kernel of that version")
	fs.StringVar(&o.cache, "cache", defaultCache(), "`folder` for what is fetched; also RINGFENCE_VM_CACHE")
	fs.Var(variables(o.env), "env", "`NAME=VALUE` in the environment of the tests")
	fs.StringVar(&o.run, "run", "", "only tests that match this `expression`")
	fs.BoolVar(&o.apparmor, "apparmor", false, "give the tests AppArmor's parser, for Ubuntu's kernels")
	fs.BoolVar(&o.quiet, "quiet", false, "print only what tests print without -test.v")
	if i := indexOf(args, "--"); i >= 0 {
		args, o.testArgs = args[:i], args[i+1:]
	}
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	o.tests = fs.Args()
	if len(o.tests) == 0 {
		o.tests = []string{"./..."}
	}
	// Started as root, the other tests would become a user who owns no cgroup: see package sandboxtest.
	if o.root && o.run == "" {
		o.run = "^TestRoot"
	}
	return o, o.check()
}

func (o *options) check() error {
	if _, ok := has[o.machine]; !ok {
		return fmt.Errorf("no machine %q: there are minimal, systemd", o.machine)
	}
	if o.cgroup != "delegated" && o.cgroup != "none" {
		return fmt.Errorf("-cgroup %q is neither delegated nor none", o.cgroup)
	}
	_, err := findKernel(o.kernel)
	return err
}

func indexOf(args []string, s string) int {
	for i, a := range args {
		if a == s {
			return i
		}
	}
	return -1
}

// defaultCache is outside the repository, where users expect such things.
func defaultCache() string {
	if dir := os.Getenv("RINGFENCE_VM_CACHE"); dir != "" {
		return dir
	}
	dir, err := os.UserCacheDir()
	if err != nil { // no HOME
		dir = os.TempDir()
	}
	return filepath.Join(dir, "ringfence", "vm")
}

// environment is that of the tests, and what the scripts in guest go by.
func (o *options) environment(tests int) map[string]string {
	met := has[o.machine]
	if o.cgroup == "delegated" {
		met = append([]string{"cgroup-v2"}, met...)
	}
	env := map[string]string{
		"PATH":              "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
		"HOME":              "/home/user",
		"USER":              "user",
		"LANG":              "C.UTF-8",
		"USER_ID":           "1000",
		"VM_CGROUP":         o.cgroup,
		"VM_TESTS":          fmt.Sprint(tests),
		"RINGFENCE_SLOW":    slow,
		"RINGFENCE_VM":      o.machine,
		"RINGFENCE_VM_DISK": "/data",
	}
	if o.machine == "systemd" && !o.root {
		met = append([]string{"user-manager"}, met...)
	}
	if o.root {
		env["HOME"], env["USER"], env["USER_ID"] = "/root", "root", "0"
		met = append([]string{"root"}, met...)
	}
	env["RINGFENCE_NO_SKIP"] = strings.Join(met, ",")
	if o.apparmor {
		env[apparmorEnv] = "/run/vm/" + extraFolder
	}
	for name, value := range o.env {
		env[name] = value
	}
	return env
}

// flags are those of the test binaries. The timeout of a test is shorter than the machine's, so that the
// stacks of what hangs are seen.
func (o *options) flags() []string {
	args := []string{"-test.timeout=" + (o.timeout - o.timeout/10).String()}
	if !o.quiet {
		args = append(args, "-test.v")
	}
	if o.run != "" {
		args = append(args, "-test.run="+o.run)
	}
	return append(args, o.testArgs...)
}
