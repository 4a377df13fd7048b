package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/ringfence-go/ringfence/sandbox"
)

// collection is what is taken out of the sandbox, and where to.
type collection struct{ path, file string }

func setCollect(o *options, a []string) error {
	path, file, ok := strings.Cut(a[0], "=")
	if !ok || path == "" || file == "" {
		return fmt.Errorf("%q is not of the form PATH=FILE", a[0])
	}
	o.collect = append(o.collect, collection{path, file})
	return nil
}

// openCollections makes the files that are collected into.
func (o *options) openCollections() ([]*os.File, error) {
	var files []*os.File
	for _, c := range o.collect {
		f, err := os.Create(c.file)
		if err != nil {
			closeAll(files)
			return nil, fmt.Errorf("--collect: %w", err)
		}
		files = append(files, f)
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// collects returns what the library is to collect into files, which are those of openCollections.
func (o *options) collects(files []*os.File) []sandbox.Collect {
	var all []sandbox.Collect
	for i, c := range o.collect {
		if strings.HasSuffix(c.file, ".tar") {
			all = append(all, sandbox.Collect{Path: c.path, Tar: files[i], Symlinks: true})
		} else {
			all = append(all, sandbox.Collect{Path: c.path, File: files[i]})
		}
	}
	return all
}

// onlyUncollected reports whether all that went wrong is that something could not be collected.
func onlyUncollected(err error) bool {
	for _, e := range faults(err) {
		var c *sandbox.CollectError
		if !errors.As(e, &c) {
			return false
		}
	}
	return err != nil
}
