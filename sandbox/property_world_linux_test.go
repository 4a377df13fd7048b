package sandbox

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ringfence-go/ringfence/testing/victim"
)

// What the oracle knows of the host and of paths.

// world is the host as the caller sees it, and where the Spec that is being made may mount.
type world struct {
	uid, gid int
	groups   []int
	cwd      string
	self     string // the program that observes
	share    string // a directory of the host's that everybody may read: /usr/share where there is one
	host     *victim.Observation
	limits   [][2]uint64
	parents  []parent
}

// observeHost is what the observer sees without a sandbox.
var observeHost = sync.OnceValues(func() (*victim.Observation, error) {
	cmd, err := victim.Outside(`observe:{"To":1}`)
	if err != nil {
		return nil, err
	}
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	o := &victim.Observation{}
	return o, json.Unmarshal(out, o)
})

func hostWorld(t *testing.T) world {
	host, err := observeHost()
	if err != nil {
		t.Fatal(err)
	}
	w := world{uid: os.Geteuid(), gid: os.Getegid(), host: host, limits: host.Limits, share: "/usr/share"}
	if _, err := os.Stat(w.share); err != nil {
		w.share = "/dev"
	}
	if w.groups, err = os.Getgroups(); err != nil {
		t.Fatal(err)
	}
	if w.cwd, err = os.Getwd(); err != nil {
		t.Fatal(err)
	}
	if w.self, err = os.Executable(); err != nil {
		t.Fatal(err)
	}
	return w
}

func isBelow(p, dir string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir+"/")
}

// resolve follows the links that are known to be on a way.
func (w *world) resolve(root Root, p string) string {
	links := [][2]string{{"/var/tmp", "/tmp"}, {"/var/run", "/run"}}
	if root.Path != "" {
		links = [][2]string{{"/lnk", "/mnt"}}
	}
	for _, l := range links {
		if isBelow(p, l[0]) {
			return l[1] + strings.TrimPrefix(p, l[0])
		}
	}
	if p == "" {
		return "/"
	}
	return p
}

// visible reports whether no later mount covers Mounts[i].
func (w *world) visible(s *Spec, i int) bool {
	at := w.resolve(s.Root, s.Mounts[i].Target)
	return !slices.ContainsFunc(s.Mounts[i+1:], func(later Mount) bool { return isBelow(at, w.resolve(s.Root, later.Target)) })
}
