//go:build linux

package sandbox

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/ringfence-go/ringfence/idmap"
	"github.com/ringfence-go/ringfence/internal/probe"
)

// Host is what a machine is like, as far as a Plan depends on it. It is made by Probe and only read.
type Host struct {
	facts *probe.Facts
	// stat says what a path of the host is; a field, so that plans for other hosts can be compiled.
	stat func(path string) (fs.FileInfo, error)
	// real returns a path of the host without links, and filesystem the type of what is there (statfs(2)).
	real       func(path string) (string, error)
	filesystem func(path string) (uint32, error)
	// subordinate returns the first ID set aside for root in /etc/subuid and /etc/subgid.
	subordinate func() (uid, gid int, ok bool)
	// ofCaller returns the IDs set aside for the caller there. It is asked only where a Spec maps others than
	// the caller's own.
	ofCaller func() (uids, gids []idmap.Subrange, err error)
	// listened says that the caller is under a filter with a listener, as in a sandbox in a sandbox: the
	// kernel lets no filter below it have another (seccomp(2), EBUSY). Nothing but a try can tell.
	listened bool
	// noProc says that the kernel has refused a new /proc a moment ago, for what facts.ProcCovered does not show.
	noProc bool
	// unshared is why a moment ago nobody could lower the limits of a user namespace; nil is that nobody knows of a reason.
	unshared *UnsupportedError
	// refusal is why there are no user namespaces; nil is that nobody knows of a reason.
	refusal *UnsupportedError
	// features and failure are what the tries of Probe have found.
	features []FeatureState
	failure  error
}

// Probe finds out what sandboxes can have on this machine, by making some: it runs the zero Spec, and then for
// each Feature that this does not tell of a Spec that needs it. Each runs the command true, if the base system
// has one, with the whole set-up; it takes some hundredths of a second in all, and longer where a systemd has to be
// asked for a cgroup. A cgroup that it finds stays the program's, as after Run: ReleaseCgroups gives it back.
//
// What does not work is in the Host, and no error. An error is that of ctx, or says that the machine cannot be
// looked at: its /proc is not there.
//
// Run needs no Host. Compile takes one to make the plan that this machine, or the one where it was made, has.
func Probe(ctx context.Context) (*Host, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	host, err := readHost()
	if err != nil {
		return nil, err
	}
	d := diagnosis{ctx: ctx, restrictions: probe.ReadRestrictions("/", os.LookupEnv), states: map[Feature]FeatureState{}}
	d.run()
	if err := ctx.Err(); err != nil {
		return nil, err // what was found is that there was no time
	}
	host.features, host.failure = d.list(), d.failure
	return host, nil
}

// Features returns what Probe has found out about every Feature.
func (h *Host) Features() []FeatureState { return slices.Clone(h.features) }

// Err returns nil if the zero Spec, one that has nothing but Args, works on this machine: a sandbox with every
// protection that is there without being asked for. Else it is the error that Run returns.
func (h *Host) Err() error { return h.failure }

func readHost() (*Host, error) {
	facts, err := probe.Read("/")
	if err != nil {
		return nil, &OpError{Index: -1, Op: "look at the host", Err: err, Remedy: "the host's /proc must be mounted"}
	}
	return &Host{facts: facts, stat: os.Stat, real: filepath.EvalSymlinks, filesystem: filesystemType, subordinate: rootSubordinate, ofCaller: idmap.OfCaller}, nil
}

// hostMaxAge is how long what was read of the host is used again. Reading it takes as long as a tenth of
// a run; what changes meanwhile, such as a file of /etc that is replaced, is still opened by its path
// in every run.
const hostMaxAge = time.Second

// hostCache holds the last reading.
type hostCache struct {
	mu   sync.Mutex
	host *Host
	read time.Time
	// listened stays: no process gets rid of a filter.
	listened bool
}

var thisHost hostCache

// get returns a Host that is at most hostMaxAge old. Whom the caller runs as is always read anew.
func (c *hostCache) get() (*Host, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.host == nil || time.Since(c.read) > hostMaxAge || !c.host.facts.Caller.Current() {
		host, err := readHost()
		if err != nil {
			return nil, err
		}
		host.listened = c.listened
		c.host, c.read = host, time.Now()
	}
	return c.host, nil
}

// note remembers what a start has found out about the host, beside what is known of it, until it is looked at again:
// mounts come and go, and sysctls are set.
func (c *hostCache) note(found func(*Host)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.host == nil {
		return // then nothing was started
	}
	host := *c.host // others may be reading the one that there is
	found(&host)
	c.listened = c.listened || host.listened
	c.host, c.read = &host, time.Now() // so that the next start knows it
}

// has reports whether the kernel has this kind of namespace, by its name in /proc/PID/ns.
func (h *Host) has(namespace string) bool {
	for _, name := range h.facts.Namespaces {
		if name == namespace {
			return true
		}
	}
	return false
}
