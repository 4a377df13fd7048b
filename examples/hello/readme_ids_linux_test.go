package main

import (
	"context"
	"testing"

	"github.com/ringfence-go/ringfence/idmap"
	"github.com/ringfence-go/ringfence/sandbox"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// The program of the README about ranges of IDs. Not every host has some for its users.

func ranges(ctx context.Context) ([]byte, error) {
	ids, err := idmap.Auto(65536)
	if err != nil {
		return nil, err // it names the command by which an administrator sets IDs aside
	}
	defer ids.Close()
	return sandbox.Output(ctx, sandbox.Spec{
		Args: []string{"id"},
		UIDs: ids.UIDs, GIDs: ids.GIDs,
		User: &sandbox.User{UID: 33, GID: 33, Groups: []int{40}}, // nil would be root, 0
	})
}

func TestReadmeRangesOfIDs(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.UserNamespaces(), sandboxtest.SubordinateIDs())
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir()) // other tests hold some of what may be all that the user has
	out, err := ranges(t.Context())
	if want := "uid=33(sandbox) gid=33(sandbox) groups=33(sandbox),40(group40)\n"; err != nil || string(out) != want {
		t.Errorf("%q, %v, want %q", out, err, want)
	}
}
