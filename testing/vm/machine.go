package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// machine is what QEMU is started with.
type machine struct {
	kernel, initrd string // files
	disks          []disk
	memory         int // MiB
	cpus           int
	accel          string
	console        string // the file that kernel messages go to
	parameters     string // for the kernel, besides those that every machine has
	extra          string // a folder that goes along with the tests; "" is none
}

// disk is a file that is a disk in the machine. What the machine writes to it is thrown away.
type disk struct {
	name string // the serial number, by which scripts find it
	file string
}

// parameters of every kernel: its messages go to the first serial port; a panic ends the machine, with
// QEMU's -no-reboot; there is no need to wait for randomness, and none to protect a machine that is
// thrown away from its own speculation. The last is for systemd releases that might mount version 1.
const parameters = "console=ttyS0 quiet panic=-1 random.trust_cpu=on mitigations=off systemd.unified_cgroup_hierarchy=1"

// arguments are the command line of qemu-system-x86_64.
func (m machine) arguments() []string {
	args := []string{
		"-accel", m.accel,
		// Five levels of page tables are one memory access more for each that misses in emulation.
		"-cpu", "max,la57=off",
		// q35 has proved stable with every kernel of the matrix; microvm hangs under load. vmport is a
		// device of another hypervisor, which Linux would ask.
		"-machine", "q35,vmport=off",
		"-m", strconv.Itoa(m.memory),
		"-smp", strconv.Itoa(m.cpus),
		"-kernel", m.kernel,
		"-initrd", m.initrd,
		"-append", strings.TrimSpace(parameters + " " + m.parameters),
		"-no-reboot", "-nodefaults", "-display", "none",
		"-serial", "file:" + escape(m.console),
		"-serial", "stdio",
	}
	for _, d := range m.disks {
		args = append(args,
			"-drive", fmt.Sprintf("if=none,id=%s,file=%s,format=raw,snapshot=on", d.name, escape(d.file)),
			"-device", fmt.Sprintf("virtio-blk-pci,drive=%s,serial=%s", d.name, d.name))
	}
	return args
}

// escape protects a comma in a value of QEMU's options.
func escape(s string) string { return strings.ReplaceAll(s, ",", ",,") }

// shellQuote makes one word of s for sh(1).
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// shellExports is the text that sets variables in a shell, in the order of their names.
func shellExports(env map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(env)) {
		fmt.Fprintf(&b, "export %s=%s\n", name, shellQuote(env[name]))
	}
	return b.String()
}

// shellCall is the text by which a shell becomes the command in its arguments, with args added.
func shellCall(args []string) string {
	var b strings.Builder
	b.WriteString(`exec "$@"`)
	for _, a := range args {
		b.WriteString(" " + shellQuote(a))
	}
	return b.String() + "\n"
}
