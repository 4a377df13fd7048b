package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
)

func TestTablesAreCurrent(t *testing.T) {
	sandboxtest.Need(t, sandboxtest.Program("go")) // it finds the sources of x/sys
	files, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 6 {
		t.Errorf("%d files, want one for each table and one of errnos", len(files))
	}
	for path, want := range files {
		got, err := os.ReadFile(filepath.Join("..", path))
		if err != nil {
			t.Error(err)
			continue
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is stale: run go generate ./internal/kernel", path)
		}
	}
}

func TestParseRefusesTwoNamesForOneNumber(t *testing.T) {
	if _, err := parse([]byte("\tSYS_A = 1\n\tSYS_B = 1\n")); err == nil {
		t.Error("no error")
	}
	if _, err := parse([]byte("package unix\n")); err == nil {
		t.Error("an empty table was taken")
	}
}
