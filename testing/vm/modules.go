package main

import (
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// wanted are the modules that a machine loads: for its disks, for file systems that sandboxes mount, and
// for systemd. What a kernel has built in is no file and is left out.
var wanted = []string{"virtio_pci", "virtio_blk", "ext4", "overlay", "fuse", "autofs4"}

// module is a file that insmod(8) takes.
type module struct {
	name string
	data []byte
}

// loadOrder returns the wanted modules of an unpacked kernel and those that they depend on, each after
// what it needs. The packages have no modules.dep: depmod(8) makes it where they are installed.
func loadOrder(ctx context.Context, tree string, wanted []string) ([]module, error) {
	files := map[string]string{}
	err := filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if name, _, ok := strings.Cut(filepath.Base(path), ".ko"); ok && err == nil && !d.IsDir() {
			files[moduleName(name)] = path
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var order []module
	seen := map[string]bool{}
	var visit func(name string) error
	visit = func(name string) error {
		path, ok := files[name]
		if !ok || seen[name] {
			return nil
		}
		seen[name] = true
		data, err := readModule(ctx, path)
		if err != nil {
			return err
		}
		needs, err := dependencies(data)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for _, need := range needs {
			if err := visit(need); err != nil {
				return err
			}
		}
		order = append(order, module{name, data})
		return nil
	}
	for _, name := range wanted {
		if err := visit(moduleName(name)); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// moduleName makes names comparable: a file may have a hyphen where the module has an underscore.
func moduleName(s string) string { return strings.ReplaceAll(s, "-", "_") }

// readModule reads a module that may be compressed.
func readModule(ctx context.Context, path string) ([]byte, error) {
	switch filepath.Ext(path) {
	case ".xz":
		return output(command(ctx, "xz", "-dc", path))
	case ".zst":
		return output(command(ctx, "zstd", "-qdc", path))
	}
	return os.ReadFile(path)
}

// dependencies reads the names in the "depends" of a module's own description.
func dependencies(ko []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(ko))
	if err != nil {
		return nil, err
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("no section .modinfo: this is no kernel module")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	return parseDepends(info), nil
}

// parseDepends finds "depends=a,b" among the strings of modinfo, which end in a NUL each.
func parseDepends(info []byte) []string {
	var names []string
	for field := range bytes.SplitSeq(info, []byte{0}) {
		if list, ok := strings.CutPrefix(string(field), "depends="); ok {
			for name := range strings.SplitSeq(list, ",") {
				if name != "" {
					names = append(names, moduleName(name))
				}
			}
		}
	}
	return names
}
