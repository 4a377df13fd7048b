package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/sys/capability"

	"github.com/ringfence-go/ringfence/idmap"
)

// fields returns the fields that err finds at fault, in order.
func fields(t testing.TB, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	var all []string
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
		var fault *SpecError
		if !errors.As(e, &fault) {
			t.Fatalf("%v is a %T, want a *SpecError", e, e)
		}
		all = append(all, fault.Field)
	}
	return all
}

func TestValidateFindsEachFault(t *testing.T) {
	long := strings.Repeat("n", 256)
	nul := "a\x00b"
	tests := []struct {
		name   string
		change func(*Spec)
		want   string // the field; "" for no fault
	}{
		{"nothing wrong", func(*Spec) {}, ""},
		{"no Args", func(s *Spec) { s.Args = nil }, "Args"},
		{"no command", func(s *Spec) { s.Args[0] = "" }, "Args[0]"},
		{"empty later argument", func(s *Spec) { s.Args = append(s.Args, "") }, ""},
		{"NUL in Args", func(s *Spec) { s.Args = append(s.Args, nul) }, "Args[1]"},
		{"longest argument", func(s *Spec) { s.Args = append(s.Args, strings.Repeat("x", maxArgLen-1)) }, ""},
		{"argument too long", func(s *Spec) { s.Args = append(s.Args, strings.Repeat("x", maxArgLen)) }, "Args[1]"},
		{"too many bytes", func(s *Spec) { s.Args = append(s.Args, make([]string, maxArgBytes/9)...) }, "Args"},
		{"too many bytes with Env", func(s *Spec) { s.Env = slices.Repeat([]string{"a=b"}, maxArgBytes/12+1) }, "Env"},

		{"Env without =", func(s *Spec) { s.Env = []string{"A=b", "PATH"} }, "Env[1]"},
		{"Env with an empty key", func(s *Spec) { s.Env = []string{"=C:=x"} }, "Env[0]"},
		{"Env with NUL", func(s *Spec) { s.Env = []string{"A=" + nul} }, "Env[0]"},
		{"Env with a key twice", func(s *Spec) { s.Env = []string{"A=1", "A=2", "B="} }, ""},

		{"Dir", func(s *Spec) { s.Dir = "/tmp/" }, ""},
		{"Dir relative", func(s *Spec) { s.Dir = "tmp" }, "Dir"},
		{"Dir with ..", func(s *Spec) { s.Dir = "/tmp/../etc" }, "Dir"},
		{"Dir /proc", func(s *Spec) { s.Dir = "/proc" }, "Dir"},
		{"Dir below /proc", func(s *Spec) { s.Dir = "/./proc//self/fd/7" }, "Dir"},
		{"Dir like /proc", func(s *Spec) { s.Dir = "/process" }, ""},
		{"Dir with NUL", func(s *Spec) { s.Dir = "/" + nul }, "Dir"},

		{"Stdin a nil file", func(s *Spec) { s.Stdin = (*os.File)(nil) }, "Stdin"},
		{"Stdout a nil buffer", func(s *Spec) { s.Stdout = (*bytes.Buffer)(nil) }, "Stdout"},
		{"Stderr a nil file", func(s *Spec) { s.Stderr = (*os.File)(nil) }, "Stderr"},
		{"streams", func(s *Spec) { s.Stdin, s.Stdout = strings.NewReader(""), io.Discard }, ""},
		{"ExtraFiles with holes", func(s *Spec) { s.ExtraFiles = make([]*os.File, maxExtraFiles) }, ""},
		{"too many ExtraFiles", func(s *Spec) { s.ExtraFiles = make([]*os.File, maxExtraFiles+1) }, "ExtraFiles"},

		{"Root.Path", func(s *Spec) { s.Root = Root{Path: "tree", Writable: true} }, ""},
		{"Root.Path with NUL", func(s *Spec) { s.Root.Path = nul }, "Root.Path"},
		{"both kinds of root", func(s *Spec) { s.Root = Root{Path: "/a", Layers: []string{"/b"}} }, "Root"},
		{"empty layer", func(s *Spec) { s.Root.Layers = []string{"/b", ""} }, "Root.Layers[1]"},
		{"too many layers", func(s *Spec) { s.Root.Layers = slices.Repeat([]string{"/b"}, 501) }, "Root.Layers"},
		{"Upper alone", func(s *Spec) { s.Root.Upper = "/u" }, "Root.Upper"},
		{"Writable alone", func(s *Spec) { s.Root.Writable = true }, "Root.Writable"},

		{"Hostname", func(s *Spec) { s.Hostname = "a-b.c_d9" }, ""},
		{"longest Hostname", func(s *Spec) { s.Hostname = strings.Repeat("h", 64) }, ""},
		{"Hostname too long", func(s *Spec) { s.Hostname = strings.Repeat("h", 65) }, "Hostname"},
		{"Hostname with a line break", func(s *Spec) { s.Hostname = "a\n1.2.3.4 example.org" }, "Hostname"},
		{"Hostname with a slash", func(s *Spec) { s.Hostname = "a/b" }, "Hostname"},
		{"Hostname with NUL", func(s *Spec) { s.Hostname = nul }, "Hostname"},

		{"HostNetwork", func(s *Spec) { s.Network = HostNetwork{} }, ""},
		{"unknown Network", func(s *Spec) { s.Network = struct{ Network }{} }, "Network"},
		{"nil pointer as Network", func(s *Spec) { s.Network = (*HostNetwork)(nil) }, "Network"},

		{"UIDs alone", func(s *Spec) { s.UIDs = idmap.Single(0, 1000) }, ""},
		{"UIDs empty", func(s *Spec) { s.UIDs = idmap.Map{} }, "UIDs"},
		{"UIDs wrong", func(s *Spec) { s.UIDs = idmap.Map{{ContainerID: -1, HostID: 1, Size: 1}} }, "UIDs"},
		{"GIDs wrong", func(s *Spec) { s.GIDs = idmap.Map{{Size: 0}} }, "GIDs"},
		{"User without a map", func(s *Spec) { s.User = &User{UID: 7, GID: 8, Groups: []int{9}} }, ""},
		{"User negative", func(s *Spec) { s.User = &User{UID: -1} }, "User.UID"},
		{"User not mapped", func(s *Spec) { s.UIDs, s.User = idmap.Single(0, 1000), &User{UID: 1} }, "User.UID"},
		{"group not mapped", func(s *Spec) { s.GIDs, s.User = idmap.Single(0, 1000), &User{GID: 1} }, "User.GID"},
		{"Groups not mapped", func(s *Spec) { s.GIDs, s.User = idmap.Single(0, 1000), &User{Groups: []int{0, 5}} }, "User.Groups[1]"},
		{"Groups negative", func(s *Spec) { s.User = &User{Groups: []int{0, -5}} }, "User.Groups[1]"},
		{"too many Groups", func(s *Spec) { s.User = &User{Groups: make([]int, maxGroups+1)} }, "User.Groups"},

		{"a stop signal", func(s *Spec) { s.StopSignal, s.StopTimeout = 15, time.Second }, ""},
		{"no such signal", func(s *Spec) { s.StopSignal = 65 }, "StopSignal"},
		{"a signal below all", func(s *Spec) { s.StopSignal = -1 }, "StopSignal"},
		{"a time for no signal", func(s *Spec) { s.StopTimeout = time.Second }, "StopTimeout"},
		{"a time that is over", func(s *Spec) { s.StopSignal, s.StopTimeout = 15, -1 }, "StopTimeout"},
		{"a second output of a terminal", func(s *Spec) { s.Terminal, s.Stderr = &Terminal{}, io.Discard }, "Stderr"},
		{"a capability", func(s *Spec) { s.Capabilities = []capability.Cap{capability.CAP_SYS_ADMIN} }, ""},
		{"unknown capability", func(s *Spec) { s.Capabilities = []capability.Cap{63} }, "Capabilities[0]"},
		{"too many capabilities", func(s *Spec) { s.Capabilities = make([]capability.Cap, 65) }, "Capabilities"},

		{"AllowMissing", func(s *Spec) { s.AllowMissing = []Feature{CgroupNamespace, NewProc} }, ""},
		{"AllowMissing unknown", func(s *Spec) { s.AllowMissing = []Feature{"everything"} }, "AllowMissing[0]"},
		{"too many AllowMissing", func(s *Spec) { s.AllowMissing = slices.Repeat([]Feature{NewProc}, 65) }, "AllowMissing"},

		{"component too long", func(s *Spec) { s.Dir = "/" + long }, "Dir"},
		{"longest component", func(s *Spec) { s.Dir = "/" + long[1:] }, ""},
		{"path too long", func(s *Spec) { s.Dir = strings.Repeat("/d", maxPath/2) }, "Dir"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			spec := Spec{Args: []string{"true"}}
			test.change(&spec)
			err := validate(&spec)
			if got := strings.Join(fields(t, err), " "); got != test.want {
				t.Errorf("fault of %q, want %q: %v", got, test.want, err)
			}
		})
	}
}

func TestValidateMounts(t *testing.T) {
	bind := Mount{Source: "src", Target: "/data"}
	tests := []struct {
		name   string
		mounts []Mount
		want   string // the field; "" for no fault
	}{
		{"one of each type", []Mount{bind, {Type: Tmpfs, Target: "/t", Size: 1}, {Type: File, Target: "/f", Data: []byte("x")},
			{Type: Overlay, Target: "/o"}, {Type: Proc, Target: "/p"}, {Type: Devpts, Target: "/d"}, {Type: Mqueue, Target: "/m"}}, ""},
		{"no source", []Mount{{Target: "/data"}}, "Mounts[0].Source"},
		{"source with NUL", []Mount{{Source: "\x00", Target: "/data"}}, "Mounts[0].Source"},
		{"source of a tmpfs", []Mount{{Type: Tmpfs, Source: "x", Target: "/data"}}, "Mounts[0].Source"},
		{"unknown type", []Mount{bind, {Type: Mqueue + 1, Target: "/x"}}, "Mounts[1].Type"},
		{"negative type", []Mount{{Type: -1, Target: "/x"}}, "Mounts[0].Type"},
		{"data of a bind", []Mount{{Source: "x", Target: "/data", Data: []byte("x")}}, "Mounts[0].Data"},
		{"too much data", []Mount{{Type: File, Target: "/f", Data: make([]byte, maxFileData)}, {Type: File, Target: "/g", Data: []byte("x")}}, "Mounts"},
		{"negative size", []Mount{{Type: Tmpfs, Target: "/x", Size: -1}}, "Mounts[0].Size"},
		{"size of a bind", []Mount{{Source: "x", Target: "/x", Size: 1}}, "Mounts[0].Size"},
		{"modes", []Mount{{Type: File, Target: "/f", Mode: 0o755}, {Type: Tmpfs, Target: "/t", Mode: fs.ModeSticky | 0o777}}, ""},
		{"mode of a bind", []Mount{{Source: "x", Target: "/x", Mode: 0o644}}, "Mounts[0].Mode"},
		{"setuid file", []Mount{{Type: File, Target: "/x", Mode: fs.ModeSetuid | 0o755}}, "Mounts[0].Mode"},
		{"sticky file", []Mount{{Type: File, Target: "/x", Mode: fs.ModeSticky}}, "Mounts[0].Mode"},
		{"tmpfs with a type in its mode", []Mount{{Type: Tmpfs, Target: "/x", Mode: fs.ModeDir | 0o755}}, "Mounts[0].Mode"},
		{"unix bits", []Mount{{Type: Tmpfs, Target: "/x", Mode: 0o1777}}, "Mounts[0].Mode"},
		{"no target", []Mount{{Source: "x"}}, "Mounts[0].Target"},
		{"target relative", []Mount{{Source: "x", Target: "data"}}, "Mounts[0].Target"},
		{"target with ..", []Mount{{Source: "x", Target: "/a/../b"}}, "Mounts[0].Target"},
		{"target the root", []Mount{{Source: "x", Target: "/"}}, "Mounts[0].Target"},
		{"target the root, disguised", []Mount{{Source: "x", Target: "//./"}}, "Mounts[0].Target"},
		{"target not clean", []Mount{{Source: "x", Target: "/a//b"}}, "Mounts[0].Target"},
		{"target with a name like ..", []Mount{{Source: "x", Target: "/a/..b"}}, ""},
		{"target twice", []Mount{bind, {Type: Tmpfs, Target: "/data"}}, "Mounts[1].Target"},
		{"target below another", []Mount{bind, {Type: Tmpfs, Target: "/data/x"}}, ""},
		{"target with NUL", []Mount{{Source: "x", Target: "/\x00"}}, "Mounts[0].Target"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := validate(&Spec{Args: []string{"true"}, Mounts: test.mounts})
			if got := strings.Join(fields(t, err), " "); got != test.want {
				t.Errorf("fault of %q, want %q: %v", got, test.want, err)
			}
		})
	}
	twice := []Mount{bind, {Source: "y", Target: "/data/"}}
	if got := fields(t, validate(&Spec{Args: []string{"true"}, Mounts: twice})); len(got) != 2 {
		t.Errorf("a target that is the same after cleaning: faults %q, want two", got)
	}
}

func TestValidateLimits(t *testing.T) {
	tests := []struct {
		limits Limits
		want   string // the field below Limits; "" for no fault
	}{
		{Limits{WallTime: 1, CPUTime: 1, MemoryMax: 1, MemorySwapMax: 1, PidsMax: 1, CPUMax: 0.5, CPUWeight: 1, OutputMax: 1}, ""},
		{Limits{WallTime: -1}, "WallTime"},
		{Limits{CPUTime: -1}, "CPUTime"},
		{Limits{MemoryMax: -1}, "MemoryMax"},
		{Limits{MemorySwapMax: -1}, "MemorySwapMax"},
		{Limits{PidsMax: -1}, "PidsMax"},
		{Limits{OutputMax: -1}, "OutputMax"},
		{Limits{CPUMax: math.NaN()}, "CPUMax"},
		{Limits{CPUMax: math.Inf(1)}, "CPUMax"},
		{Limits{CPUMax: -0.5}, "CPUMax"},
		{Limits{CPUMax: 1e-9}, "CPUMax"},
		{Limits{CPUMax: 1e18}, "CPUMax"},
		{Limits{CPUWeight: -1}, "CPUWeight"},
		{Limits{CPUWeight: 10000}, ""},
		{Limits{CPUWeight: 10001}, "CPUWeight"},
		{Limits{CPUSet: "0"}, ""},
		{Limits{CPUSet: "0-3,8,10-10"}, ""},
		{Limits{CPUSet: "3-0"}, "CPUSet"},
		{Limits{CPUSet: "0,"}, "CPUSet"},
		{Limits{CPUSet: "0-"}, "CPUSet"},
		{Limits{CPUSet: "+1"}, "CPUSet"},
		{Limits{CPUSet: "0--1"}, "CPUSet"},
		{Limits{CPUSet: "0\n1"}, "CPUSet"},
		{Limits{CPUSet: "99999999999999999999"}, "CPUSet"},
		{Limits{CPUSet: strings.Repeat("0,", maxCPUSet)}, "CPUSet"},
		{Limits{IOMax: []IOLimit{{Path: "/x", ReadBPS: 1}}}, ""},
		{Limits{IOMax: []IOLimit{{ReadBPS: 1}}}, "IOMax[0].Path"},
		{Limits{IOMax: []IOLimit{{Path: "\x00"}}}, "IOMax[0].Path"},
		{Limits{IOMax: []IOLimit{{Path: "x", WriteIOPS: -1}}}, "IOMax[0].WriteIOPS"},
		{Limits{IOMax: slices.Repeat([]IOLimit{{Path: "x"}}, maxIOLimits+1)}, "IOMax"},
		{Limits{Rlimits: []Rlimit{{"RLIMIT_NOFILE", 1, 2}, {"RLIMIT_AS", 1, RlimInfinity}}}, ""},
		{Limits{Rlimits: []Rlimit{{"NOFILE", 1, 2}}}, "Rlimits[0].Type"},
		{Limits{Rlimits: []Rlimit{{"RLIMIT_NOFILE", 3, 2}}}, "Rlimits[0].Soft"},
		{Limits{Rlimits: []Rlimit{{"RLIMIT_AS", 1, 1}, {"RLIMIT_AS", 1, 1}}}, "Rlimits[1].Type"},
	}
	for i, test := range tests {
		want := test.want
		if want != "" {
			want = "Limits." + want
		}
		err := validate(&Spec{Args: []string{"true"}, Limits: test.limits})
		if got := strings.Join(fields(t, err), " "); got != want {
			t.Errorf("limits %d: fault of %q, want %q: %v", i, got, want, err)
		}
	}
}

func TestValidateReportsEveryFaultInTheOrderOfTheFields(t *testing.T) {
	spec := Spec{
		Args: []string{""}, Env: []string{"x"}, Dir: "x", Stdin: (*os.File)(nil),
		Root:     Root{Upper: "u", Writable: true},
		Mounts:   []Mount{{Type: 99, Target: "x", Size: -1}},
		Hostname: "/", Network: (*HostNetwork)(nil), UIDs: idmap.Map{}, User: &User{GID: -1},
		Capabilities: []capability.Cap{99}, Limits: Limits{PidsMax: -1}, AllowMissing: []Feature{""},
	}
	want := []string{"Args[0]", "Env[0]", "Dir", "Stdin", "Root.Upper", "Root.Writable", "Mounts[0].Type",
		"Mounts[0].Target", "Mounts[0].Size", "Hostname", "Network", "UIDs", "User.GID", "Capabilities[0]",
		"Limits.PidsMax", "AllowMissing[0]"}
	if got := fields(t, validate(&spec)); !slices.Equal(got, want) {
		t.Errorf("faults of\n%q, want\n%q", got, want)
	}
}

func TestValidateBoundsItsReport(t *testing.T) {
	err := validate(&Spec{Args: []string{"true"}, Env: slices.Repeat([]string{"SECRET"}, 10000), Mounts: make([]Mount, 1<<20)})
	all := err.(interface{ Unwrap() []error }).Unwrap()
	if len(all) != maxFaults+1 {
		t.Fatalf("%d faults, want %d and a count", len(all), maxFaults)
	}
	if last := all[maxFaults].Error(); !strings.Contains(last, "more faults") {
		t.Errorf("the last one is %q", last)
	}
	if n := len(err.Error()); n > 64<<10 {
		t.Errorf("a message of %d bytes", n)
	}
	if strings.Contains(err.Error(), "SECRET") {
		t.Error("the message quotes the environment")
	}
}

func TestEveryFeatureIsKnown(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "feature.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	ast.Inspect(file, func(node ast.Node) bool {
		if lit, ok := node.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			n++
			if name, _ := strconv.Unquote(lit.Value); !knownFeature(Feature(name)) {
				t.Errorf("knownFeature does not know %s", lit.Value)
			}
		}
		return true
	})
	if n == 0 {
		t.Error("no feature found")
	}
}

// A new field of a Spec must not slip past validate: whoever adds one comes by here.
func TestValidateKnowsEveryField(t *testing.T) {
	for typ, n := range map[reflect.Type]int{
		reflect.TypeFor[Spec](): 24, reflect.TypeFor[Collect](): 7, reflect.TypeFor[Root](): 4, reflect.TypeFor[Mount](): 7,
		reflect.TypeFor[Limits](): 14, reflect.TypeFor[HugetlbMax](): 2, reflect.TypeFor[CgroupOptions](): 3, reflect.TypeFor[IOLimit](): 5, reflect.TypeFor[Rlimit](): 3, reflect.TypeFor[User](): 3,
	} {
		if typ.NumField() != n {
			t.Errorf("%v has %d fields, validate knows %d: check the new ones and correct the number here", typ, typ.NumField(), n)
		}
	}
}

func FuzzValidate(f *testing.F) {
	f.Add("true", "A=b", "/tmp", "host", "src", "/data", 0, int64(0), "0-3", "RLIMIT_AS", uint16(1))
	f.Add("", "=", "/proc/self/fd/7", "a\nb", "", "/../..", 99, int64(-1), "3-1,", "", uint16(2000))
	// One fault each, that no other one hides.
	f.Add("tr\x00ue", "A=b", "/tmp", "host", "src", "/data", 0, int64(0), "0-3", "RLIMIT_AS", uint16(1))
	f.Add("true", "A=b", "/tmp", "host", "s\x00rc", "/data", 0, int64(0), "0-3", "RLIMIT_AS", uint16(1))
	f.Add("true", "A=b", "/tmp/../proc/self/fd/7", "host", "src", "/data", 0, int64(0), "0-3", "RLIMIT_AS", uint16(1))
	f.Add("true", "A=b", "/proc/self/fd/7", "host", "src", "/data", 0, int64(0), "0-3", "RLIMIT_AS", uint16(1))
	f.Add("true", "A=b", "/tmp", "host", "src", "/data/../..", 0, int64(0), "0-3", "RLIMIT_AS", uint16(1))
	f.Add("true", "A=b", "/tmp", "ho\nst", "src", "/data", 0, int64(0), "0-3", "RLIMIT_AS", uint16(1))
	f.Fuzz(func(t *testing.T, arg, env, dir, host, source, target string, typ int, size int64, cpus, rlimit string, n uint16) {
		spec := Spec{
			Args: []string{arg}, Env: []string{env}, Dir: dir, Hostname: host,
			Mounts: slices.Repeat([]Mount{{Source: source, Target: target, Type: MountType(typ), Size: size}}, int(n)),
			UIDs:   idmap.Map{{ContainerID: typ, HostID: int(size), Size: int(n)}},
			User:   &User{UID: typ, Groups: []int{int(size)}},
			Limits: Limits{CPUSet: cpus, MemoryMax: size, CPUMax: float64(size) / 1000, Rlimits: []Rlimit{{Type: rlimit, Soft: uint64(n), Hard: 7}}},
		}
		err := validate(&spec)
		if again := validate(&spec); fmt.Sprint(again) != fmt.Sprint(err) {
			t.Fatalf("two answers: %v and %v", err, again)
		}
		if err != nil {
			if len(err.(interface{ Unwrap() []error }).Unwrap()) > maxFaults+1 {
				t.Fatal("too many faults")
			}
			return
		}
		if strings.ContainsRune(arg+env+dir+host+source+target, 0) {
			t.Error("a NUL byte got through")
		}
		if key, _, ok := strings.Cut(env, "="); !ok || key == "" {
			t.Errorf("Env %q got through", env)
		}
		if n > 1 || n == 1 && (path.Clean(target) != target || target[0] != '/' || target == "/" || len(target) >= maxPath) {
			t.Errorf("%d times target %q got through", n, target)
		}
		if strings.HasPrefix(path.Clean("/"+dir)+"/", "/proc/") || strings.ContainsAny(host, "/ \t\r\n#") {
			t.Errorf("Dir %q, Hostname %q got through", dir, host)
		}
	})
}
