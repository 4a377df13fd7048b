package cgroup

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"math"
	"os"
	"os/exec"
	"path"
	"strconv"
	"sync"
	"syscall"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// unit is a transient service of systemd with Delegate=yes, whose cgroup is ours for as long as it runs.
//
// A unit lives as long as there is a process in it, and the caller is not to be moved. A scope would need
// a child of the caller for that, which the caller's program would see and could reap, and which systemd
// would have to move in, a race that it lost at times (systemd issue 36781). So it is a service, whose
// main process waits for the end of a pipe that nobody writes to: cat(1) ends with the caller, however
// that ends, and systemd then kills what is left in the unit and removes its cgroups.
type unit struct {
	name   string
	system bool
	pipe   *os.File // its end is the unit's

	mu   sync.Mutex
	conn *bus // kept once a process had to be moved; nil is none yet
}

// holders are programs that do nothing until their input ends.
var holders = []string{"/usr/bin/cat", "/bin/cat", "/run/current-system/sw/bin/cat"}

// holderGroup is the cgroup of the unit's main process, since there may be none beside ours.
const holderGroup = "holder"

func holder() (string, error) {
	for _, name := range holders {
		if unix.Access(name, unix.X_OK) == nil {
			return name, nil
		}
	}
	return exec.LookPath("cat")
}

// requestUnit asks a manager for a subtree and returns its directory.
func requestUnit(ctx context.Context, p place, system bool) (*unit, string, error) {
	fault := func(op string, err error) (*unit, string, error) {
		return nil, "", &Error{Op: op, Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	program, err := holder()
	if err != nil {
		return fault("find a program that holds a unit", err)
	}
	conn, err := dial(ctx, system)
	if err != nil {
		return fault("connect to systemd", err)
	}
	defer conn.Close()
	r, w, err := endPipe()
	if err != nil {
		return fault("make a pipe", err)
	}
	defer unix.Close(r)
	u := &unit{name: "ringfence-" + strconv.Itoa(os.Getpid()) + "-" + randomName() + ".service", system: system, pipe: w}
	group, err := conn.start(ctx, u.name, u.properties(program, r))
	if err != nil {
		w.Close()
		return fault("start the unit "+u.name, err)
	}
	dir, err := settleUnit(p, group)
	if err != nil {
		w.Close()
		return nil, "", err
	}
	return u, dir, nil
}

func (u *unit) properties(program string, stdin int) []property {
	var all []property
	set := func(name string, value any) { all = append(all, property{name, dbus.MakeVariant(value)}) }
	set("Description", "Sandboxes of process "+strconv.Itoa(os.Getpid()))
	set("Type", "exec") // started once the program is executed
	set("ExecStart", []execStart{{program, []string{program}, false}})
	set("StandardInputFileDescriptor", dbus.UnixFD(stdin))
	set("StandardOutput", "null")
	set("StandardError", "null")
	set("Delegate", true)
	set("TasksMax", uint64(math.MaxUint64)) // each sandbox has its own; the default would be one for all
	set("OOMPolicy", "continue")            // the end of one sandbox is not the end of all
	set("KillSignal", int32(syscall.SIGKILL))
	set("CollectMode", "inactive-or-failed")
	return all
}

// settleUnit finds the directory of a unit's cgroup and moves its main process out of the way.
func settleUnit(p place, group string) (string, error) {
	rel, ok := below(p.root, group)
	if !ok {
		return "", &Error{Op: "find the unit's cgroup", Path: group, Err: errors.New("it is not in the part of the tree that is mounted at " + p.mount)}
	}
	name := path.Join(p.mount, rel)
	d, err := openDir(name)
	if err != nil {
		return "", err
	}
	defer d.close()
	if err := unix.Mkdirat(d.fd(), holderGroup, 0o755); err != nil {
		return "", &Error{Op: "make the cgroup " + holderGroup, Path: name, Err: err}
	}
	procs, err := d.read("cgroup.procs")
	if err != nil {
		return "", &Error{Op: "list processes", Path: name, Err: err}
	}
	h, err := d.open(holderGroup)
	if err != nil {
		return "", err
	}
	defer h.close()
	for _, pid := range numbers(procs) {
		if err := h.addProcess(pid); err != nil && !errors.Is(err, unix.ESRCH) {
			return "", &Error{Op: "move process " + strconv.Itoa(pid), Path: h.path, Err: err}
		}
	}
	return name, nil
}

// enter moves a process into a cgroup of the unit.
func (u *unit) enter(ctx context.Context, subgroup string, pid int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := u.connection(ctx)
	if err != nil {
		return err
	}
	return conn.attach(ctx, u.name, subgroup, pid)
}

// connection returns the connection that is kept, or makes one.
func (u *unit) connection(ctx context.Context) (*bus, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.conn != nil && u.conn.Connected() {
		return u.conn, nil
	}
	conn, err := dial(ctx, u.system)
	if err != nil {
		return nil, err
	}
	u.conn = conn
	return conn, nil
}

// stop ends the unit.
func (u *unit) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	u.pipe.Close() // that ends it too, if the manager does not listen
	conn, err := u.connection(ctx)
	if err != nil {
		return &Error{Op: "connect to systemd", Err: err}
	}
	defer conn.Close()
	if err := conn.stop(ctx, u.name); err != nil {
		return &Error{Op: "stop the unit " + u.name, Err: err}
	}
	return nil
}

// randomName returns eight hexadecimal digits.
func randomName() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}
