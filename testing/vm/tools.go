package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// packageOf says which package of Debian has a program.
var packageOf = map[string]string{
	"apt-cache":          "apt",
	"apt-get":            "apt",
	"busybox":            "busybox-static",
	"dpkg-deb":           "dpkg",
	"fakeroot":           "fakeroot",
	"mke2fs":             "e2fsprogs",
	"mmdebstrap":         "mmdebstrap",
	"qemu-system-x86_64": "qemu-system-x86",
	"tar":                "tar",
	"xz":                 "xz-utils",
	"zstd":               "zstd",
}

// install sees to it that the host has programs: as root it installs their packages, else it says which
// are missing.
func install(ctx context.Context, programs ...string) error {
	var missing []string
	for _, p := range programs {
		if tool(p) == "" {
			missing = append(missing, packageOf[p])
		}
	}
	if len(missing) == 0 {
		return nil
	}
	list := strings.Join(missing, " ")
	if os.Geteuid() != 0 {
		return fmt.Errorf("programs are missing: apt-get install --no-install-recommends %s", list)
	}
	fmt.Fprintf(os.Stderr, "vm: install %s\n", list)
	args := append([]string{"install", "-qq", "-y", "--no-install-recommends"}, missing...)
	err := runQuiet(ctx, "apt-get", args...)
	if err != nil { // the host's lists of packages may be old, or not be there
		if err := runQuiet(ctx, "apt-get", "update", "-qq"); err != nil {
			return err
		}
		err = runQuiet(ctx, "apt-get", args...)
	}
	return err
}

// tool returns where a program is, or "". A user's PATH may lack the directories of root's programs.
func tool(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	return ""
}

func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	path := tool(name)
	if path == "" {
		path = name // and let Run say that it is not there
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	return cmd
}

// runQuiet runs a program and shows what it printed only if it fails.
func runQuiet(ctx context.Context, name string, args ...string) error {
	_, err := output(command(ctx, name, args...))
	return err
}

// output returns what cmd prints to standard output. All that it prints is in the error.
func output(cmd *exec.Cmd) ([]byte, error) {
	var out, all bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &all
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s%s", strings.Join(cmd.Args, " "), err, out.Bytes(), all.Bytes())
	}
	return out.Bytes(), nil
}

// makeOnce makes the file or directory at path unless it is there, by way of a temporary name beside it:
// what has the right name is complete, also after an interruption or beside another process that makes
// the same.
func makeOnce(path string, create func(tmp string) error) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	tmp := filepath.Join(dir, filepath.Base(path))
	if err := create(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		if _, statErr := os.Stat(path); statErr != nil { // not the work of another process
			return err
		}
	}
	return nil
}
