package idmap

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestRemedy(t *testing.T) {
	for _, test := range []struct {
		file string
		err  error
		want string // a part of it
	}{
		{fileUIDMap, syscall.EPERM, "newuidmap"},
		{fileGIDMap, &os.PathError{Err: syscall.EPERM}, "setgroups must be denied first"},
		{fileSetgroups, syscall.EPERM, "before gid_map"},
		{fileUIDMap, syscall.EINVAL, "caller's own user namespace"},
		{fileUIDMap, syscall.ENOENT, "has ended"},
		{"", syscall.ESRCH, "has ended"},
		{fileUIDMap, syscall.EIO, ""},
	} {
		got := remedy(test.file, test.err)
		if !strings.Contains(got, test.want) || test.want == "" && got != "" {
			t.Errorf("remedy(%q, %v) = %q, want %q in it", test.file, test.err, got, test.want)
		}
	}
}

func TestApplyErrorText(t *testing.T) {
	err := fmt.Errorf("outer: %w", &ApplyError{File: "/proc/7/uid_map", Remedy: "do this", Err: syscall.EIO})
	if want := "outer: idmap: write /proc/7/uid_map: input/output error (do this)"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
}
