package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// The names of systemd on the bus (org.freedesktop.systemd1(5)).
const (
	systemdName    = "org.freedesktop.systemd1"
	systemdPath    = dbus.ObjectPath("/org/freedesktop/systemd1")
	systemdManager = systemdName + ".Manager"
)

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

// dial connects to a manager; the connection ends with ctx. Whoever dials closes.
func dial(ctx context.Context, system bool) (*dbus.Conn, error) {
	var failed []error
	for _, a := range addresses(system, os.Geteuid(), os.Getenv) {
		conn, err := a.dial(ctx)
		if err == nil {
			return conn, nil
		}
		failed = append(failed, fmt.Errorf("%s: %w", a.bus, err))
	}
	return nil, errors.Join(failed...)
}

func (a address) dial(ctx context.Context) (*dbus.Conn, error) {
	conn, err := dbus.Dial(a.bus, dbus.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	err = conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Geteuid()))})
	if err == nil && !a.direct {
		err = conn.Hello()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
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
type jobs struct {
	conn    *dbus.Conn
	signals chan *dbus.Signal
}

func listen(ctx context.Context, conn *dbus.Conn) (*jobs, error) {
	// Signals come to everybody on a direct connection, and to those who asked on a bus.
	if conn.Names() != nil {
		err := conn.AddMatchSignalContext(ctx, dbus.WithMatchInterface(systemdManager), dbus.WithMatchMember("JobRemoved"))
		if err != nil {
			return nil, err
		}
		if err := manager(conn).CallWithContext(ctx, systemdManager+".Subscribe", 0).Err; err != nil {
			return nil, err
		}
	}
	j := &jobs{conn, make(chan *dbus.Signal, 16)}
	conn.Signal(j.signals)
	return j, nil
}

// await waits for the end of a job.
func (j *jobs) await(ctx context.Context, job dbus.ObjectPath) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case s, ok := <-j.signals:
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

func manager(conn *dbus.Conn) dbus.BusObject { return conn.Object(systemdName, systemdPath) }

// startUnit starts a transient unit and returns the path of its cgroup, in the manager's own view.
func startUnit(ctx context.Context, conn *dbus.Conn, name string, properties []property) (string, error) {
	j, err := listen(ctx, conn)
	if err != nil {
		return "", err
	}
	var job dbus.ObjectPath
	call := manager(conn).CallWithContext(ctx, systemdManager+".StartTransientUnit", 0, name, "fail", properties, []extraUnit{})
	if err := call.Store(&job); err != nil {
		return "", err
	}
	if err := j.await(ctx, job); err != nil {
		return "", err
	}
	var unit dbus.ObjectPath
	if err := manager(conn).CallWithContext(ctx, systemdManager+".GetUnit", 0, name).Store(&unit); err != nil {
		return "", err
	}
	var group string
	err = conn.Object(systemdName, unit).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0,
		systemdName+".Service", "ControlGroup").Store(&group)
	if err == nil && group == "" {
		err = errors.New("the unit has no cgroup")
	}
	return group, err
}

// stopUnit stops a unit and waits until it is gone, with its processes and its cgroup.
func stopUnit(ctx context.Context, conn *dbus.Conn, name string) error {
	j, err := listen(ctx, conn)
	if err != nil {
		return err
	}
	var job dbus.ObjectPath
	err = manager(conn).CallWithContext(ctx, systemdManager+".StopUnit", 0, name, "replace").Store(&job)
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
func attach(ctx context.Context, conn *dbus.Conn, name, subgroup string, pid int) error {
	return manager(conn).CallWithContext(ctx, systemdManager+".AttachProcessesToUnit", 0,
		name, "/"+subgroup, []uint32{uint32(pid)}).Err
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
