package idmap

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Reservation is n subordinate IDs of the caller's user that no other Reservation of this user has, in
// whatever program, until Close or the end of this program, however it ends.
//
// UIDs and GIDs map the IDs 0 to n-1 inside, so that root exists there: for a Spec of package sandbox, whose
// User says whom the command runs as. They are mostly of one range each, and of more where that many IDs are
// free only in pieces. The caller's own IDs are not among them. They may be appended, under a number that
// no range has; then all sandboxes that are given them share these.
type Reservation struct {
	UIDs, GIDs Map

	mu   sync.Mutex
	lock int // descriptor of the locked file; -1 is closed. A number, since a file would be closed if it were forgotten
	dir  *os.File
	name string
}

// Auto reserves n subordinate IDs, user and group IDs alike, from the ranges that OfCaller returns. The
// caller closes the Reservation when no process has these IDs any more: when the sandbox has ended.
//
// It is held by a lock on a file in $XDG_RUNTIME_DIR/ringfence, where this directory belongs to the user, or
// else in /run/user/UID, or else in ringfence-UID in os.TempDir. Programs that have it in different places
// do not know of one another; nor do other programs, such as podman, that use the same ranges by rules of
// their own. The sandboxes must not see that directory.
//
// An error is an *AutoError: ErrNoSubordinate if fewer than n are set aside for the user, ErrInUse if fewer
// than n are free.
func Auto(n int) (*Reservation, error) {
	uid := os.Geteuid()
	return auto(n, uid, etc(), lockPlaces(uid))
}

// place is where the directory of locks may be.
type place struct {
	base, name string
	own        bool // base must be the user's
}

func lockPlaces(uid int) []place {
	var all []place
	if base := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(base) {
		all = append(all, place{base, "ringfence", true})
	}
	return append(all,
		place{"/run/user/" + strconv.Itoa(uid), "ringfence", true},
		place{os.TempDir(), "ringfence-" + strconv.Itoa(uid), false})
}

func auto(n, uid int, f files, places []place) (*Reservation, error) {
	failed := &AutoError{IDs: n}
	if n < 1 || int64(n) > maxID {
		failed.Err = fmt.Errorf("not a number from 1 to %d", maxID)
		return nil, failed
	}
	s, err := f.read(uid)
	if err != nil {
		failed.Err = err
		return nil, failed
	}
	set := min(count(union(s.uids)), count(union(s.gids)))
	if s.uids, err = existing(s.uids, f.uidMap); err == nil {
		s.gids, err = existing(s.gids, f.gidMap)
	}
	if err != nil {
		failed.Err = err
		return nil, failed
	}
	if least := min(count(s.uids), count(s.gids)); least < int64(n) {
		failed.Err = fmt.Errorf("%w: %s has %d user IDs and %d group IDs", ErrNoSubordinate, s.who, count(s.uids), count(s.gids))
		failed.Remedy = addRemedy(s.who, n, s.all)
		if set >= int64(n) {
			failed.Remedy = "more are set aside than the caller's user namespace has, by /proc/self/uid_map and gid_map: start its container with more IDs"
		}
		return nil, failed
	}
	d, err := openLocks(places, uid)
	if err != nil {
		failed.Err, failed.Remedy = err, "a directory of the user's own, with mode 0700, must be possible there"
		return nil, failed
	}
	r, err := d.reserve(n, s)
	if err != nil {
		d.Close()
		failed.Err = err
		if errors.Is(err, ErrInUse) {
			failed.Remedy = "close a Reservation, or more IDs " + addRemedy(s.who, n, s.all)
		}
		return nil, failed
	}
	return r, nil
}

// Close gives the IDs back. It may be called more than once.
func (r *Reservation) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lock < 0 {
		return nil
	}
	// The name goes while the lock is held: nobody else's file can have it.
	err := unix.Unlinkat(int(r.dir.Fd()), r.name, 0)
	if errors.Is(err, unix.ENOENT) {
		err = nil // somebody has cleaned up
	}
	err = errors.Join(os.NewSyscallError("unlinkat", err), os.NewSyscallError("close", unix.Close(r.lock)), r.dir.Close())
	r.lock = -1
	return err
}

// locks is an open directory of reservations.
type locks struct{ *os.File }

// openLocks opens the directory at the first of places whose base is there.
func openLocks(places []place, uid int) (locks, error) {
	for _, p := range places {
		base, err := unix.Open(p.base, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		var st unix.Stat_t
		if err == nil {
			err = unix.Fstat(base, &st)
		}
		// The runtime directory of another user stays in the environment after su(1).
		if p.own && (err != nil || int(st.Uid) != uid) {
			if base >= 0 {
				unix.Close(base)
			}
			continue
		}
		if err != nil {
			return locks{}, &os.PathError{Op: "open", Path: p.base, Err: err}
		}
		d, err := openPrivate(base, p.name, uid)
		unix.Close(base)
		if err != nil {
			return locks{}, &os.PathError{Op: "use", Path: filepath.Join(p.base, p.name), Err: err}
		}
		return locks{os.NewFile(uintptr(d), filepath.Join(p.base, p.name))}, nil
	}
	return locks{}, errors.New("there is no directory for locks")
}

// openPrivate makes the directory name, if it is not there, and opens it. In a directory that others can
// write to it may be theirs.
func openPrivate(base int, name string, uid int) (int, error) {
	if err := unix.Mkdirat(base, name, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, err
	}
	d, err := unix.Openat(base, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(d, &st); err == nil && int(st.Uid) != uid {
		err = fmt.Errorf("it belongs to user %d", st.Uid)
	}
	if err == nil && st.Mode&0o077 != 0 {
		err = fmt.Errorf("its mode is %04o: others may enter it", st.Mode&0o7777)
	}
	if err != nil {
		unix.Close(d)
		return -1, err
	}
	return d, nil
}

// lockFile is the name of the file whose lock is held while one is chosen. It holds where to look next.
const (
	lockFile = "lock"
	prefix   = "range-"
	openFile = unix.O_RDWR | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	// Sticky tells those who remove old files that these are in use: the XDG base directory
	// specification, and tmpfiles.d(5) for what is below /tmp.
	fileMode = unix.S_ISVTX | 0o600
)

// reserve takes n IDs of each kind. The Reservation has d then.
func (d locks) reserve(n int, s subordinates) (*Reservation, error) {
	at, err := d.create(lockFile, 0)
	if err != nil {
		return nil, err
	}
	defer at.Close()
	if err := flock(at, unix.LOCK_EX); err != nil {
		return nil, err
	}
	uids, gids, err := d.taken()
	if err != nil {
		return nil, err
	}
	var nextUID, nextGID int
	text, err := io.ReadAll(io.LimitReader(at, 1<<10))
	if err != nil {
		return nil, err
	}
	_, _ = fmt.Sscan(string(text), &nextUID, &nextGID) // an empty file is a new one: 0 and 0

	r := &Reservation{
		UIDs: pick(without(s.uids, uids), n, nextUID),
		GIDs: pick(without(s.gids, gids), n, nextGID),
		dir:  d.File, name: prefix + rand.Text(),
	}
	if r.UIDs == nil || r.GIDs == nil {
		return nil, fmt.Errorf("%w: %d user IDs and %d group IDs are free", ErrInUse, count(without(s.uids, uids)), count(without(s.gids, gids)))
	}
	if r.lock, err = d.note(r.name, formatTaken(r.UIDs, r.GIDs)); err != nil {
		return nil, err
	}
	// Only a preference is lost if this fails.
	if err := at.Truncate(0); err == nil {
		_, _ = at.WriteAt(fmt.Appendf(nil, "%d %d\n", next(r.UIDs), next(r.GIDs)), 0)
	}
	return r, nil
}

// next returns the ID behind the last range of m.
func next(m Map) int {
	last := m[len(m)-1]
	return last.HostID + last.Size
}

// note makes the file of a reservation and returns its descriptor, locked.
func (d locks) note(name, text string) (int, error) {
	f, err := d.create(name, unix.O_EXCL)
	if err != nil {
		return -1, err
	}
	defer f.Close()
	// The lock is of what all descriptors of one opening share (flock(2)): it is this one's too.
	if err = flock(f, unix.LOCK_EX|unix.LOCK_NB); err == nil {
		_, err = f.WriteString(text)
	}
	lock := -1
	if err == nil {
		lock, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	}
	if err != nil {
		_ = unix.Unlinkat(int(d.Fd()), name, 0) // or the next one removes it, since nobody holds it
		return -1, err
	}
	return lock, nil
}

// create opens a file, and makes it if it is not there.
func (d locks) create(name string, flags int) (*os.File, error) {
	fd, err := unix.Openat(int(d.Fd()), name, openFile|unix.O_CREAT|flags, 0o600)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: filepath.Join(d.Name(), name), Err: err}
	}
	if err := unix.Fchmod(fd, fileMode); err != nil {
		unix.Close(fd)
		return nil, &os.PathError{Op: "chmod", Path: filepath.Join(d.Name(), name), Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// taken returns the ranges that others hold, and removes the files that nobody holds.
//
// Preconditions: the caller has the lock of the directory, so that no file is made meanwhile.
func (d locks) taken() (uids, gids []Subrange, err error) {
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		u, g, err := d.read(name)
		if err != nil {
			return nil, nil, &os.PathError{Op: "read", Path: filepath.Join(d.Name(), name), Err: err}
		}
		uids, gids = append(uids, u...), append(gids, g...)
	}
	return uids, gids, nil
}

func (d locks) read(name string) (uids, gids []Subrange, err error) {
	fd, err := unix.Openat(int(d.Fd()), name, openFile, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil, nil // it was given back
	}
	if err != nil {
		return nil, nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	switch err := flock(f, unix.LOCK_EX|unix.LOCK_NB); {
	case err == nil: // who had it has ended
		if err := unix.Unlinkat(int(d.Fd()), name, 0); err != nil && !errors.Is(err, unix.ENOENT) {
			return nil, nil, err
		}
		return nil, nil, nil
	case !errors.Is(err, unix.EWOULDBLOCK):
		return nil, nil, err
	}
	const most = 1 << 16 // more than MaxRanges lines of each kind
	text, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return nil, nil, err
	}
	return parseTaken(string(text))
}

// flock waits for the lock through the signals that Go's runtime sends to its threads.
func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("flock", err)
		}
	}
}
