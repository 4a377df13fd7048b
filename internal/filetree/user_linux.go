package filetree

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// User is somebody without privilege, by IDs of the caller's namespace.
type User struct {
	UID, GID int
	// DropGroups says that the caller's supplementary groups are not this user's.
	DropGroups bool
}

// actor makes calls with the rights of a User, on a thread of its own: the kernel then judges a path as it
// would for the sandbox. Without it a caller that is root could be made to read, in a directory that is
// bound into the sandbox, a file that nobody inside can read: whoever may write the directory may rename it.
//
// A nil actor makes calls as the caller.
type actor struct {
	calls chan func()
	ended chan struct{}
}

// act returns the actor for u: nil if u is, or if the caller has no more rights than a user.
func act(u *User) (*actor, error) {
	if u == nil {
		return nil, nil
	}
	caps, err := capabilities()
	if err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 && caps == [2]unix.CapUserData{} {
		return nil, nil
	}
	a := &actor{make(chan func()), make(chan struct{})}
	begun := make(chan error)
	go func() {
		defer close(a.ended)
		runtime.LockOSThread()
		restore, err := become(u, caps)
		begun <- err
		if err == nil {
			for call := range a.calls {
				call()
			}
		}
		if restore() == nil {
			runtime.UnlockOSThread()
		} // or else the thread ends with this goroutine
	}()
	if err := <-begun; err != nil {
		<-a.ended
		return nil, fmt.Errorf("become user %d to reach the sandbox's files: %w", u.UID, err)
	}
	return a, nil
}

// do makes a call.
func (a *actor) do(call func()) {
	if a == nil {
		call()
		return
	}
	done := make(chan struct{})
	a.calls <- func() { defer close(done); call() }
	<-done
}

func (a *actor) close() {
	if a != nil {
		close(a.calls)
		<-a.ended
	}
}

// capabilities returns the effective ones of this thread, with what else capset(2) takes. Permitted ones
// alone give no right; they are left out so that none is the zero value.
func capabilities() ([2]unix.CapUserData, error) {
	var data [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &data[0]); err != nil {
		return data, os.NewSyscallError("capget", err)
	}
	if data[0].Effective|data[1].Effective == 0 {
		return [2]unix.CapUserData{}, nil
	}
	return data, nil
}

// become takes the rights of u for files, on this thread alone, and none of the caller's capabilities.
// What it returns takes them back.
func become(u *User, caps [2]unix.CapUserData) (restore func() error, err error) {
	groups, err := unix.Getgroups()
	if err != nil {
		return func() error { return nil }, err
	}
	uid, gid := fsIDs()
	// A change of the IDs makes the program undumpable (commit_creds in kernel/cred.c), which then cannot
	// read its own /proc in a namespace where root is not the host's.
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil {
		return func() error { return nil }, err
	}
	keep := func() error {
		if dumpable != 1 {
			return nil
		}
		return unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
	}
	restore = func() error {
		if caps != [2]unix.CapUserData{} {
			if err := setCapabilities(caps); err != nil {
				return err
			}
		}
		if u.DropGroups {
			if err := unix.Setgroups(groups); err != nil {
				return err
			}
		}
		if err := setFSIDs(uid, gid); err != nil {
			return err
		}
		// The kernel gives back those that concern files with the user ID of root.
		if caps != [2]unix.CapUserData{} {
			if err := setCapabilities(caps); err != nil {
				return err
			}
		}
		return keep()
	}
	if u.DropGroups && !(len(groups) == 0) {
		if err := unix.Setgroups(nil); err != nil {
			return restore, err
		}
	}
	if err := setFSIDs(u.UID, u.GID); err != nil {
		return restore, err
	}
	if caps != [2]unix.CapUserData{} {
		none := caps
		none[0].Effective, none[1].Effective = 0, 0
		if err := setCapabilities(none); err != nil {
			return restore, err
		}
	}
	return restore, keep()
}

func setCapabilities(data [2]unix.CapUserData) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	return os.NewSyscallError("capset", unix.Capset(&header, &data[0]))
}

// fsIDs returns the IDs that the kernel judges access to files by. An ID that is none changes nothing
// (setfsuid(2)).
func fsIDs() (uid, gid int) {
	uid, _ = unix.SetfsuidRetUid(-1)
	gid, _ = unix.SetfsgidRetGid(-1)
	return uid, gid
}

// setFSIDs sets them, the group first: the user ID takes the privilege to. The calls tell of no error.
func setFSIDs(uid, gid int) error {
	_, _ = unix.SetfsgidRetGid(gid)
	_, _ = unix.SetfsuidRetUid(uid)
	if u, g := fsIDs(); u != uid || g != gid {
		return os.NewSyscallError("setfsuid", unix.EPERM)
	}
	return nil
}
