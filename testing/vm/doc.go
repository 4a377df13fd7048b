// Command vm runs the tests of this repository in a virtual machine: on other kernels, on pure cgroup
// v2, as a user who owns a delegated subtree of it. It needs neither KVM nor root, once the programs it
// runs are installed; as root on Debian it installs them itself. README.md says how to use it.
//
//	vm [flags] [package or test binary...] [-- flags of the test binaries]
//	vm matrix [flags]
//
// It exits with the code of the tests, or with 125 if the machine is to blame.
//
// How a machine comes about:
//
//	sources.go   where the host's package archives are        apt.go      an apt of our own, for any release
//	kernels.go   which package holds a kernel                 modules.go  which of its modules are needed
//	initrd.go    the first file system: busybox, modules      cpio.go     its format
//	rootfs.go    the disk of the machine with systemd         tools.go    programs of the host
//	payload.go   the disk with the tests and guest/*.sh       options.go  flags
//	machine.go   the command line of QEMU and of the kernel   boot.go     running it, reading the exit code
//	matrix.go    what is expected of which kernel
//
// The scripts in guest run inside: init.sh first, from the initrd; then minimal.sh or systemd.sh, which
// make the machine ready, and both end in tests.sh.
package main
