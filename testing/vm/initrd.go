package main

import (
	"context"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

//go:embed guest/*.sh
var guest embed.FS

// cache holds what was fetched and what was made of it. Everything in it may be removed at any time.
type cache struct {
	dir     string
	refresh bool // look for later kernels, although there is one
	mirrors mirrors
}

// bookworm is the release that everything but kernels comes from.
var bookworm = []suite{{"debian", "bookworm"}, {"security", "bookworm-security"}}

func (c *cache) path(parts ...string) string {
	return filepath.Join(append([]string{c.dir}, parts...)...)
}

func (c *cache) release(ctx context.Context, name string, suites []suite, keyring string) (*release, error) {
	lines, err := c.mirrors.sourceLines(suites, keyring)
	if err != nil {
		return nil, err
	}
	return openRelease(ctx, c.path("apt", name), lines)
}

// kernel returns the directory of an unpacked kernel, whose name is its version. An error matches
// errNotReached.
func (c *cache) kernel(ctx context.Context, k kernel) (string, error) {
	tree, err := c.fetchKernel(ctx, k)
	if err != nil {
		err = fmt.Errorf("kernel %s: %w: %w", k.name, errNotReached, err)
	}
	return tree, err
}

func (c *cache) fetchKernel(ctx context.Context, k kernel) (string, error) {
	dir := c.path("kernels", k.name)
	if !c.refresh {
		if have, _ := filepath.Glob(filepath.Join(dir, "[0-9]*")); len(have) > 0 {
			return slices.MaxFunc(have, func(a, b string) int { return compareVersions(filepath.Base(a), filepath.Base(b)) }), nil
		}
	}
	keyring := ""
	if k.suites[0].archive == "ubuntu" {
		var err error
		if keyring, err = c.ubuntuKeyring(ctx); err != nil {
			return "", err
		}
	}
	r, err := c.release(ctx, "kernel-"+k.name, k.suites, keyring)
	if err != nil {
		return "", err
	}
	names, err := r.names(ctx, "linux-")
	if err != nil {
		return "", err
	}
	version, packages, err := k.pick(names)
	if err != nil {
		return "", err
	}
	tree := filepath.Join(dir, version)
	return tree, makeOnce(tree, func(tmp string) error {
		fmt.Fprintf(os.Stderr, "vm: fetch kernel %s\n", version)
		return r.unpack(ctx, tmp, packages...)
	})
}

// ubuntuKeyring returns the file of keys that Ubuntu signs with. Debian vouches for them.
func (c *cache) ubuntuKeyring(ctx context.Context) (string, error) {
	dir := c.path("ubuntu-keyring")
	return filepath.Join(dir, "usr/share/keyrings/ubuntu-archive-keyring.gpg"), makeOnce(dir, func(tmp string) error {
		r, err := c.release(ctx, "trixie", []suite{{"debian", "trixie"}}, "") // bookworm has none
		if err != nil {
			return err
		}
		return r.unpack(ctx, tmp, "ubuntu-keyring")
	})
}

// busybox returns a static busybox.
func (c *cache) busybox(ctx context.Context) (string, error) {
	dir := c.path("busybox")
	return filepath.Join(dir, "bin/busybox"), makeOnce(dir, func(tmp string) error {
		r, err := c.release(ctx, "bookworm", bookworm, "")
		if err != nil {
			return err
		}
		return r.unpack(ctx, tmp, "busybox-static")
	})
}

// image returns the file of an unpacked kernel that QEMU starts.
func image(tree string) (string, error) {
	for _, pattern := range []string{"boot/vmlinuz-*", "usr/lib/modules/*/vmlinuz*"} {
		if found, err := filepath.Glob(filepath.Join(tree, pattern)); err == nil && len(found) > 0 {
			return found[0], nil
		}
	}
	return "", fmt.Errorf("there is no vmlinuz in %s", tree)
}

// writeInitrd writes the first file system of a machine. It is the same for all machines of a kernel.
func (c *cache) writeInitrd(ctx context.Context, to, tree string) error {
	busybox, err := c.busybox(ctx)
	if err != nil {
		return err
	}
	init, err := guest.ReadFile("guest/init.sh")
	if err != nil {
		return err
	}
	modules, err := loadOrder(ctx, tree, wanted)
	if err != nil {
		return err
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	defer f.Close()
	a := archive{w: f}
	a.dir("bin")
	a.dir("modules")
	a.copyFile("bin/busybox", busybox)
	a.file("init", 0o755, init)
	for i, m := range modules {
		a.file(fmt.Sprintf("modules/%02d-%s.ko", i, m.name), 0o644, m.data)
	}
	if err := a.close(); err != nil {
		return err
	}
	return f.Close()
}

// dataDisk returns an empty ext4 on a disk of its own: io.max and its like are about devices, and the
// tmpfs that everything else lies on has none.
func (c *cache) dataDisk(ctx context.Context) (string, error) {
	path := c.path("data.ext4")
	return path, makeOnce(path, func(tmp string) error {
		return runQuiet(ctx, "mke2fs", "-q", "-t", "ext4", "-E", "root_owner=1000:1000", tmp, "128M")
	})
}
