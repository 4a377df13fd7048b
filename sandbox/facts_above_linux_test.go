package sandbox

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Facts about what mounts, and links in a root tree, bring in and leave behind.

// Whatever the Spec mounts, ".." of the root is the root: nothing of the host is left above it.
func TestNothingOfTheHostIsAboveTheRoot(t *testing.T) {
	t.Parallel()
	file, _ := hostSecret(t)
	for _, mounts := range [][]Mount{
		nil,
		{{Type: File, Target: "/tmp/f", Data: []byte("x")}},
		{{Type: File, Target: "/tmp/f"}, {Type: File, Target: "/tmp/g"}, {Type: Tmpfs, Target: "/t"}},
		{{Type: Tmpfs, Target: "/t"}, {Type: Proc, Target: "/p"}, {Type: Mqueue, Target: "/q"}, {Type: Devpts, Target: "/pts"}, {Source: "/usr", Target: "/u"}},
	} {
		got := inside(t, func(s *Spec) { s.Mounts = append(s.Mounts, mounts...) }, "list:/", "list:/..", "read:/.."+file, mountInfo)
		if above, root := got.of("list:/.."), got.of("list:/"); above.Detail != root.Detail {
			t.Errorf("%v: above the root are %v", mounts, above)
		}
		got.want("read:/.."+file, "ENOENT")
		for _, m := range mountLines(t, got.of(mountInfo).Detail) {
			if m.target == "/" && m.fstype != "tmpfs" {
				t.Errorf("%v: a %s is mounted on /", mounts, m.fstype)
			}
		}
	}
	outside(t, "read:"+file).want("read:"+file, "ok")
}

func TestSetUpFollowsNoLinkOutOfTheRoot(t *testing.T) {
	t.Parallel()
	host := t.TempDir() // where no link may lead
	up := strings.Repeat("../", 30)
	for _, link := range []string{"a -> " + host, "a -> /oldroot" + host, "a -> " + up + host[1:], "a -> /proc/self/cwd" + host, "a -> /proc/1/root" + host} {
		for _, m := range []Mount{
			{Type: Tmpfs, Target: "/a/b"}, {Type: File, Target: "/a/c", Data: []byte("x")}, {Source: "/usr", Target: "/a/d/e"},
			{Type: File, Target: "/a", Data: []byte("x")}, {Type: Tmpfs, Target: "/a"},
		} {
			root := tree(t, link)
			spec := victimSpec(t, "nothing")
			inTree(root)(&spec)
			spec.Root.Writable = true
			spec.Mounts = append(spec.Mounts, m)
			r, err := Run(t.Context(), spec)
			if left, _ := os.ReadDir(host); len(left) > 0 {
				t.Fatalf("%s, %s: the set-up made %s on the host", link, m.Target, left[0].Name())
			}
			if err == nil && r.ExitCode != 0 {
				t.Errorf("%s, %s: %v", link, m.Target, r)
			}
		}
	}
	// The control: what a program does that looks up the same path outside.
	root := tree(t, "a -> "+host)
	if err := os.MkdirAll(filepath.Join(root, "a/b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(host); len(left) != 1 {
		t.Error("the control made nothing on the host: this test proves nothing")
	}
}

func TestLinksInTheRootAreFollowedInside(t *testing.T) {
	t.Parallel()
	for _, link := range []string{"run -> /inner", "run -> inner", "run -> ../../../inner", "run -> /tmp/../inner"} {
		root := tree(t, "inner/", "var/", link, "var/run -> /run")
		got := inside(t, func(s *Spec) {
			inTree(root)(s)
			s.Root.Writable = true
			s.Mounts = append(s.Mounts, Mount{Type: File, Target: "/var/run/conf", Data: []byte("here")})
		}, "read:/inner/conf")
		if o := got.of("read:/inner/conf"); o.Detail != "here" {
			t.Errorf("%s: %v", link, o)
		}
		if data, err := os.ReadFile(filepath.Join(root, "inner/conf")); err != nil || len(data) > 0 {
			t.Errorf("%s: the mount point in the tree holds %q, %v", link, data, err)
		}
	}
}

func TestVarRunLeadsToRun(t *testing.T) {
	t.Parallel()
	got := inside(t, func(s *Spec) {
		s.Mounts = append(s.Mounts, Mount{Type: File, Target: "/var/run/app/conf", Data: []byte("here")})
	}, "read:/run/app/conf", "readlink:/var/run")
	if o := got.of("read:/run/app/conf"); o.Detail != "here" {
		t.Error(o)
	}
}

func TestEveryMountIsNosuidNodevAndPrivate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	got := inside(t, func(s *Spec) {
		s.Mounts = append(s.Mounts, Mount{Source: dir, Target: "/data", Writable: true}, Mount{Type: Tmpfs, Target: "/t"},
			Mount{Type: File, Target: "/f"}, Mount{Type: Proc, Target: "/p"}, Mount{Type: Mqueue, Target: "/q"}, Mount{Type: Devpts, Target: "/pts"})
	}, mountInfo)
	mounts := mountLines(t, got.of(mountInfo).Detail)
	if len(mounts) < 10 {
		t.Fatalf("%d mounts", len(mounts))
	}
	for _, m := range mounts {
		if !m.has("nosuid") {
			t.Errorf("%s is not nosuid: %s", m.target, m.options)
		}
		device := m.fstype == "devtmpfs" || strings.HasPrefix(m.target, "/dev/") && m.target != "/dev/shm" || m.fstype == "devpts" || m.target == "/dev"
		if !m.has("nodev") && !device {
			t.Errorf("%s is not nodev: %s", m.target, m.options)
		}
		for _, option := range []string{"shared:", "master:", "propagate_from:"} {
			if strings.Contains(m.options, ","+option) {
				t.Errorf("%s propagates: %s", m.target, m.options)
			}
		}
		writable := strings.Contains(" /proc /dev/pts /dev/shm /tmp /home/sandbox /data /t /p /q /pts ", " "+m.target+" ")
		if m.has("ro") == writable {
			t.Errorf("%s: %s", m.target, m.options)
		}
	}
}

func TestFileIsACopy(t *testing.T) {
	t.Parallel()
	data := []byte("as it was")
	file := func(s *Spec) {
		s.Mounts = append(s.Mounts, Mount{Type: File, Target: "/etc/f", Data: data}, Mount{Type: File, Target: "/etc/w", Data: data, Writable: true})
	}
	got := inside(t, file, "openw:/etc/f", "create:/etc/w", "read:/etc/w", "read:/etc/f")
	got.want("openw:/etc/f", "EROFS", "EACCES")
	got.want("create:/etc/w", "ok")
	if o := got.of("read:/etc/w"); o.Detail != "made by the victim" {
		t.Errorf("/etc/w: %v", o)
	}
	if o := got.of("read:/etc/f"); o.Detail != "as it was" || string(data) != "as it was" {
		t.Errorf("/etc/f: %v, Data: %q", o, data)
	}
}
