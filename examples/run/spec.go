package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/ringfence-go/ringfence/idmap"
	"github.com/ringfence-go/ringfence/sandbox"
)

// spec turns options into what the library takes. It reads the contents of files, and of the host
// whatever lookup says; it does not judge: the library does, and says every fault at once.
func (o *options) spec(stdin io.Reader, lookup func(key string) (string, bool)) (sandbox.Spec, error) {
	if o.tty && !o.clearEnv {
		o.env = append([]string{"TERM"}, o.env...) // what programs at this terminal go by
	}
	s := sandbox.Spec{
		Args:         o.command,
		Env:          o.environment(lookup),
		Dir:          o.dir,
		Root:         sandbox.Root{Path: o.root, Writable: o.rootWritable},
		Hostname:     o.hostname,
		Capabilities: o.caps,
		StopSignal:   o.stopSignal,
		StopTimeout:  o.stopTimeout,
		Limits:       o.limits,
		AllowMissing: o.allowMissing,
		User:         o.user,
	}
	if o.tty {
		s.Terminal = &sandbox.Terminal{} // its size is that of the terminal, when it is started
	}
	o.wantCgroup(&s)
	if o.seccomp != "" {
		var err error
		if s.Seccomp, err = readProfile(o.seccomp); err != nil {
			return s, fmt.Errorf("--seccomp: %w", err)
		}
	}
	if o.shareNet {
		s.Network = sandbox.HostNetwork{}
	}
	uid, gid := hostIDs()
	if o.uid != nil {
		s.UIDs = idmap.Single(*o.uid, uid)
	}
	if o.gid != nil {
		s.GIDs = idmap.Single(*o.gid, gid)
	}
	for _, m := range o.mounts {
		if m.Type == sandbox.File {
			var err error
			if m.Data, m.Mode, err = contents(m.Source, stdin); err != nil {
				return s, fmt.Errorf("--file: %w", err)
			}
			m.Source = ""
		}
		s.Mounts = append(s.Mounts, m)
	}
	return s, nil
}

// environment returns nil where the library's own default is meant.
func (o *options) environment(lookup func(string) (string, bool)) []string {
	if len(o.env) == 0 && !o.clearEnv {
		return nil
	}
	env := []string{}
	if !o.clearEnv {
		// What a nil Env stands for. env.txtar holds that these are the same.
		home := "/home/sandbox"
		if o.root != "" {
			home = "/"
		}
		env = append(env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME="+home, "LANG=C.UTF-8")
	}
	for _, e := range o.env {
		if strings.Contains(e, "=") {
			env = append(env, e)
		} else if value, ok := lookup(e); ok {
			env = append(env, e+"="+value)
		}
	}
	return env
}

// contents reads what a --file holds, and with which permissions; 0 leaves them to the library.
func contents(source string, stdin io.Reader) ([]byte, fs.FileMode, error) {
	if source == "-" {
		data, err := io.ReadAll(stdin)
		return data, 0, err
	}
	f, err := os.Open(source)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	data, err := io.ReadAll(f)
	return data, info.Mode().Perm(), err
}

// hostIDs returns the IDs outside that --uid and --gid give a number inside: the caller's own, and for
// root, whose own is never given, those that the library takes for it.
func hostIDs() (uid, gid int) {
	if os.Getuid() != 0 {
		return os.Getuid(), os.Getgid()
	}
	uid, okUID := subordinate("/etc/subuid")
	gid, okGID := subordinate("/etc/subgid")
	if okUID && okGID {
		return uid, gid
	}
	const nobody = 65534
	return nobody, nobody
}

// subordinate returns the first ID that a file in the format of subuid(5) sets aside for root.
func subordinate(file string) (int, bool) {
	f, err := os.Open(file)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	ranges, err := idmap.Subordinate(f, "root", 0)
	if err != nil || len(ranges) == 0 {
		return 0, false
	}
	return ranges[0].HostID, true
}
