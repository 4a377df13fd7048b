// Package internal holds the test of the rules of the house: how packages may import one another,
// where things may live. The rules themselves are in CONTRIBUTING.md.
package internal

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	module = "github.com/ringfence-go/ringfence"
	unix   = "golang.org/x/sys/unix"
)

// topLevel are the folders of the repository. What starts with a dot is free; bin is never committed.
var topLevel = []string{"sandbox", "seccomp", "idmap", "internal", "testing", "examples", "bin"}

// mayImport says which packages of the module a folder and what lies below it may import. The longest
// entry that fits a package holds; test files may import what they like.
var mayImport = map[string][]string{
	"internal/kernel":   {"internal/kernel"},
	"internal/plan":     {"internal/kernel"},
	"internal/image":    {"internal/plan", "internal/kernel"},
	"internal/launch":   {"internal/image", "internal/plan", "internal/kernel"},
	"internal/probe":    {"internal/kernel"},
	"internal/cgroup":   {"internal/kernel"},
	"internal/filetree": {},
	"seccomp":           {"seccomp", "internal/kernel"},
	"idmap":             {},
	"sandbox":           {"sandbox", "seccomp", "idmap", "internal"},
	"testing":           {"testing", "sandbox", "seccomp", "idmap", "internal"},
	"examples":          {"examples", "sandbox", "seccomp", "idmap"},
}

// x/sys/unix belongs into unixFolders. Of these, the files that begin with a name in unixConstants are
// functions of data: they may use its constants and types, and the calls in pureCalls.
var (
	unixFolders = []string{"internal/kernel/", "internal/plan/", "internal/image/", "internal/launch/", "internal/probe/",
		"internal/cgroup/", "internal/filetree/", "idmap/apply", "idmap/auto", "sandbox/", "testing/", "examples/"}
	unixConstants = []string{"internal/kernel/", "internal/plan/", "internal/image/",
		"sandbox/compile", "sandbox/plan", "sandbox/validate"}
	pureCalls = []string{"ByteSliceFromString", "BytePtrFromString", "ByteSliceToString", "Major", "Minor", "Mkdev",
		"SignalName", "SignalNum", "ErrnoName", "Errno", "Signal", "WaitStatus", "CmsgLen", "CmsgSpace",
		"NsecToTimeval", "NsecToTimespec", "TimevalToNsec", "TimespecToNsec"}
)

// maxLines is the length of a file past which it is split by question.
const maxLines = 400

type goFile struct {
	name string // from the root of the repository, with slashes
	src  []byte
	ast  *ast.File
}

func (f goFile) isTest() bool { return strings.HasSuffix(f.name, "_test.go") }

// files parses every Go file of the repository. It needs no go command, no module cache and no
// permission but to read.
func files(t *testing.T) []goFile {
	t.Helper()
	var all []goFile
	root := os.DirFS("..")
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || name == "bin"):
			return fs.SkipDir
		case d.IsDir() || filepath.Ext(name) != ".go":
			return nil
		}
		src, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		all = append(all, goFile{name, src, file})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("%d Go files found: this is not the repository", len(all))
	}
	return all
}

func below(name string, folders []string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return name == f || strings.HasPrefix(name, f+"/") })
}

// allowed returns what a package may import, and whether there is a rule for it.
func allowed(pkg string) ([]string, bool) {
	for dir := pkg; dir != "."; dir = path.Dir(dir) {
		if rule, ok := mayImport[dir]; ok {
			return rule, true
		}
	}
	return nil, false
}

func imports(f goFile) []string {
	var all []string
	for _, spec := range f.ast.Imports {
		all = append(all, strings.Trim(spec.Path.Value, "\"`"))
	}
	return all
}

func TestImportsPointOneWay(t *testing.T) {
	for _, f := range files(t) {
		if f.isTest() {
			continue
		}
		pkg := path.Dir(f.name)
		rule, ok := allowed(pkg)
		if !ok {
			t.Errorf("%s: no rule says what %s may import", f.name, pkg)
			continue
		}
		for _, imported := range imports(f) {
			if imported == "C" {
				t.Errorf("%s imports C: cgo is for the seccomp tag alone", f.name)
			}
			own, ok := strings.CutPrefix(imported, module+"/")
			if ok && !below(own, rule) {
				t.Errorf("%s imports %s, which lies above it or beside it", f.name, own)
			}
		}
	}
}

func TestTopLevelHoldsNoOtherFolder(t *testing.T) {
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && !slices.Contains(topLevel, e.Name()) {
			t.Errorf("folder %s at the top level", e.Name())
		}
	}
}

func TestSystemCallsAreFenced(t *testing.T) {
	starts := func(name string, prefixes []string) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
	}
	for _, f := range files(t) {
		if f.isTest() || !slices.Contains(imports(f), unix) {
			continue
		}
		if !starts(f.name, unixFolders) {
			t.Errorf("%s imports %s", f.name, unix)
		}
		if !starts(f.name, unixConstants) {
			continue
		}
		for _, call := range calls(f.ast, "unix") {
			if !slices.Contains(pureCalls, call) {
				t.Errorf("%s calls unix.%s: it may use constants and types only", f.name, call)
			}
		}
	}
}

// calls returns the names of what is called of a package, under its local name.
func calls(file *ast.File, pkg string) []string {
	var names []string
	ast.Inspect(file, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if sel, ok := call.Fun.(*ast.SelectorExpr); ok {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == pkg {
					names = append(names, sel.Sel.Name)
				}
			}
		}
		return true
	})
	return names
}

func TestFilesAnswerOneQuestion(t *testing.T) {
	for _, f := range files(t) {
		if strings.HasPrefix(path.Base(f.name), "z") || ast.IsGenerated(f.ast) {
			continue
		}
		if n := bytes.Count(f.src, []byte("\n")); n > maxLines {
			t.Errorf("%s has %d lines, at most %d: split it by question", f.name, n, maxLines)
		}
	}
}

func TestSkipsAreInOnePlace(t *testing.T) {
	for _, f := range files(t) {
		if strings.HasPrefix(f.name, "testing/sandboxtest/") {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name) {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); !ok || x.Name != "sandboxtest" {
				t.Errorf("%s calls %s: skip with sandboxtest.Need or sandboxtest.Skip", f.name, sel.Sel.Name)
			}
			return true
		})
	}
}

// The rules above must be able to fail.
func TestRulesFindFaults(t *testing.T) {
	src := "package p\nimport \"golang.org/x/sys/unix\"\nfunc f() { unix.Mount(); g(unix.MS_RDONLY) }\n"
	file, err := parser.ParseFile(token.NewFileSet(), "p.go", src, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := calls(file, "unix"); !slices.Equal(got, []string{"Mount"}) {
		t.Errorf("calls %q", got)
	}
	if rule, _ := allowed("internal/plan"); below("internal/launch", rule) || !below("internal/kernel", rule) {
		t.Errorf("internal/plan may import %q", rule)
	}
	if rule, ok := allowed("sandbox/netstack"); !ok || !below("sandbox", rule) || below("testing/sandboxtest", rule) {
		t.Errorf("sandbox/netstack may import %q", rule)
	}
	if _, ok := allowed("internal/util"); ok {
		t.Error("there is a rule for internal/util")
	}
	if below("sandboxes", []string{"sandbox"}) {
		t.Error("a folder holds one whose name only begins like it")
	}
}
