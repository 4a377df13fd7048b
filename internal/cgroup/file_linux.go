package cgroup

import (
	"errors"
	"os"
	"path"
	"strconv"

	"golang.org/x/sys/unix"
)

// dir is the directory of a cgroup, by which all its files are reached: whatever is mounted or renamed meanwhile,
// they are those of this cgroup.
type dir struct {
	file *os.File
	path string
}

// openDir opens a cgroup by its path.
func openDir(name string) (*dir, error) {
	d, err := openDirAt(unix.AT_FDCWD, name)
	if err != nil {
		return nil, err
	}
	d.path = name
	var st unix.Statfs_t
	if err := unix.Fstatfs(d.fd(), &st); err != nil {
		d.file.Close()
		return nil, &Error{Op: "look at the file system", Path: name, Err: err}
	}
	if st.Type != unix.CGROUP2_SUPER_MAGIC {
		d.file.Close()
		return nil, &Error{Op: "open the cgroup", Path: name, Err: errors.New("it is not in a cgroup v2 file system")}
	}
	return d, nil
}

// openDirAt opens a directory below another one; its path is still to be set.
func openDirAt(at int, name string) (*dir, error) {
	fd, err := ignoringEINTR(func() (int, error) {
		return unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, &Error{Op: "open the cgroup", Path: name, Err: err}
	}
	return &dir{file: os.NewFile(uintptr(fd), name), path: name}, nil
}

// open opens the cgroup called name below d.
func (d *dir) open(name string) (*dir, error) {
	sub, err := openDirAt(d.fd(), name)
	if err != nil {
		return nil, err
	}
	sub.path = path.Join(d.path, name)
	return sub, nil
}

func (d *dir) fd() int { return int(d.file.Fd()) }

func (d *dir) close() { d.file.Close() }

// openFile opens one of the files of the cgroup.
func (d *dir) openFile(name string, how int) (int, error) {
	return ignoringEINTR(func() (int, error) { return unix.Openat(d.fd(), name, how|unix.O_CLOEXEC, 0) })
}

// read returns the contents of a file.
func (d *dir) read(name string) ([]byte, error) {
	fd, err := d.openFile(name, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return readAll(fd)
}

// readAll returns the contents from the beginning. Every read of a kernfs file continues what the first
// began, so that what is put together is of one moment unless it is longer than a page.
func readAll(fd int) ([]byte, error) {
	return readUntil(fd, nil, func(n, _ int) bool { return n == 0 })
}

// readValue is read for a file that is written at once, as all are but lists of processes: what did not
// fill buf is all of it (single_open and seq_read_iter of fs/seq_file.c), and nobody asks whether there is
// more. The contents are in buf if they fit there.
func (d *dir) readValue(name string, buf []byte) ([]byte, error) {
	fd, err := d.openFile(name, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return readValue(fd, buf)
}

func readValue(fd int, buf []byte) ([]byte, error) {
	return readUntil(fd, buf, func(n, room int) bool { return n < room })
}

// valueSize holds the contents of most files.
const valueSize = 4096

func readUntil(fd int, buf []byte, last func(n, room int) bool) ([]byte, error) {
	if buf = buf[:0]; cap(buf) == 0 {
		buf = make([]byte, 0, valueSize)
	}
	for {
		room := buf[len(buf):cap(buf)]
		n, err := ignoringEINTR(func() (int, error) { return unix.Pread(fd, room, int64(len(buf))) })
		if err != nil {
			return nil, err
		}
		buf = buf[:len(buf)+n]
		if last(n, len(room)) {
			return buf, nil
		}
		if len(buf) == cap(buf) {
			buf = append(buf, make([]byte, len(buf))...)[:len(buf)]
		}
	}
}

// write writes a value, in one call, as the kernel wants it.
func (d *dir) write(name, value string) error {
	fd, err := d.openFile(name, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = ignoringEINTR(func() (int, error) { return unix.Write(fd, []byte(value)) })
	return err
}

// has reports whether the cgroup has a file.
func (d *dir) has(name string) bool {
	return unix.Faccessat(d.fd(), name, unix.F_OK, 0) == nil
}

// subdirs returns the names of the cgroups right below d.
func (d *dir) subdirs() ([]string, error) {
	// A descriptor of its own, since reading a directory moves its position.
	sub, err := openDirAt(d.fd(), ".")
	if err != nil {
		return nil, err
	}
	defer sub.close()
	entries, err := sub.file.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// remove removes the cgroup called name below d, with what lies below it, if no process is left there.
func (d *dir) remove(name string) error {
	err := unix.Unlinkat(d.fd(), name, unix.AT_REMOVEDIR)
	if !errors.Is(err, unix.EBUSY) {
		return err
	}
	sub, openErr := d.open(name)
	if openErr != nil {
		return openErr
	}
	defer sub.close()
	names, listErr := sub.subdirs()
	if listErr != nil || len(names) == 0 {
		return err
	}
	for _, n := range names {
		if err := sub.remove(n); err != nil {
			return err
		}
	}
	return unix.Unlinkat(d.fd(), name, unix.AT_REMOVEDIR)
}

// addProcess moves a process, with all its threads, into the cgroup.
func (d *dir) addProcess(pid int) error { return d.write("cgroup.procs", strconv.Itoa(pid)) }

func ignoringEINTR(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR { //nolint:errorlint // the call's own, and in every read and write
			return n, err
		}
	}
}

// gone reports whether an error says that the cgroup does not exist any more.
func gone(err error) bool { return errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) }
