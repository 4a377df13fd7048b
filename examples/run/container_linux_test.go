package main

import (
	"archive/tar"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// TestCgroupOfAContainer has podman make an image of this program and cat, and runs the command of the README for
// a container, as it stands there, as a user.
func TestCgroupOfAContainer(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.UserNamespaces(), sandboxtest.UserManager(), sandboxtest.Program("podman"))
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, command, ok := strings.Cut(string(readme), "\n    podman run ")
	command, _, _ = strings.Cut(command, "\n")
	if !ok || !strings.Contains(command, " image run --memory 64M ") {
		t.Fatalf("the README has no such command: %q", command)
	}
	dir := t.TempDir()
	podman := func(script string) (string, error) {
		cmd := exec.Command("sh", "-c", script)
		// Nothing of it stays, and nothing of the user's is used.
		cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+filepath.Join(dir, "data"), "XDG_CONFIG_HOME="+filepath.Join(dir, "config"))
		cmd.Dir = dir
		var complaints strings.Builder
		cmd.Stderr = &complaints
		out, err := cmd.Output()
		if complaints.Len() > 0 {
			t.Logf("%s", complaints.String())
		}
		return string(out), err
	}
	t.Cleanup(func() {
		// Its files belong to IDs that only a user namespace of this user's has.
		if out, err := podman("podman rmi --force --all && podman unshare rm -rf data config"); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	if err := writeImage(filepath.Join(dir, "tree.tar")); err != nil {
		t.Fatal(err)
	}
	if out, err := podman("podman import --quiet tree.tar image"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := podman("podman run " + command); err != nil || out != "67108864\n" {
		t.Errorf("%s: %v\n%s", command, err, out)
	}
	// Without a file system of cgroups that may be written, it is an error with the option that makes it so.
	without := strings.Replace(command, "unmask=ALL", "unmask=/proc/*", 1)
	out, err := podman("podman run " + without + " 2>&1")
	if err == nil || !strings.Contains(out, "--security-opt unmask=") {
		t.Errorf("%s: %v\n%s", without, err, out)
	}
	// A container of the usual kind hides parts of /proc, and its filter refuses calls of the set-up: the doctor
	// tells the options, also of one that has some. With them, and no cgroup asked for, a sandbox works.
	for _, options := range []string{"", "--security-opt unmask=ALL"} {
		out, err = podman("podman run --rm --network none " + options + " image run --doctor 2>&1")
		for _, option := range []string{"--security-opt unmask=ALL", "--security-opt seccomp=unconfined"} {
			if err == nil || !strings.Contains(out, option) {
				t.Errorf("the doctor in a container with %q: %v, want it to tell %s\n%s", options, err, option, out)
			}
		}
	}
	out, err = podman("podman run --rm --network none --security-opt unmask=ALL --security-opt seccomp=unconfined image run cat /proc/sys/kernel/hostname 2>&1")
	if err != nil || out != "sandbox\n" {
		t.Errorf("a sandbox in a rootless container: %v\n%s", err, out)
	}
}

// writeImage writes the file system of a container, with what it needs to run cat, and this program.
func writeImage(name string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	libraries, err := exec.Command("sh", "-c", "ldd /usr/bin/cat | grep -o '/[^ ]*'").Output()
	if err != nil {
		return err
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	w := tar.NewWriter(f)
	for _, dir := range []string{"proc", "sys", "dev", "tmp", "run", "etc", "usr", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64"} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}); err != nil {
			return err
		}
	}
	for _, link := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: link, Linkname: "usr/" + link, Mode: 0o777}); err != nil {
			return err
		}
	}
	files := map[string]string{"usr/bin/run": self, "usr/bin/cat": "/usr/bin/cat"}
	for library := range strings.FieldsSeq(string(libraries)) {
		files["usr/"+strings.TrimPrefix(strings.TrimPrefix(library, "/usr"), "/")] = library
	}
	for to, from := range files {
		if err := addToImage(w, to, from); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return f.Close()
}

func addToImage(w *tar.Writer, to, from string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil {
		err = w.WriteHeader(&tar.Header{Name: to, Mode: 0o755, Size: info.Size()})
	}
	if err == nil {
		_, err = io.Copy(w, f)
	}
	return err
}
