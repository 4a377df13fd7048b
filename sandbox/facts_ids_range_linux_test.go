package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/idmap"
	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

// Facts about sandboxes with a range of IDs, for a caller without privilege.

// reserve returns n IDs until the end of the test.
func reserve(t testing.TB, n int) *idmap.Reservation {
	t.Helper()
	sandboxtest.Need(t, sandboxtest.UserNamespaces(), sandboxtest.SubordinateIDs())
	r, err := idmap.Auto(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// withIDs makes a Spec use the IDs of r.
func withIDs(r *idmap.Reservation, user *User) func(*Spec) {
	return func(s *Spec) { s.UIDs, s.GIDs, s.User = r.UIDs, r.GIDs, user }
}

func hostIDs(t testing.TB, r *idmap.Reservation, uid, gid int) (int, int) {
	t.Helper()
	u, okUID := r.UIDs.HostID(uid)
	g, okGID := r.GIDs.HostID(gid)
	if !okUID || !okGID {
		t.Fatalf("%v, %v have no %d, %d", r.UIDs, r.GIDs, uid, gid)
	}
	return u, g
}

func TestARangeOfIDsExistsInside(t *testing.T) {
	t.Parallel()
	r := reserve(t, 1000)
	got := inside(t, withIDs(r, nil), "ids", uidMap, gidMap, "read:/proc/self/setgroups", "setuid:1")
	if o := got.of("ids"); o.Detail != "uid 0 0 0 gid 0 0 0 groups []" {
		t.Error(o)
	}
	for act, m := range map[string]idmap.Map{uidMap: r.UIDs, gidMap: r.GIDs} {
		if o := got.of(act); strings.Join(strings.Fields(o.Detail), " ") != strings.Join(strings.Fields(m.String()), " ") {
			t.Errorf("%s: %v, want %v", act, o, m)
		}
	}
	if o := got.of("read:/proc/self/setgroups"); o.Detail != "allow\n" {
		t.Errorf("setgroups: %v", o)
	}
	got.want("setuid:1", "EPERM") // it has no capability, be its number 0
}

func TestUserAndGroupsAreThoseOfTheRange(t *testing.T) {
	t.Parallel()
	r := reserve(t, 1000)
	got := inside(t, withIDs(r, &User{UID: 33, GID: 34, Groups: []int{40, 41}}), "ids", "setuid:0", "setgroups:0")
	if o := got.of("ids"); o.Detail != "uid 33 33 33 gid 34 34 34 groups [40 41]" {
		t.Error(o)
	}
	got.want("setuid:0", "EPERM")
	got.want("setgroups:0", "EPERM")
}

func TestEtcAgreesWithUserAndGroups(t *testing.T) {
	t.Parallel()
	r := reserve(t, 100)
	// The last of them is nobody: with all below that, there would be as many as a user mostly has in all.
	move := func(m idmap.Map) idmap.Map {
		last, ok := m.HostID(99)
		if len(m) != 1 || !ok {
			t.Fatalf("%v is not one range of 100", m)
		}
		m[0].Size--
		return append(m, idmap.Range{ContainerID: 65534, HostID: last, Size: 1})
	}
	r.UIDs, r.GIDs = move(r.UIDs), move(r.GIDs)
	for _, test := range []struct {
		user *User
		want string
	}{
		{nil, "uid=0(root) gid=0(root) groups=0(root)\n"},
		{&User{UID: 33, GID: 34, Groups: []int{40, 34, 0, 65534}}, "uid=33(sandbox) gid=34(sandbox) groups=34(sandbox),0(root),40(group40),65534(nogroup)\n"},
		{&User{UID: 33, GID: 0}, "uid=33(sandbox) gid=0(root) groups=0(root)\n"},
		{&User{UID: 65534, GID: 65534}, "uid=65534(sandbox) gid=65534(sandbox) groups=65534(sandbox)\n"},
	} {
		if got := shell(t, withIDs(r, test.user), "id"); got != test.want {
			t.Errorf("%+v: %q, want %q", test.user, got, test.want)
		}
		// Whoever asks by name is told the same as who asks the kernel.
		const ask = `n=$(id -un); [ "$(id -G)" = "$(id -G $n)" ] && [ "$(id -u)" = "$(id -u $n)" ] && getent passwd 0 65534 | cut -d: -f3`
		if got := shell(t, withIDs(r, test.user), ask); got != "0\n65534\n" {
			t.Errorf("%+v: %q", test.user, got)
		}
	}
}

func TestFilesMadeInsideBelongToTheMappedIDs(t *testing.T) {
	t.Parallel()
	r := reserve(t, 1000)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	out := func(s *Spec) { s.Mounts = append(s.Mounts, Mount{Source: dir, Target: "/out", Writable: true}) }
	for name, user := range map[string]*User{"first": nil, "other": {UID: 5, GID: 7}, "last": {UID: 999, GID: 999}} {
		inside(t, func(s *Spec) { withIDs(r, user)(s); out(s) }, "create:/out/"+name).want("create:/out/"+name, "ok")
		if user == nil {
			user = &User{}
		}
		uid, gid := hostIDs(t, r, user.UID, user.GID)
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, name), &st); err != nil {
			t.Fatal(err)
		}
		if int(st.Uid) != uid || int(st.Gid) != gid {
			t.Errorf("%s belongs to %d:%d, want %d:%d", name, st.Uid, st.Gid, uid, gid)
		}
	}
	// The control: without a range it is the caller's.
	inside(t, out, "create:/out/own").want("create:/out/own", "ok")
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(dir, "own"), &st); err != nil || int(st.Uid) != os.Geteuid() {
		t.Errorf("%d, %v", st.Uid, err)
	}
}

func TestMountsOfARangeBelongToWhomTheySay(t *testing.T) {
	t.Parallel()
	r := reserve(t, 1000)
	acts := []string{"stat:/t", "stat:/f", "stat:/home/sandbox", "stat:/tmp", "stat:/etc/passwd", "stat:/usr"}
	got := inside(t, func(s *Spec) {
		withIDs(r, &User{UID: 5, GID: 7})(s)
		s.Mounts = append(s.Mounts, Mount{Type: Tmpfs, Target: "/t", Mode: 0o700}, Mount{Type: File, Target: "/f", Data: []byte("x"), Mode: 0o600})
	}, append(acts, "create:/t/x", "create:/home/sandbox/x", "read:/f")...)
	for act, owner := range map[string]string{"stat:/t": "5:7", "stat:/home/sandbox": "5:7", "stat:/f": "0:0", "stat:/etc/passwd": "0:0", "stat:/usr": "65534:65534"} {
		if o := got.of(act); !strings.Contains(o.Detail, " "+owner+" ") {
			t.Errorf("%s: %v, want owner %s", act, o, owner)
		}
	}
	got.want("create:/t/x", "ok")
	got.want("create:/home/sandbox/x", "ok")
	got.want("read:/f", "EACCES")
}

// The caller's own ID may be there too, and then the caller's files are somebody's.
func TestCallersOwnIDMayBeAppendedToARange(t *testing.T) {
	t.Parallel()
	r := reserve(t, 1000)
	file, contents := hostSecret(t)
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	secret := func(s *Spec) { s.Mounts = append(s.Mounts, Mount{Source: file, Target: "/secret"}) }
	got := inside(t, func(s *Spec) {
		withIDs(r, &User{UID: 1000, GID: 1000})(s)
		s.UIDs = append(s.UIDs, idmap.Range{ContainerID: 1000, HostID: os.Getuid(), Size: 1})
		s.GIDs = append(s.GIDs, idmap.Range{ContainerID: 1000, HostID: os.Getgid(), Size: 1})
		secret(s)
	}, "stat:/secret", "read:/secret")
	if o := got.of("stat:/secret"); !strings.Contains(o.Detail, " 1000:1000 ") {
		t.Error(o)
	}
	if o := got.of("read:/secret"); o.Detail != contents {
		t.Error(o)
	}
	// The control: without it, they belong to nobody there.
	got = inside(t, func(s *Spec) { withIDs(r, nil)(s); secret(s) }, "stat:/secret", "read:/secret")
	if o := got.of("stat:/secret"); !strings.Contains(o.Detail, " 65534:65534 ") {
		t.Error(o)
	}
	got.want("read:/secret", "EACCES")
}

func TestRangeMayBeMadeOfSeveralLinesAndRanges(t *testing.T) {
	t.Parallel()
	sandboxtest.Need(t, sandboxtest.SubordinateIDs())
	subuids, subgids, err := idmap.OfCaller()
	if err != nil {
		t.Fatal(err)
	}
	u, g1, g2 := subuids[0].HostID, subgids[0].HostID, subgids[0].HostID+1000
	if os.Getuid() == sandboxtest.UID {
		// 1000000 to 1199999 by name, 1100000 to 1599999 by number: neither line has all of the second range.
		u, g1, g2 = 1199950, 5500000, 7000000
	}
	m := idmap.Map{{ContainerID: 10, HostID: u + 200, Size: 10}, {ContainerID: 100, HostID: u, Size: 100}}
	g := idmap.Map{{ContainerID: 0, HostID: g2, Size: 2}, {ContainerID: 2, HostID: os.Getgid(), Size: 1}, {ContainerID: 3, HostID: g1, Size: 10}}
	got := inside(t, func(s *Spec) { s.UIDs, s.GIDs, s.User = m, g, &User{UID: 150, GID: 3, Groups: []int{0, 2, 12}} }, "ids")
	// The kernel sorts them by the host's IDs (groups_sort).
	if o := got.of("ids"); o.Detail != "uid 150 150 150 gid 3 3 3 groups [2 12 0]" {
		t.Error(o)
	}
}

func TestSandboxesWithAutoShareNoHostID(t *testing.T) {
	t.Parallel()
	a, b := reserve(t, 1000), reserve(t, 1000)
	ranges := func(r *idmap.Reservation) (uids, gids []int) {
		got := inside(t, withIDs(r, nil), uidMap, gidMap)
		for i, act := range []string{uidMap, gidMap} {
			for line := range strings.Lines(got.of(act).Detail) {
				var in, out, size int
				if _, err := fmt.Sscan(line, &in, &out, &size); err != nil {
					t.Fatal(err)
				}
				for id := out; id < out+size; id++ {
					if i == 0 {
						uids = append(uids, id)
					} else {
						gids = append(gids, id)
					}
				}
			}
		}
		return uids, gids
	}
	shared := func(x, y []int) (n int) {
		seen := map[int]bool{}
		for _, id := range x {
			seen[id] = true
		}
		for _, id := range y {
			if seen[id] {
				n++
			}
		}
		return n
	}
	aUIDs, aGIDs := ranges(a)
	bUIDs, bGIDs := ranges(b)
	if u, g := shared(aUIDs, bUIDs), shared(aGIDs, bGIDs); u != 0 || g != 0 || len(aUIDs) != 1000 || len(bGIDs) != 1000 {
		t.Errorf("%d users and %d groups are shared", u, g)
	}
	if again, _ := ranges(a); shared(aUIDs, again) != 1000 {
		t.Error("the control: the IDs of one are not its own")
	}
}

func TestGroupsNeedASubordinateGroup(t *testing.T) {
	t.Parallel()
	r := reserve(t, 10)
	own := idmap.Single(0, os.Getgid())
	_, err := Run(t.Context(), Spec{Args: []string{"true"}, UIDs: r.UIDs, GIDs: own, User: &User{Groups: []int{0}}})
	var fault *SpecError
	if !errors.As(err, &fault) || fault.Field != "User.Groups" || !strings.Contains(fault.Reason, "map subordinate groups") {
		t.Errorf("%v", err)
	}
	// Without any it works; the kernel's rule holds inside too.
	got := inside(t, func(s *Spec) { s.UIDs, s.GIDs, s.User = r.UIDs, own, &User{UID: 3} }, "ids", "read:/proc/self/setgroups")
	if o := got.of("ids"); !strings.HasPrefix(o.Detail, "uid 3 3 3 gid 0 0 0 ") {
		t.Error(o)
	}
	if o := got.of("read:/proc/self/setgroups"); o.Detail != "deny\n" {
		t.Error(o)
	}
}

// Scripts write to /dev/stderr by its name: a pipe that belongs to the caller would refuse whoever is not.
func TestPipesCanBeOpenedByNameInARange(t *testing.T) {
	t.Parallel()
	r := reserve(t, 10)
	for name, user := range map[string]*User{"first": nil, "another": {UID: 5, GID: 6}} {
		openPipesByName(t, name, withIDs(r, user))
	}
}

func TestRootPipesCanBeOpenedByName(t *testing.T) { openPipesByName(t, "nobody", func(*Spec) {}) }

func openPipesByName(t *testing.T, name string, change func(*Spec)) {
	t.Helper()
	spec := Spec{Args: []string{"sh", "-c", "cat </dev/stdin >/dev/stdout; echo err >/dev/stderr"}, Stdin: strings.NewReader("in")}
	change(&spec)
	var out, errs strings.Builder
	spec.Stdout, spec.Stderr = &out, &errs
	if result, err := Run(t.Context(), spec); err != nil || result.Err() != nil || out.String() != "in" || errs.String() != "err\n" {
		t.Errorf("%s: %v, %v: %q, %q", name, result, err, out.String(), errs.String())
	}
	// The same for those of Cmd.
	spec.Stdout = nil
	c := Command(t.Context(), spec)
	pipe, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.spec.Stdin = strings.NewReader("again")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	data, readErr := io.ReadAll(pipe)
	if result, err := c.Wait(); err != nil || readErr != nil || result.Err() != nil || string(data) != "again" {
		t.Errorf("%s: %v, %v: %q, %v", name, result, err, data, readErr)
	}
}
