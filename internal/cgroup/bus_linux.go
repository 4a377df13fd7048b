package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// The names of systemd on the bus (org.freedesktop.systemd1(5)).
const (
	systemdName    = "org.freedesktop.systemd1"
	systemdPath    = dbus.ObjectPath("/org/freedesktop/systemd1")
	systemdManager = systemdName + ".Manager"
)

// patience is how long a manager may take for what it is asked to.
const patience = 20 * time.Second

// address is where a manager listens.
type address struct {
	bus    string // as D-Bus writes it
	direct bool   // the manager itself, with no bus between
}

// addresses returns where the manager of the user, or of the system, may be reached. The manager's own
// socket comes first: it needs no bus, and a host may have none.
func addresses(system bool, uid int, getenv func(string) string) []address {
	if system {
		return []address{
			{"unix:path=/run/systemd/private", true},
			{"unix:path=/run/dbus/system_bus_socket", false},
		}
	}
	dir := getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		dir = "/run/user/" + strconv.Itoa(uid) // pam_systemd(8)
	}
	all := []address{{"unix:path=" + dbus.EscapeBusAddressValue(filepath.Join(dir, "systemd/private")), true}}
	if bus := getenv("DBUS_SESSION_BUS_ADDRESS"); bus != "" {
		return append(all, address{bus, false})
	}
	return append(all, address{"unix:path=" + dbus.EscapeBusAddressValue(filepath.Join(dir, "bus")), false})
}

// bus is a connection to a manager.
type bus struct {
	*dbus.Conn
	direct bool
}

// dial connects to a manager. Whoever dials closes.
func dial(ctx context.Context, system bool) (*bus, error) {
	var failed []error
	for _, a := range addresses(system, os.Geteuid(), os.Getenv) {
		conn, err := a.dial(ctx)
		if err == nil {
			return conn, nil
		}
		failed = append(failed, fmt.Errorf("%s: %w", a.bus, err))
	}
	return nil, oneLine(failed...)
}

func (a address) dial(ctx context.Context) (*bus, error) {
	conn, err := dbus.Dial(a.bus)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() }) // what comes knows no ctx
	b := &bus{conn, a.direct}
	err = conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Geteuid()))})
	if err == nil && !a.direct {
		err = conn.Hello()
	}
	if err == nil {
		err = b.ping(ctx)
	}
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return b, nil
}

// pingTick is when a manager is asked again, at most pings times.
const (
	pingTick = 50 * time.Millisecond
	pings    = 40
)

// ping waits until a manager answers; a bus may have none.
//
// A manager that is spoken to directly may read the first message together with the last line of the
// authentication. Then it lets the message lie until something else comes, and closes the connection if a
// descriptor came along (bus_socket_auth_verify_server and bus_socket_read_auth of sd-bus; systemd pull
// request 5520). So the first messages are ones that may be lost.
func (b *bus) ping(ctx context.Context) error {
	answers := make(chan *dbus.Call, pings) // with room for every answer, or the connection would stop
	again := time.NewTicker(pingTick)
	defer again.Stop()
	for asked := 0; ; asked++ {
		if asked == 0 || b.direct && asked < pings {
			b.Object(systemdName, systemdPath).GoWithContext(ctx, "org.freedesktop.DBus.Peer.Ping", 0, answers)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case call := <-answers:
			return call.Err
		case <-again.C:
		}
	}
}

// property is a setting of a unit, as the manager's methods take it: "(sv)".
type property struct {
	Name  string
	Value dbus.Variant
}

// extraUnit is the type of an argument that is not used: "(sa(sv))".
type extraUnit struct {
	Name       string
	Properties []property
}

// execStart is a command line: "(sasb)".
type execStart struct {
	Path          string
	Args          []string
	IgnoreFailure bool
}

// jobs hears of the ends of the manager's jobs.
type jobs chan *dbus.Signal

func (b *bus) listen(ctx context.Context) (jobs, error) {
	if !b.direct {
		err := b.AddMatchSignalContext(ctx, dbus.WithMatchInterface(systemdManager), dbus.WithMatchMember("JobRemoved"))
		if err != nil {
			return nil, err
		}
	}
	// A manager that nobody has asked to sends no signals to a bus.
	if err := b.manager(ctx, "Subscribe").Err; err != nil && !b.direct {
		return nil, err
	}
	j := make(jobs, 16)
	b.Signal(j)
	return j, nil
}

// await waits for the end of a job.
func (j jobs) await(ctx context.Context, job dbus.ObjectPath) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case s, ok := <-j:
			if !ok {
				return dbus.ErrClosed
			}
			var id uint32
			var path dbus.ObjectPath
			var unit, result string
			if s.Name != systemdManager+".JobRemoved" || dbus.Store(s.Body, &id, &path, &unit, &result) != nil || path != job {
				continue
			}
			if result != "done" {
				return fmt.Errorf("the job of %s ended with %q", unit, result)
			}
			return nil
		}
	}
}

// manager calls a method of the manager.
func (b *bus) manager(ctx context.Context, method string, args ...any) *dbus.Call {
	return b.Object(systemdName, systemdPath).CallWithContext(ctx, systemdManager+"."+method, 0, args...)
}

// property reads a property of a unit, by the kind of the unit: "Service".
func (b *bus) property(ctx context.Context, unit, kind, name string, to any) error {
	var object dbus.ObjectPath
	if err := b.manager(ctx, "GetUnit", unit).Store(&object); err != nil {
		return err
	}
	return b.Object(systemdName, object).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0,
		systemdName+"."+kind, name).Store(to)
}

// start starts a transient service and returns the path of its cgroup, in the manager's own view.
func (b *bus) start(ctx context.Context, name string, properties []property) (string, error) {
	j, err := b.listen(ctx)
	if err != nil {
		return "", err
	}
	var job dbus.ObjectPath
	if err := b.manager(ctx, "StartTransientUnit", name, "fail", properties, []extraUnit{}).Store(&job); err != nil {
		return "", err
	}
	if err := j.await(ctx, job); err != nil {
		return "", err
	}
	var group string
	err = b.property(ctx, name, "Service", "ControlGroup", &group)
	if err == nil && group == "" {
		err = errors.New("the unit has no cgroup")
	}
	return group, err
}

// stop stops a unit and waits until it is gone, with its processes and its cgroup.
func (b *bus) stop(ctx context.Context, name string) error {
	j, err := b.listen(ctx)
	if err != nil {
		return err
	}
	var job dbus.ObjectPath
	err = b.manager(ctx, "StopUnit", name, "replace").Store(&job)
	var known dbus.Error
	if errors.As(err, &known) && known.Name == systemdName+".NoSuchUnit" {
		return nil
	}
	if err != nil {
		return err
	}
	return j.await(ctx, job)
}

// attach moves a process into a cgroup of a unit. The manager of a user asks that of the system, which may
// move processes from anywhere, if they belong to the user.
func (b *bus) attach(ctx context.Context, unit, subgroup string, pid int) error {
	return b.manager(ctx, "AttachProcessesToUnit", unit, "/"+subgroup, []uint32{uint32(pid)}).Err
}

// isDelegated asks whether a unit has Delegate=yes. The unit must be the one whose cgroup is dir, and not
// one of that name elsewhere.
func (b *bus) isDelegated(ctx context.Context, unit, dir string) (bool, error) {
	kind := map[string]string{".service": "Service", ".scope": "Scope"}[path.Ext(unit)]
	if kind == "" {
		return false, nil // the others cannot be
	}
	var group string
	if err := b.property(ctx, unit, kind, "ControlGroup", &group); err != nil {
		return false, err
	}
	if group == "" || !strings.HasSuffix(dir, group) {
		return false, nil
	}
	var yes bool
	err := b.property(ctx, unit, kind, "Delegate", &yes)
	return yes, err
}

// endPipe returns a pipe whose reader learns of the writer's end. It blocks, unlike os.Pipe's: O_NONBLOCK
// would be the reader's too, who does not know.
func endPipe() (r int, w *os.File, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return -1, nil, os.NewSyscallError("pipe2", err)
	}
	return p[0], os.NewFile(uintptr(p[1]), "lifeline of the unit"), nil
}
