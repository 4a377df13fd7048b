package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// test is a test binary and where it runs.
type test struct {
	name   string // in the list of results: the package, below the module
	binary string // on the host
	dir    string // in the repository, with slashes
}

// buildTests compiles the tests of packages, as "go list" names them, for the machine: without cgo, so
// that they need no library. A package without tests is left out; a file that ends in .test is taken as
// it is.
func buildTests(ctx context.Context, root, out string, args []string) ([]test, error) {
	var tests []test
	var patterns []string
	for _, arg := range args {
		if strings.HasSuffix(arg, ".test") {
			tests = append(tests, test{name: filepath.Base(arg), binary: arg, dir: "."})
		} else {
			patterns = append(patterns, arg)
		}
	}
	if len(patterns) == 0 {
		return tests, nil
	}
	list, err := output(goCommand(ctx, append([]string{"list", "-json=ImportPath,Dir,TestGoFiles,XTestGoFiles"}, patterns...)...))
	if err != nil {
		return nil, err
	}
	for decoder := json.NewDecoder(bytes.NewReader(list)); ; {
		var p struct {
			ImportPath, Dir           string
			TestGoFiles, XTestGoFiles []string
		}
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		if len(p.TestGoFiles)+len(p.XTestGoFiles) == 0 {
			continue
		}
		dir, err := filepath.Rel(root, p.Dir)
		if err != nil {
			return nil, err
		}
		dir = filepath.ToSlash(dir)
		t := test{name: dir, binary: filepath.Join(out, strings.ReplaceAll(dir, "/", "-")+".test"), dir: dir}
		if _, err := output(goCommand(ctx, "test", "-c", "-ldflags=-s -w", "-o", t.binary, p.ImportPath)); err != nil {
			return nil, err
		}
		tests = append(tests, t)
	}
	if len(tests) == 0 {
		return nil, fmt.Errorf("no tests in %s", strings.Join(patterns, " "))
	}
	return tests, nil
}

func goCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := command(ctx, "go", args...)
	cmd.Env = append(cmd.Env, "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	return cmd
}

// moduleRoot returns the directory of the repository.
func moduleRoot(ctx context.Context) (string, error) {
	out, err := output(command(ctx, "go", "list", "-m", "-f", "{{.Dir}}"))
	return strings.TrimSpace(string(out)), err
}

// writePayload writes the disk that is unpacked to /run/vm: the scripts, the test binaries, and the
// repository itself, since tests read files of it. The disk is a tar archive without a file system
// around it. Everything in it belongs to root. A folder extra, if there is one, goes along.
func writePayload(to, root, extra string, tests []test, env, args string) error {
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	defer f.Close()
	w := tar.NewWriter(f)
	var list strings.Builder
	for _, t := range tests {
		name := "bin/" + filepath.Base(t.binary)
		fmt.Fprintf(&list, "%s %s %s\n", t.name, name, path.Join("src", t.dir))
		if err := addFile(w, name, t.binary, 0o755); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{"list": list.String(), "env": env, "args": args} {
		if err := addText(w, name, 0o644, []byte(text)); err != nil {
			return err
		}
	}
	if err := addScripts(w); err != nil {
		return err
	}
	if err := addRepository(w, root); err != nil {
		return err
	}
	if err := addExtra(w, extra); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return f.Close()
}

func addText(w *tar.Writer, name string, mode int64, data []byte) error {
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(data))}); err != nil {
		return err
	}
	_, err := w.Write(data)
	return err
}

func addFile(w *tar.Writer, name, from string, mode int64) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return addText(w, name, mode, data)
}

func addScripts(w *tar.Writer) error {
	return fs.WalkDir(guest, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := guest.ReadFile(name)
		if err != nil {
			return err
		}
		return addText(w, path.Base(name), 0o755, data)
	})
}

// addRepository adds all regular files of the repository but those of folders with a dot, such as
// version control, and what was built.
func addRepository(w *tar.Writer, root string) error {
	return filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil || rel == "." {
			return err
		}
		rel = filepath.ToSlash(rel)
		switch {
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") || rel == "bin"):
			return fs.SkipDir
		case d.IsDir():
			return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "src/" + rel + "/", Mode: 0o755})
		case !d.Type().IsRegular():
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return addFile(w, "src/"+rel, name, int64(info.Mode().Perm()|0o444))
	})
}

// extraFolder is where the machine has what goes along, below /run/vm.
const extraFolder = "extra"

// addExtra adds the directories and regular files of a folder; "" is none.
func addExtra(w *tar.Writer, folder string) error {
	if folder == "" {
		return nil
	}
	return filepath.WalkDir(folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(folder, name)
		if err != nil {
			return err
		}
		to := path.Join(extraFolder, filepath.ToSlash(rel))
		info, err := d.Info()
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: to + "/", Mode: 0o755})
		case !info.Mode().IsRegular():
			return nil
		}
		return addFile(w, to, name, int64(info.Mode().Perm()|0o444))
	})
}
