package filetree

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Whoever may write a directory may rename what is in it, also a file that they cannot read.
func TestRootReadsWithTheRightsOfTheSandbox(t *testing.T) {
	const nobody = 65534
	dir := t.TempDir()
	for p := dir; p != "/"; p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o1777); err != nil {
			t.Fatal(err)
		}
		if p == os.TempDir() {
			break
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "result"), []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "groups"), []byte(secret), 0o640); err != nil {
		t.Fatal(err)
	}
	mine := filepath.Join(dir, "mine")
	if err := os.WriteFile(mine, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(mine, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	// One of root's groups must be there to be left.
	groups, err := syscall.Getgroups()
	if err == nil {
		err = syscall.Setgroups([]int{0})
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Setgroups(groups) }()
	before := rights(t)
	for _, test := range []struct {
		name string
		as   *User
		want string
		err  error
	}{
		{"result", nil, secret, nil}, // the control
		{"result", &User{UID: nobody, GID: nobody, DropGroups: true}, "", fs.ErrPermission},
		{"groups", &User{UID: nobody, GID: nobody, DropGroups: true}, "", fs.ErrPermission},
		{"groups", &User{UID: nobody, GID: nobody}, secret, nil}, // the control for the groups
		{"mine", &User{UID: nobody, GID: nobody, DropGroups: true}, "mine", nil},
	} {
		var out bytes.Buffer
		tr, err := Open(t.Context(), fd, test.name, Options{MaxBytes: 100, MaxFiles: 1, As: test.as})
		if err == nil {
			err = tr.Copy(&out)
			tr.Close()
		}
		if !errors.Is(err, test.err) || (err == nil) != (test.err == nil) || out.String() != test.want {
			t.Errorf("%s as %v: %q, %v, want %q, %v", test.name, test.as, &out, err, test.want, test.err)
		}
	}
	if after := rights(t); after != before {
		t.Errorf("afterwards a thread has other rights:\n%s\nbefore:\n%s", after, before)
	}
}

// rights returns what the threads of this program may do, those that are alike once.
func rights(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	all := map[string]bool{}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if errors.Is(err, unix.ESRCH) || errors.Is(err, fs.ErrNotExist) {
			continue // the thread has ended
		}
		if err != nil {
			t.Fatal(err)
		}
		var of strings.Builder
		for line := range strings.Lines(string(data)) {
			if key, _, _ := strings.Cut(line, ":"); key == "Uid" || key == "Gid" || key == "Groups" || strings.HasPrefix(key, "Cap") {
				of.WriteString(line)
			}
		}
		all[of.String()] = true
	}
	if len(all) != 1 {
		t.Fatalf("threads differ: %v", all)
	}
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil || dumpable != 1 {
		t.Errorf("dumpable: %d, %v", dumpable, err)
	}
	for of := range all {
		return of
	}
	return ""
}
