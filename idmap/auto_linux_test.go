package idmap

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// someone returns files that set IDs aside for this user, and the places of its locks.
func someone(t *testing.T, subuid, subgid string) (files, []place) {
	t.Helper()
	dir := t.TempDir()
	f := files{passwd: filepath.Join(dir, "passwd"), subuid: filepath.Join(dir, "subuid"), subgid: filepath.Join(dir, "subgid")}
	for name, text := range map[string]string{
		f.passwd: fmt.Sprintf("ann:x:%d:1000::/:/bin/sh\n", os.Geteuid()), f.subuid: subuid, f.subgid: subgid,
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return f, []place{{dir, "ringfence", true}}
}

// take reserves n IDs until the end of the test.
func take(t *testing.T, n int, f files, places []place) *Reservation {
	t.Helper()
	r, err := auto(n, os.Geteuid(), f, places)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func TestReservationsShareNoID(t *testing.T) {
	// By name and by number, overlapping, in pieces of different sizes.
	f, places := someone(t, fmt.Sprintf("ann:1000:50\n%d:1040:60\nbob:5000:100\nann:2000:7\n", os.Geteuid()), "ann:9000:107\n")
	users, groups := map[int]bool{}, map[int]bool{}
	note := func(r *Reservation, n int) {
		t.Helper()
		for ids, m := range map[*map[int]bool]Map{&users: r.UIDs, &groups: r.GIDs} {
			if err := m.Validate(); err != nil {
				t.Error(err)
			}
			for i := range n {
				id, ok := m.HostID(i)
				if !ok || (*ids)[id] {
					t.Errorf("ID %d is %d, %v: not mapped, or taken twice", i, id, ok)
				}
				(*ids)[id] = true
			}
			if _, ok := m.HostID(n); ok {
				t.Errorf("more than %d IDs", n)
			}
		}
	}
	for range 5 {
		note(take(t, 20, f, places), 20)
	}
	note(take(t, 5, f, places), 5)
	note(take(t, 2, f, places), 2)
	for id := range users {
		if id < 1000 || id > 1099 && id < 2000 || id > 2006 {
			t.Errorf("user %d is not set aside", id)
		}
	}
	_, err := auto(1, os.Geteuid(), f, places)
	var failed *AutoError
	if !errors.Is(err, ErrInUse) || !errors.As(err, &failed) || failed.IDs != 1 || !strings.Contains(failed.Remedy, "usermod") {
		t.Errorf("all are taken: %v", err)
	}
}

func TestIDsInPiecesAreMappedInOrder(t *testing.T) {
	f, places := someone(t, "ann:1000:50\nann:2000:30\n", "ann:5000:80\n")
	r := take(t, 70, f, places)
	if want := (Map{{0, 1000, 50}, {50, 2000, 20}}); !r.UIDs.Equal(want) || !r.GIDs.Equal(Map{{0, 5000, 70}}) {
		t.Errorf("%v, %v", r.UIDs, r.GIDs)
	}
}

func TestClosedReservationIsGivenBackLast(t *testing.T) {
	f, places := someone(t, "ann:1000:30\n", "ann:1000:30\n")
	var firsts []int
	for range 4 {
		r := take(t, 10, f, places)
		firsts = append(firsts, r.UIDs[0].HostID)
		for range 2 {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if want := "[1000 1010 1020 1000]"; fmt.Sprint(firsts) != want {
		t.Errorf("%v, want %s", firsts, want)
	}
	if left, err := filepath.Glob(filepath.Join(places[0].base, "ringfence", prefix+"*")); err != nil || left != nil {
		t.Errorf("%q is left, %v", left, err)
	}
}

func TestTooFewSubordinateIDs(t *testing.T) {
	f, places := someone(t, "ann:100000:30\nbob:200000:10\n", "ann:1000:20\n")
	for n, want := range map[int]string{
		0:  "not a number from 1",
		-1: "not a number from 1",
		21: "usermod --add-subuids 200010-265545 --add-subgids 200010-265545 ann",
	} {
		_, err := auto(n, os.Geteuid(), f, places)
		if err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, ErrNoSubordinate) != (n > 0) {
			t.Errorf("%d: %v, want %q", n, err, want)
		}
	}
	f.subuid, f.passwd = filepath.Join(t.TempDir(), "absent"), "/nonexistent"
	_, err := auto(1, os.Geteuid(), f, places)
	if !errors.Is(err, ErrNoSubordinate) || !strings.Contains(err.Error(), fmt.Sprintf("append \"%d:", os.Geteuid())) {
		t.Errorf("no file: %v", err)
	}
	if _, err := os.Stat(filepath.Join(places[0].base, "ringfence")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory was made for nothing: %v", err)
	}
	f, places = someone(t, "ann:0:30\n", "ann:1000:20\n")
	var line *LineError
	if _, err := auto(1, os.Geteuid(), f, places); !errors.As(err, &line) || line.Line != 1 {
		t.Errorf("a bad line: %v", err)
	}
}

// In a container, files may set IDs aside that its user namespace does not have.
func TestIDsThatTheCallersNamespaceLacksAreNotTaken(t *testing.T) {
	f, places := someone(t, "ann:100000:65536\n", "ann:100000:65536\n")
	f.uidMap, f.gidMap = filepath.Join(places[0].base, "uid_map"), filepath.Join(places[0].base, "gid_map")
	for name, text := range map[string]string{
		f.uidMap: "         0       1000          1\n         1     100000     110000\n", // up to 110000
		f.gidMap: "100005 500000 20\n100025 900000 100000\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := take(t, 1000, f, places)
	if want := (Map{{0, 100005, 1000}}); r.UIDs[0].HostID != 100000 || !r.GIDs.Equal(want) {
		t.Errorf("%v, %v, want groups %v", r.UIDs, r.GIDs, want)
	}
	_, err := auto(10002, os.Geteuid(), f, places)
	var failed *AutoError
	if !errors.As(err, &failed) || !errors.Is(err, ErrNoSubordinate) || !strings.Contains(err.Error(), "10001 user IDs") || !strings.Contains(failed.Remedy, "/proc/self/uid_map") {
		t.Errorf("%v", err)
	}
	f.uidMap = "/nonexistent"
	if _, err := auto(1, os.Geteuid(), f, places); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestDirectoryOfLocksIsPrivate(t *testing.T) {
	f, places := someone(t, "ann:1000:30\n", "ann:1000:30\n")
	dir := filepath.Join(places[0].base, places[0].name)
	for name, test := range map[string]struct {
		make func() error
		want string
	}{
		"open":    {func() error { return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o770)) }, "0770"},
		"a link":  {func() error { return os.Symlink(t.TempDir(), dir) }, "not a directory"},
		"a file":  {func() error { return os.WriteFile(dir, nil, 0o700) }, "not a directory"},
		"a fifo":  {func() error { return unix.Mkfifo(dir, 0o700) }, "not a directory"},
		"all one": {func() error { return os.Mkdir(dir, 0o700) }, ""}, // the control
	} {
		if err := test.make(); err != nil {
			t.Fatal(err)
		}
		r, err := auto(1, os.Geteuid(), f, places)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), dir)) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
		if err == nil {
			r.Close()
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	// A base that belongs to somebody else is passed over, be it in the environment.
	other := place{"/proc", "ringfence", true}
	if os.Geteuid() == 0 {
		t.Fatal("sandboxtest.Main runs this test unprivileged")
	}
	take(t, 1, f, append([]place{other, {"/nonexistent", "ringfence", true}}, places...))
	// One that must be there and is not is an error.
	if _, err := auto(1, os.Geteuid(), f, []place{{"/nonexistent", "x", false}}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestRootTrustsNoDirectoryOfAnother(t *testing.T) {
	f, places := someone(t, "ann:1000:30\n", "ann:1000:30\n")
	dir := filepath.Join(places[0].base, places[0].name)
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, 1000, 1000)); err != nil {
		t.Fatal(err)
	}
	if _, err := auto(1, 0, f, places); err == nil || !strings.Contains(err.Error(), "belongs to user 1000") {
		t.Errorf("%v", err)
	}
}

func TestFileOfAReservationThatIsNotUnderstood(t *testing.T) {
	f, places := someone(t, "ann:1000:30\n", "ann:1000:30\n")
	take(t, 10, f, places)
	names, err := filepath.Glob(filepath.Join(places[0].base, "ringfence", prefix+"*"))
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	info, err := os.Stat(names[0])
	if err != nil || info.Mode() != fs.ModeSticky|0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := os.WriteFile(names[0], []byte("uid 1 x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := auto(1, os.Geteuid(), f, places); err == nil || !strings.Contains(err.Error(), names[0]) {
		t.Errorf("%v", err)
	}
}

func TestManyReserveAtOnce(t *testing.T) {
	f, places := someone(t, "ann:1000:640\n", "ann:70000:640\n")
	var mu sync.Mutex
	held := map[int]bool{}
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 20 {
				r, err := auto(40, os.Geteuid(), f, places)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for i := range 40 {
					id, _ := r.UIDs.HostID(i)
					if held[id] {
						t.Errorf("user %d is taken twice", id)
					}
					held[id] = true
				}
				mu.Unlock()
				mu.Lock()
				for i := range 40 {
					id, _ := r.UIDs.HostID(i)
					delete(held, id)
				}
				mu.Unlock()
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// holdEnv tells a copy of this program to reserve IDs below a directory and hold them.
const holdEnv = "RINGFENCE_IDMAP_HOLD"

// TestInnerHold is what the test below starts.
func TestInnerHold(t *testing.T) {
	dir := os.Getenv(holdEnv)
	if dir == "" {
		return
	}
	f := files{passwd: filepath.Join(dir, "passwd"), subuid: filepath.Join(dir, "subuid"), subgid: filepath.Join(dir, "subgid")}
	r, err := auto(10, os.Geteuid(), f, []place{{dir, "ringfence", true}})
	if err != nil {
		t.Fatal(err)
	}
	// A child that outlives this process must not hold the lock.
	if err := exec.Command("sleep", "1000").Start(); err != nil {
		t.Fatal(err)
	}
	fmt.Println("holds", r.UIDs[0].HostID)
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // until it is killed
}

func TestReservationOfAnotherProgramEndsWithIt(t *testing.T) {
	f, places := someone(t, "ann:1000:20\n", "ann:1000:20\n")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestInnerHold$")
	cmd.Env = append(os.Environ(), holdEnv+"="+places[0].base)
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) }()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "holds 1000\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if r := take(t, 10, f, places); r.UIDs[0].HostID != 1010 {
		t.Errorf("%v", r.UIDs)
	}
	if _, err := auto(10, os.Geteuid(), f, places); !errors.Is(err, ErrInUse) {
		t.Errorf("the other program holds the rest: %v", err)
	}
	sleeper := children(t, cmd.Process.Pid)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	if r := take(t, 10, f, places); r.UIDs[0].HostID != 1000 {
		t.Errorf("%v", r.UIDs)
	}
	for _, pid := range sleeper {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Error(err)
		}
		if _, err := unix.Wait4(pid, nil, 0, nil); err != nil {
			t.Error(err)
		}
	}
	if len(sleeper) != 1 {
		t.Errorf("%d children outlived it", len(sleeper))
	}
}

func children(t *testing.T, pid int) []int {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	var all []int
	for _, list := range lists {
		data, err := os.ReadFile(list)
		if err != nil {
			t.Fatal(err)
		}
		for _, field := range strings.Fields(string(data)) {
			n, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, n)
		}
	}
	return all
}

func TestPlacesOfLocks(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", "/x")
	t.Setenv("TMPDIR", "/t")
	if got, want := fmt.Sprint(lockPlaces(7)), "[{/x ringfence true} {/run/user/7 ringfence true} {/t ringfence-7 false}]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	t.Setenv("XDG_RUNTIME_DIR", "x")
	if got, want := fmt.Sprint(lockPlaces(7)), "[{/run/user/7 ringfence true} {/t ringfence-7 false}]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
