package victim

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

var observeActs = map[string]act{"observe": observe}

// observe answers a Request and exits.
func observe(arg string) (string, error) {
	var r Request
	if err := json.Unmarshal([]byte(arg), &r); err != nil {
		return "", err
	}
	o := Observation{Args: os.Args}
	// First what the Go runtime would add to, then what observing does.
	var err error
	if o.FDs, err = openFiles(); err != nil {
		return "", err
	}
	for _, step := range []func(*Observation) error{
		observeProcess, observeIDs, observeTerminal, observeLimits, observeMounts, observeNetwork,
	} {
		if err := step(&o); err != nil {
			return "", err
		}
	}
	o.Calls = tryCalls()
	o.Paths = map[string]Place{}
	for _, p := range r.Paths {
		o.Paths[p] = lookAt(p)
	}
	if r.Stdin {
		data, err := io.ReadAll(os.Stdin)
		if err != nil {
			return "", err
		}
		o.Stdin = string(data)
	}
	line, err := json.Marshal(o)
	if err != nil {
		return "", err
	}
	for line = append(line, '\n'); len(line) > 0; {
		n, err := unix.Write(r.To, line)
		if err != nil {
			return "", err
		}
		line = line[n:]
	}
	unix.Exit(0)
	return "", nil
}

// name returns an error as a test compares it.
func name(err error) string {
	var errno syscall.Errno
	switch {
	case err == nil:
		return ""
	case errors.As(err, &errno):
		return unix.ErrnoName(errno)
	}
	return err.Error()
}

func openFiles() (map[int]FD, error) {
	fds, err := openDescriptors()
	if err != nil {
		return nil, err
	}
	all := map[int]FD{}
	for _, fd := range fds {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return nil, err
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		if err != nil {
			return nil, err
		}
		own, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil {
			return nil, err
		}
		all[fd] = FD{Type: st.Mode & unix.S_IFMT, Dev: uint64(st.Dev), Ino: st.Ino, Rdev: uint64(st.Rdev),
			Access: flags & unix.O_ACCMODE, CloseOnExec: own&unix.FD_CLOEXEC != 0}
	}
	return all, nil
}

func observeProcess(o *Observation) error {
	environ, err := os.ReadFile("/proc/self/environ") // package os keeps one value of each key
	if err != nil {
		return err
	}
	if len(environ) > 0 {
		o.Env = strings.Split(strings.TrimSuffix(string(environ), "\x00"), "\x00")
	}
	if o.Dir, err = unixGetwd(); err != nil {
		return err
	}
	if o.Hostname, err = os.Hostname(); err != nil {
		return err
	}
	o.PID, o.PPID, o.PGID = os.Getpid(), os.Getppid(), unix.Getpgrp()
	if o.SID, err = unix.Getsid(0); err != nil {
		return err
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			o.PIDs = append(o.PIDs, pid)
		}
	}
	slices.Sort(o.PIDs)
	o.Namespaces = map[string]string{}
	if entries, err = os.ReadDir("/proc/self/ns"); err != nil {
		return err
	}
	for _, e := range entries {
		if o.Namespaces[e.Name()], err = os.Readlink("/proc/self/ns/" + e.Name()); err != nil {
			return err
		}
	}
	return nil
}

func observeIDs(o *Observation) error {
	status, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		return err
	}
	o.Status = map[string]string{}
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		o.Status[key] = strings.Join(strings.Fields(value), " ")
	}
	for file, to := range map[string]*string{"uid_map": &o.UIDMap, "gid_map": &o.GIDMap, "setgroups": &o.Setgroups} {
		data, err := os.ReadFile("/proc/self/" + file)
		if err != nil {
			return err
		}
		*to = strings.Join(strings.Fields(string(data)), " ")
	}
	return nil
}

func observeTerminal(o *Observation) error {
	fd, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if o.Terminal.Err = name(err); err == nil {
		unix.Close(fd)
	}
	if size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ); err == nil {
		o.Terminal.Rows, o.Terminal.Cols = size.Row, size.Col
	}
	o.Terminal.SID, _ = unix.IoctlGetInt(0, unix.TIOCGSID)
	o.Terminal.PGID, _ = unix.IoctlGetInt(0, unix.TIOCGPGRP)
	return nil
}

func observeLimits(o *Observation) error {
	for resource := range 16 {
		var l unix.Rlimit
		if err := unix.Getrlimit(resource, &l); err != nil {
			return err
		}
		o.Limits = append(o.Limits, [2]uint64{l.Cur, l.Max})
	}
	// Package syscall raises this one, and gives its children back what it was.
	out, err := exec.Command("/usr/bin/cat", "/proc/self/limits").Output()
	if err == nil {
		o.NofileSoft = regexp.MustCompile(`Max open files +(\w+)`).FindStringSubmatch(string(out))[1]
	}
	return nil
}

func observeNetwork(o *Observation) error {
	all, err := net.Interfaces()
	if err != nil {
		return err
	}
	o.Interfaces = map[string]string{}
	for _, i := range all {
		o.Interfaces[i.Name] = i.Flags.String()
	}
	return nil
}

func observeMounts(o *Observation) error {
	data, err := os.ReadFile("/proc/self/mountinfo")
	o.Mounts = ParseMounts(string(data))
	return err
}

// ParseMounts reads a proc_pid_mountinfo(5).
func ParseMounts(mountinfo string) []MountPoint {
	var all []MountPoint
	for line := range strings.Lines(mountinfo) {
		f := strings.Fields(line)
		end := slices.Index(f, "-")
		if end < 6 || len(f) < end+4 {
			continue
		}
		all = append(all, MountPoint{ID: f[0], Parent: f[1], Point: unescape(f[4]), Root: unescape(f[3]), Type: f[end+1],
			Options: strings.Split(f[5], ","), Tags: f[6:end], Super: f[end+3]})
	}
	return all
}

// unescape reads what seq_path of the kernel escapes: white space and backslashes, in octal.
func unescape(s string) string {
	return regexp.MustCompile(`\\[0-7]{3}`).ReplaceAllStringFunc(s, func(e string) string {
		n, _ := strconv.ParseUint(e[1:], 8, 8)
		return string([]byte{byte(n)})
	})
}

func lookAt(p string) Place {
	var st unix.Stat_t
	if err := unix.Lstat(p, &st); err != nil {
		return Place{Err: name(err)}
	}
	o := Place{Mode: st.Mode, UID: st.Uid, GID: st.Gid}
	var fs unix.Statfs_t
	if unix.Statfs(p, &fs) == nil {
		o.Size = int64(fs.Blocks) * int64(fs.Bsize)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		o.Link, _ = os.Readlink(p)
	case unix.S_IFREG:
		data, err := read(p)
		o.Data, o.ReadErr = data[:min(len(data), 4096)], name(err)
		fd, err := unix.Open(p, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if o.WriteErr = name(err); err == nil {
			unix.Close(fd)
		}
		o.ExecErr = name(unix.Access(p, unix.X_OK))
	case unix.S_IFDIR:
		entries, err := os.ReadDir(p)
		o.ReadErr = name(err)
		for _, e := range entries[:min(len(entries), 100)] {
			o.Names = append(o.Names, e.Name())
		}
		made := filepath.Join(p, ".made-by-the-observer")
		fd, err := unix.Open(made, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
		if o.WriteErr = name(err); err == nil {
			unix.Close(fd)
			os.Remove(made)
		}
	}
	return o
}

// tryCalls makes calls whose errno tells a filter's answer from the kernel's.
func tryCalls() map[string]string {
	return map[string]string{
		"mkdir":   name(unix.Mkdir("/nothing/at/all", 0o777)),
		"keyctl":  name(call(unix.SYS_KEYCTL, 9999, 0, 0)),
		"unshare": name(unix.Unshare(unix.CLONE_NEWUSER)), // EINVAL for a process with threads
	}
}
