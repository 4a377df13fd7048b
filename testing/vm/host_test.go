package main

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestParseList(t *testing.T) {
	text := `# deb http://old.example/debian stretch main
deb http://a.example/debian bookworm main contrib # the usual
deb-src http://a.example/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] https://b.example/x y z

deb cut
`
	want := []source{{"http://a.example/debian", "bookworm"}, {"https://b.example/x", "y"}}
	if got := parseList(text); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestParseDeb822(t *testing.T) {
	text := `Types: deb deb-src
# a comment
URIs: http://a.example/debian
 http://b.example/debian
Suites: bookworm bookworm-updates
Components: main

Types: deb
Enabled: no
URIs: http://c.example/debian
Suites: bookworm

Types: deb-src
URIs: http://d.example/debian
Suites: bookworm


types: deb
uris: http://e.example/s
suites: s`
	want := []source{
		{"http://a.example/debian", "bookworm"}, {"http://a.example/debian", "bookworm-updates"},
		{"http://b.example/debian", "bookworm"}, {"http://b.example/debian", "bookworm-updates"},
		{"http://e.example/s", "s"},
	}
	if got := parseDeb822(text); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestHostSources(t *testing.T) {
	root := t.TempDir()
	parts := filepath.Join(root, "etc/apt/sources.list.d")
	if err := os.MkdirAll(parts, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"a.list":      "deb http://a.example/debian a main\n",
		"b.sources":   "Types: deb\nURIs: http://b.example/debian\nSuites: b\n",
		"c.list.save": "deb http://c.example/debian c main\n",
	} {
		if err := os.WriteFile(filepath.Join(parts, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := hostSources(root)
	want := []source{{"http://a.example/debian", "a"}, {"http://b.example/debian", "b"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
}

func TestFindMirrors(t *testing.T) {
	debian := []source{
		{"http://other.example/tool", "any"},
		{"http://a.example/debian", "bookworm"},
		{"http://a.example/debian", "bookworm-updates"},
		{"http://s.example/debian-security", "bookworm-security"},
	}
	tests := []struct {
		what         string
		sources      []source
		id, codename string
		env          map[string]string
		want         mirrors
	}{
		{"Debian", debian, "debian", "bookworm", nil,
			mirrors{"http://a.example/debian", "http://s.example/debian-security", "http://a.example/ubuntu"}},
		{"Debian without its security archive", debian[:2], "debian", "bookworm", nil,
			mirrors{"http://a.example/debian", "http://a.example/debian-security", "http://a.example/ubuntu"}},
		{"Ubuntu", []source{{"http://u.example/pub/ubuntu/", "jammy"}}, "ubuntu", "jammy", nil,
			mirrors{"http://u.example/pub/debian", "http://u.example/pub/debian-security", "http://u.example/pub/ubuntu/"}},
		{"the environment", debian, "debian", "bookworm", map[string]string{"RINGFENCE_VM_UBUNTU": "http://u.example/u"},
			mirrors{"http://a.example/debian", "http://s.example/debian-security", "http://u.example/u"}},
		{"another system", debian, "fedora", "", nil, mirrors{}},
	}
	for _, test := range tests {
		got := findMirrors(test.sources, test.id, test.codename, func(name string) string { return test.env[name] })
		if got != test.want {
			t.Errorf("%s: %v, want %v", test.what, got, test.want)
		}
	}
}

func TestOSRelease(t *testing.T) {
	text := "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_CODENAME='bookworm'\n"
	if id, name, none := osRelease(text, "ID"), osRelease(text, "VERSION_CODENAME"), osRelease(text, "NAME"); id != "debian" || name != "bookworm" || none != "" {
		t.Errorf("%q, %q, %q", id, name, none)
	}
}

func TestPickTakesTheLatestThatIsWhole(t *testing.T) {
	one, err := findKernel("6.1")
	if err != nil {
		t.Fatal(err)
	}
	newest, err := findKernel("newest")
	if err != nil {
		t.Fatal(err)
	}
	ubuntu, err := findKernel("5.15")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		k       kernel
		names   string
		version string
		want    string
	}{
		{one, "linux-image-6.1.0-9-cloud-amd64 linux-image-6.1.0-10-cloud-amd64 linux-image-6.1.0-11-amd64 linux-image-6.12.3-cloud-amd64 linux-image-cloud-amd64 linux-doc-6.1",
			"6.1.0-10", "linux-image-6.1.0-10-cloud-amd64"},
		{one, "linux-image-6.1.0-10-cloud-amd64-unsigned linux-image-unsigned-6.1.0-3-cloud-amd64",
			"6.1.0-3", "linux-image-unsigned-6.1.0-3-cloud-amd64"},
		{newest, "linux-binary-7.2.6+deb13-cloud-amd64 linux-binary-unsigned-7.2.6+deb13-cloud-amd64 linux-image-7.2.6+deb13-cloud-amd64 linux-modules-7.2.6+deb13-cloud-amd64",
			"7.2.6+deb13", "linux-binary-7.2.6+deb13-cloud-amd64 linux-modules-7.2.6+deb13-cloud-amd64"},
		{newest, "linux-image-6.12.1-cloud-amd64 linux-binary-unsigned-7.3.4-cloud-amd64 linux-modules-7.3.4-cloud-amd64",
			"7.3.4", "linux-binary-unsigned-7.3.4-cloud-amd64 linux-modules-7.3.4-cloud-amd64"},
		{newest, "linux-image-6.12.1-cloud-amd64 linux-binary-7.3.4-cloud-amd64 linux-modules-7.3.5-cloud-amd64",
			"6.12.1", "linux-image-6.12.1-cloud-amd64"},
		{ubuntu, "linux-image-5.15.0-99-generic linux-modules-5.15.0-99-generic linux-image-5.15.0-100-generic linux-modules-5.15.0-100-generic linux-image-6.8.0-1-generic",
			"5.15.0-100", "linux-image-5.15.0-100-generic linux-modules-5.15.0-100-generic"},
	}
	for _, test := range tests {
		version, packages, err := test.k.pick(strings.Fields(test.names))
		if got := strings.Join(packages, " "); err != nil || version != test.version || got != test.want {
			t.Errorf("%s: %s %q, %v, want %s %q", test.names, version, got, err, test.version, test.want)
		}
	}
	if _, _, err := one.pick([]string{"linux-image-6.12.1-cloud-amd64"}); err == nil {
		t.Error("6.12 was taken for 6.1")
	}
	if _, err := findKernel("2.6"); err == nil || !strings.Contains(err.Error(), "6.12") {
		t.Errorf("no kernel 2.6: %v", err)
	}
}

func TestSourceLines(t *testing.T) {
	m := mirrors{debian: "http://a.example/debian"}
	got, err := m.sourceLines([]suite{{"debian", "trixie"}}, "/keys.gpg")
	if want := []string{"deb [signed-by=/keys.gpg] http://a.example/debian trixie main"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if _, err := m.sourceLines([]suite{{"ubuntu", "jammy"}}, ""); err == nil {
		t.Error("an archive without an address is no error")
	}
}

func TestMakeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b")
	calls := 0
	write := func(tmp string) error { calls++; return os.WriteFile(tmp, []byte("x"), 0o644) }
	fail := func(string) error { return os.ErrInvalid }
	if err := makeOnce(path, fail); err == nil {
		t.Error("no error")
	}
	for range 2 {
		if err := makeOnce(path, write); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 || calls != 1 {
		t.Errorf("%v, %v, made %d times", left, err, calls)
	}
}
