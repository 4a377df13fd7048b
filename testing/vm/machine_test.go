package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestArguments(t *testing.T) {
	m := machine{kernel: "k", initrd: "i", memory: 64, cpus: 3, accel: "tcg", console: "a,b", parameters: "x=1",
		disks: []disk{{"data", "d,e"}}}
	got := strings.Join(m.arguments(), " ")
	for _, want := range []string{
		"-kernel k -initrd i ", " panic=-1 ", " x=1 -no-reboot", "-m 64 -smp 3", "-serial file:a,,b -serial stdio",
		"-drive if=none,id=data,file=d,,e,format=raw,snapshot=on -device virtio-blk-pci,drive=data,serial=data",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
}

func TestShellText(t *testing.T) {
	if got, want := shellExports(map[string]string{"B": "it's", "A": "$x"}), "export A='$x'\nexport B='it'\\''s'\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := shellCall([]string{"-test.run=^a b$"}), "exec \"$@\" '-test.run=^a b$'\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestTranscript(t *testing.T) {
	tests := []struct {
		in, out, release string
		code             int
	}{
		{"vm-up 6.1.0-1 3.20\nPASS\nvm-exit 0\n", "PASS\n", "6.1.0-1", 0},
		{"vm-up 6.1.0-1 3.20\nno end of linevm-exit 7\n", "no end of line\n", "6.1.0-1", 7},
		{"vm-up 6.1.0-1 3.20\nhalf a lin", "half a lin", "6.1.0-1", -1},
		{"vm-exit 1", "vm-exit 1", "", -1}, // it may have been 137
		{"a vm-exit x\n", "a vm-exit x\n", "", -1},
		{"", "", "", -1},
	}
	for _, test := range tests {
		var out strings.Builder
		release := ""
		tr := transcript{out: &out, up: func(r string) { release = r }}
		if err := tr.read(strings.NewReader(test.in)); err != nil {
			t.Error(err)
		}
		if out.String() != test.out || release != test.release || tr.code != test.code {
			t.Errorf("%q: %q, %q, %d, want %q, %q, %d", test.in, out.String(), release, tr.code, test.out, test.release, test.code)
		}
	}
}

func TestLastLines(t *testing.T) {
	if got := lastLines("a\nb\nc\n", 2); got != "b\nc" {
		t.Errorf("%q", got)
	}
	if got := lastLines("a", 2); got != "a" {
		t.Errorf("%q", got)
	}
}

func TestArchive(t *testing.T) {
	var b bytes.Buffer
	a := archive{w: &b}
	a.dir("d")
	a.file("d/f", 0o755, []byte("hello"))
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	const field = "00000000"
	hex := func(s string) string { return field[len(s):] + s }
	header := func(inode, mode, size, nameSize string) string {
		return "070701" + hex(inode) + hex(mode) + field + field + hex("1") + field + hex(size) +
			field + field + field + field + hex(nameSize) + field
	}
	want := header("1", "41ed", "0", "2") + "d\x00" +
		header("2", "81ed", "5", "4") + "d/f\x00\x00\x00" + "hello\x00\x00\x00" +
		header("3", "0", "0", "b") + "TRAILER!!!\x00\x00\x00\x00"
	if got := b.String(); got != want {
		t.Errorf("%q, want %q", got, want)
	}

	a = archive{w: io.Discard}
	a.copyFile("x", filepath.Join(t.TempDir(), "absent"))
	if err := a.close(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v, want ErrNotExist", err)
	}
}

func TestParseDepends(t *testing.T) {
	got := parseDepends([]byte("license=GPL\x00depends=virtio-ring,virtio\x00name=x\x00"))
	if want := []string{"virtio_ring", "virtio"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := parseDepends([]byte("depends=\x00")); got != nil {
		t.Errorf("%q", got)
	}
}

func TestParseOptions(t *testing.T) {
	t.Setenv("RINGFENCE_VM_CACHE", "/cache")
	o, err := parseOptions([]string{"-machine", "systemd", "-env", "A=b=c", "-run", "X", "-timeout", "10m", "./x", "y.test", "--", "-test.count=2"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if o.cache != "/cache" || o.kernel != "6.1" || !slices.Equal(o.tests, []string{"./x", "y.test"}) {
		t.Errorf("%+v", o)
	}
	if got, want := strings.Join(o.flags(), " "), "-test.timeout=9m0s -test.v -test.run=X -test.count=2"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	env := o.environment(1)
	if env["A"] != "b=c" || env["USER_ID"] != "1000" || !strings.Contains(env["RINGFENCE_NO_SKIP"], "cgroup-v2") {
		t.Errorf("%q", env)
	}

	o, err = parseOptions([]string{"-root", "-cgroup", "none"}, io.Discard)
	if err != nil || o.run != "^TestRoot" || !slices.Equal(o.tests, []string{"./..."}) {
		t.Errorf("%+v, %v", o, err)
	}
	if env := o.environment(1); env["USER_ID"] != "0" || strings.Contains(env["RINGFENCE_NO_SKIP"], "cgroup-v2") {
		t.Errorf("%q", env)
	}

	for _, args := range []string{"-machine x", "-kernel 1", "-cgroup x", "-env x", "-x"} {
		if _, err := parseOptions(strings.Fields(args), io.Discard); err == nil {
			t.Errorf("%s: no error", args)
		}
	}
}

func TestPayload(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{".git/config": "", "bin/vm": "", "p/testdata/f": "data", "p/p_test.go": "package p\n"} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	binary := filepath.Join(root, "bin", "vm")
	file := filepath.Join(t.TempDir(), "payload")
	if err := writePayload(file, root, "", []test{{"p", binary, "p"}}, "export A='b'\n", "exec\n"); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := map[string]string{}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Mode&0o444 != 0o444 {
			t.Errorf("%s: uid %d, mode %o", h.Name, h.Uid, h.Mode)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got[h.Name] = string(data)
	}
	if got["list"] != "p bin/vm src/p\n" || got["src/p/testdata/f"] != "data" || got["env"] != "export A='b'\n" {
		t.Errorf("%q", got)
	}
	for _, name := range []string{"init.sh", "tests.sh", "one.sh", "minimal.sh", "systemd.sh"} {
		if got[name] == "" {
			t.Errorf("no %s", name)
		}
	}
	for name := range got {
		if strings.HasPrefix(name, "src/.git") || strings.HasPrefix(name, "src/bin") {
			t.Errorf("%s was taken along", name)
		}
	}
}

func TestRows(t *testing.T) {
	runs, refuses := host{kernel: "6.1"}, host{kernel: "6.1", parameters: "a=0", refuses: "x"}
	tests := []struct {
		h    host
		o    outcome
		fine bool
		want string
	}{
		{runs, outcome{release: "6.1.0", passed: 3, skip: 1, took: 1600 * time.Millisecond}, true, "| 6.1 | 6.1.0 | runs | 3 passed, 1 skipped | 2 s |\n"},
		{runs, outcome{release: "6.1.0", passed: 3, failed: 2, code: 1}, false, "| 6.1 | 6.1.0 | runs | **2 failed**, 3 passed | 0 s |\n"},
		{refuses, outcome{release: "6.1.0", passed: 1}, true, "| 6.1, `a=0` | 6.1.0 | refuses | refuses, as it must | 0 s |\n"},
		{runs, outcome{err: errNotReached}, true, "| 6.1 | - | runs | not reached | - |\n"},
		{runs, outcome{err: errDied, code: -1}, false, "| 6.1 | - | runs | **machine died** | - |\n"},
	}
	for _, test := range tests {
		if got := test.h.row(test.o); got != test.want || test.o.fine() != test.fine {
			t.Errorf("%q, fine %t, want %q, %t", got, test.o.fine(), test.want, test.fine)
		}
	}
}

func TestReplaceRows(t *testing.T) {
	first, last := hosts[0].name(), hosts[len(hosts)-1].name()
	row := func(name, text string) string { return "| " + name + " | " + text + " |\n" }
	rows := map[string]string{first: row(first, "new")}
	for in, want := range map[string]string{
		"# A\n": "# A\n\n" + tableHead + row(first, "new"),
		"# A\n\n" + tableHead + row("gone", "old") + row(first, "old") + row(last, "old"): "# A\n\n" + tableHead + row(first, "new") + row(last, "old"),
		"# A\n\n" + tableHead + row(last, "old") + "\nB\n\nC\n":                           "# A\n\n" + tableHead + row(first, "new") + row(last, "old") + "\nB\n\nC\n",
	} {
		if got := replaceRows(in, rows); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
