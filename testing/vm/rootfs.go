package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// rootPackages are what the machine with systemd has besides the essential packages: the user's manager
// and its bus, what tests of the ordinary suite use, and a Java that reads its cgroup's limits.
var rootPackages = []string{
	"systemd", "systemd-sysv", "dbus-user-session", "libpam-systemd", "uidmap", "util-linux", "iproute2",
	"python3", "strace", "bubblewrap", "openjdk-17-jre-headless",
}

// rootSize is that of the disk; what is not used takes no place.
const rootSize = "2G"

// rootDisk returns the disk of the machine with systemd.
func (c *cache) rootDisk(ctx context.Context) (string, error) {
	script, err := guest.ReadFile("guest/rootfs.sh")
	if err != nil {
		return "", err
	}
	// Whatever goes into the disk is in its name.
	sum := sha256.Sum256([]byte(string(script) + strings.Join(rootPackages, " ") + rootSize))
	path := c.path(fmt.Sprintf("systemd-%x.ext4", sum[:6]))
	return path, makeOnce(path, func(tmp string) error {
		if err := install(ctx, "mmdebstrap"); err != nil {
			return err
		}
		fmt.Fprintln(os.Stderr, "vm: make the disk with systemd, which takes a minute")
		dir := filepath.Dir(tmp)
		hook := filepath.Join(dir, "rootfs.sh")
		if err := os.WriteFile(hook, script, 0o755); err != nil {
			return err
		}
		tarball := filepath.Join(dir, "root.tar")
		if err := c.bootstrap(ctx, hook, tarball); err != nil {
			return err
		}
		return makeDisk(ctx, tarball, tmp)
	})
}

// bootstrap makes an archive of a root file system from packages.
func (c *cache) bootstrap(ctx context.Context, hook, tarball string) error {
	sources, err := c.mirrors.sourceLines(bookworm, "")
	if err != nil {
		return err
	}
	args := []string{
		"--variant=minbase", "--architectures=amd64",
		"--include=" + strings.Join(rootPackages, ","),
		"--dpkgopt=path-exclude=/usr/share/man/*",
		"--dpkgopt=path-exclude=/usr/share/doc/*",
		"--dpkgopt=path-exclude=/usr/share/locale/*",
		// Java's packages link manual pages into a folder that is left out above.
		`--essential-hook=mkdir -p "$1/usr/share/man/man1"`,
		"--customize-hook=" + shellQuote(hook) + ` "$1"`,
		"bookworm", tarball,
	}
	return runQuiet(ctx, "mmdebstrap", append(args, sources...)...)
}

// makeDisk unpacks an archive and makes an ext4 of it. For a user who is not root, fakeroot(1) remembers
// whom the files belong to in between. Devices are the machine's own affair.
func makeDisk(ctx context.Context, tarball, path string) error {
	dir := filepath.Join(filepath.Dir(path), "root")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	const script = `set -e
tar -x -f "$1" -C "$2" --exclude='./dev/*'
"$0" -q -t ext4 -O ^has_journal -d "$2" "$3" ` + rootSize
	mke2fs := tool("mke2fs")
	if os.Geteuid() == 0 {
		return runQuiet(ctx, "sh", "-c", script, mke2fs, tarball, dir, path)
	}
	if err := install(ctx, "fakeroot"); err != nil {
		return err
	}
	return runQuiet(ctx, "fakeroot", "sh", "-c", script, mke2fs, tarball, dir, path)
}
