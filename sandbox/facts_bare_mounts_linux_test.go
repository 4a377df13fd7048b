package sandbox

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Seen to fail when paths were compared as they were given: the file was made, and what is below /proc was read.
func TestWithoutNamespacesALinkIsNoMount(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	sub, link, procLink := filepath.Join(dir, "w", "sub"), filepath.Join(dir, "link"), filepath.Join(dir, "proc")
	if err := os.MkdirAll(sub, 0o777); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{link: sub, procLink: "/proc", filepath.Join(dir, "up"): dir} {
		if err := os.Symlink(to, from); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		real   string // as the error names it; "" is that it works
		mounts []func(*Spec)
	}{
		"read-only by a link into what is writable": {sub, []func(*Spec){bind(filepath.Dir(sub), true), bind(link, false)}},
		"processes by a link":                       {"/proc", []func(*Spec){bind(procLink, false)}},
		"a link on the way":                         {sub, []func(*Spec){bind(filepath.Join(dir, "up", "w", "sub"), false)}},
		"no link":                                   {"", []func(*Spec){bind(sub, false)}},
	} {
		spec := Spec{Args: []string{"sh", "-c", "echo x >" + link + "/x; cat " + procLink + "/self/stat"}}
		for _, m := range c.mounts {
			m(&spec)
		}
		cmd := bareCommand(t, 0, spec)
		err := cmd.Start()
		if err == nil {
			_, _ = cmd.Wait()
			if c.real == "" {
				continue
			}
		}
		var u *UnsupportedError
		if !errors.As(err, &u) || u.Feature != MountNamespace || !strings.Contains(err.Error(), " "+c.real+",") {
			t.Errorf("%s: %v", name, err)
		}
		if os.Remove(filepath.Join(sub, "x")) == nil {
			t.Errorf("%s: a file was made through %s", name, link)
		}
	}
	// It has become a link since it was looked at.
	cmd := bareCommand(t, 0, Spec{Args: []string{"true"}, Mounts: []Mount{{Source: link, Target: link}}})
	cmd.on.real = itself
	if err := cmd.Start(); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a link that was a directory: %v", err)
		if err == nil {
			_, _ = cmd.Wait()
		}
	}
}

// A file system of the kernel's own may be mounted anywhere.
func TestWithoutNamespacesNoMountIsOfTheKernelsOwn(t *testing.T) {
	for _, magic := range kernelFilesystems {
		host := pretendBare(6)
		host.filesystem = func(path string) (uint32, error) {
			if path == "/srv/box/proc" {
				return magic, nil
			}
			return ext4(path)
		}
		for path, want := range map[string]bool{"/srv/in": true, "/srv/box/proc": false} {
			spec := Spec{Args: []string{"true"}, AllowMissing: WithoutUserNamespaces()}
			bind(path, false)(&spec)
			var u *UnsupportedError
			if _, err := Compile(spec, host); (err == nil) != want || err != nil && (!errors.As(err, &u) || u.Feature != MountNamespace) {
				t.Errorf("%s of type %#x: %v", path, magic, err)
			}
		}
	}
}

// itself and ext4 are of hosts where no path has a link, and all is of one type.
func itself(path string) (string, error) { return path, nil }

func ext4(string) (uint32, error) { return unix.EXT4_SUPER_MAGIC, nil }
