package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// archive writes the format that the kernel unpacks its first file system from: "newc" of cpio(5), see
// Documentation/driver-api/early-userspace/buffer-format.rst. Everything in it belongs to root, whoever
// writes it.
type archive struct {
	w     io.Writer
	inode int
	err   error // the first one; all later calls do nothing
}

// Types of files, as in stat(2). They are the format's own, whatever the host's are.
const (
	cpioDir  = 0o040000
	cpioFile = 0o100000
)

func (a *archive) dir(name string)                            { a.entry(name, cpioDir|0o755, nil) }
func (a *archive) file(name string, perm uint32, data []byte) { a.entry(name, cpioFile|perm, data) }

// copyFile adds a file of the host as an executable one.
func (a *archive) copyFile(name, from string) {
	data, err := os.ReadFile(from)
	if err != nil && a.err == nil {
		a.err = err
	}
	a.file(name, 0o755, data)
}

// close writes the entry that ends an archive, and returns the first error of all.
func (a *archive) close() error {
	a.entry("TRAILER!!!", 0, nil)
	return a.err
}

func (a *archive) entry(name string, mode uint32, data []byte) {
	if a.err != nil {
		return
	}
	a.inode++
	var b bytes.Buffer
	// inode, mode, uid, gid, links, mtime, size, device (2), rdevice (2), length of name, checksum
	fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		a.inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0, name)
	pad(&b)
	b.Write(data)
	pad(&b)
	_, a.err = a.w.Write(b.Bytes())
}

// pad fills b up to the next multiple of four bytes, where names and contents end.
func pad(b *bytes.Buffer) {
	for b.Len()%4 != 0 {
		b.WriteByte(0)
	}
}
