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
// and its bus, what tests of the ordinary suite use, a Java that reads its cgroup's limits, and containers.
var rootPackages = []string{
	"systemd", "systemd-sysv", "dbus-user-session", "libpam-systemd", "uidmap", "util-linux", "iproute2",
	"python3", "strace", "time", "bubblewrap", "libcap2-bin", "openjdk-17-jre-headless",
	"podman", "crun",
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
		tarball := filepath.Join(filepath.Dir(tmp), "root.tar")
		if err := c.bootstrap(ctx, tarball); err != nil {
			return err
		}
		return makeDisk(ctx, tarball, string(script), tmp)
	})
}

// bootstrap makes an archive of a root file system from packages.
func (c *cache) bootstrap(ctx context.Context, tarball string) error {
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
		"bookworm", tarball,
	}
	return runQuiet(ctx, "mmdebstrap", append(args, sources...)...)
}

// makeDisk unpacks an archive, runs a script on it and makes an ext4 of it. For a user who is not root,
// fakeroot(1) remembers whom the files belong to in between. Devices are the machine's own affair.
func makeDisk(ctx context.Context, tarball, script, path string) error {
	dir := filepath.Join(filepath.Dir(path), "root")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	const steps = `set -e
tar -x -f "$1" -C "$2" --exclude='./dev/*'
sh -c "$3" rootfs.sh "$2"
"$0" -q -t ext4 -O ^has_journal -d "$2" "$4" ` + rootSize
	args := []string{"sh", "-c", steps, tool("mke2fs"), tarball, dir, script, path}
	if os.Geteuid() != 0 {
		if err := install(ctx, "fakeroot"); err != nil {
			return err
		}
		args = append([]string{"fakeroot"}, args...)
	}
	return runQuiet(ctx, args[0], args[1:]...)
}
