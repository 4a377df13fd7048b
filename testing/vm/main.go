package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// exitMachine is the exit code if the machine, or this program, is to blame and not the tests.
const exitMachine = 125

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "vm: %v\n", err)
		code = exitMachine
	}
	os.Exit(code)
}

func run(ctx context.Context, args []string) (code int, err error) {
	if len(args) > 0 && args[0] == "matrix" {
		return runMatrix(ctx, args[1:])
	}
	o, err := parseOptions(args, os.Stderr)
	if err != nil {
		return exitMachine, err
	}
	code, _, err = o.runTests(ctx, os.Stdout)
	return code, err
}

// runTests builds the tests, starts a machine and runs them in it. It returns their exit code and the
// release of the machine's kernel.
func (o *options) runTests(ctx context.Context, out io.Writer) (code int, release string, err error) {
	if err := install(ctx, "apt-get", "dpkg-deb", "qemu-system-x86_64", "mke2fs", "xz", "zstd"); err != nil {
		return exitMachine, "", err
	}
	work, err := os.MkdirTemp("", "ringfence-vm-")
	if err != nil {
		return exitMachine, "", err
	}
	defer os.RemoveAll(work)
	root, err := moduleRoot(ctx)
	if err != nil {
		return exitMachine, "", err
	}
	tests, err := buildTests(ctx, root, work, o.tests)
	if err != nil {
		return exitMachine, "", err
	}
	m, err := o.prepare(ctx, work)
	if err != nil {
		return exitMachine, "", err
	}
	payload := filepath.Join(work, "payload")
	if err := writePayload(payload, root, m.extra, tests, shellExports(o.environment(len(tests))), shellCall(o.flags())); err != nil {
		return exitMachine, "", err
	}
	m.disks = append(m.disks, disk{"payload", payload})
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("the machine ran longer than %s", o.timeout))
	defer cancel()
	return m.bootTwice(ctx, out)
}

// prepare sees to all of a machine that does not depend on the tests.
func (o *options) prepare(ctx context.Context, work string) (machine, error) {
	m := machine{
		initrd:     filepath.Join(work, "initrd"),
		console:    filepath.Join(work, "console"),
		memory:     o.memory,
		cpus:       o.cpus,
		accel:      o.accel,
		parameters: o.parameters,
	}
	mirrors, err := hostMirrors()
	if err != nil {
		return m, err
	}
	c := &cache{dir: o.cache, refresh: o.refresh, mirrors: mirrors}
	k, err := findKernel(o.kernel)
	if err != nil {
		return m, err
	}
	tree, err := c.kernel(ctx, k)
	if err != nil {
		return m, err
	}
	if m.kernel, err = image(tree); err != nil {
		return m, err
	}
	if err := c.writeInitrd(ctx, m.initrd, tree); err != nil {
		return m, err
	}
	data, err := c.dataDisk(ctx)
	if err != nil {
		return m, err
	}
	m.disks = []disk{{"data", data}}
	if o.apparmor {
		if m.extra, err = c.apparmor(ctx); err != nil {
			return m, err
		}
	}
	if o.machine == "systemd" {
		root, err := c.rootDisk(ctx)
		if err != nil {
			return m, err
		}
		m.disks = append(m.disks, disk{"root", root})
	}
	return m, nil
}
