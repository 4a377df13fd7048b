package sandbox

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/testing/sandboxtest"
	"github.com/ringfence-go/ringfence/testing/victim"
)

// Facts about a sandbox without user namespaces. Here they are merely not asked for, so that Landlock's older
// versions can be had too; bare_linux_test.go takes them away.

// bareHost is this host as one without user namespaces, and with this version of Landlock, which the kernel gives
// with every later one; 0 is its own.
func bareHost(t testing.TB, abi int) *Host {
	t.Helper()
	h, err := readHost()
	if err != nil {
		t.Fatal(err)
	}
	if h.facts.Landlock < max(abi, 1) {
		sandboxtest.Skip(t, "landlock", "Landlock ABI "+strconv.Itoa(h.facts.Landlock))
	}
	h.refusal = &UnsupportedError{Feature: UserNamespace, Needs: "a host that has some"}
	if abi > 0 {
		h.facts.Landlock = abi
	}
	return h
}

// bareABIs are the versions of Landlock at which the sandbox changes, up to the host's.
func bareABIs(t testing.TB) []int {
	t.Helper()
	own := bareHost(t, 0).facts.Landlock
	return slices.DeleteFunc([]int{1, abiTruncate, abiScope, own}, func(abi int) bool { return abi > own })
}

func bareCommand(t testing.TB, abi int, spec Spec) *Cmd {
	t.Helper()
	spec.AllowMissing = append(slices.Clone(bareFeatures), spec.AllowMissing...)
	c := Command(t.Context(), spec)
	c.on = bareHost(t, abi)
	return c
}

func runBare(t testing.TB, abi int, spec Spec) *Result {
	t.Helper()
	c := bareCommand(t, abi, spec)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	r, err := c.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// bareVictim returns a link to the test's own program, and the mounts by which it runs where it is.
func bareVictim(t testing.TB) (path string, mounts []Mount) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), victim.Path)
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	return path, []Mount{{Source: self, Target: self}}
}

// insideBare is inside of a sandbox without namespaces.
func insideBare(t testing.TB, abi int, change func(*Spec), acts ...string) outcomes {
	t.Helper()
	path, mounts := bareVictim(t)
	spec := Spec{Args: append([]string{path}, acts...), Mounts: mounts}
	if change != nil {
		change(&spec)
	}
	var out, errs bytes.Buffer
	spec.Stdout, spec.Stderr = &out, &errs
	if r := runBare(t, abi, spec); r.Err() != nil {
		t.Fatalf("the victim: %v: %s%s", r, errs.Bytes(), out.Bytes())
	}
	return told(t, out.Bytes())
}

// atEach runs a test with each version of Landlock.
func atEach(t *testing.T, do func(t *testing.T, abi int)) {
	for _, abi := range bareABIs(t) {
		t.Run("ABI "+strconv.Itoa(abi), func(t *testing.T) { t.Parallel(); do(t, abi) })
	}
}

func bind(path string, writable bool) func(*Spec) {
	return func(s *Spec) { s.Mounts = append(s.Mounts, Mount{Source: path, Target: path, Writable: writable}) }
}

// Seen to fail with a rule for / in resolve_bare.go.
func TestWithoutNamespacesOnlyFilesOfTheSpecAreOpened(t *testing.T) {
	file, contents := hostSecret(t)
	dir := filepath.Dir(file)
	acts := []string{"read:" + file, "openw:" + file, "list:" + dir, "create:" + dir + "/new", "mkdir:" + dir + "/dir"}
	for _, act := range acts {
		outside(t, act).want(act, "ok")
		os.RemoveAll(dir + "/dir")
	}
	if err := os.WriteFile(file, []byte(contents), 0o666); err != nil {
		t.Fatal(err)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	atEach(t, func(t *testing.T, abi int) {
		hidden := append(slices.Clone(acts), "list:"+home, "read:/etc/passwd", "list:/etc", "list:/", "read:/proc/self/environ", "list:/proc", "list:/tmp", "list:/dev", "openw:/usr/bin/env")
		got := insideBare(t, abi, nil, append(hidden, "open:/usr/bin/env", "list:/usr/bin", "openw:/dev/null", "read:/etc/ld.so.cache")...)
		for _, act := range hidden {
			got.want(act, "EACCES")
		}
		for _, act := range []string{"open:/usr/bin/env", "list:/usr/bin", "openw:/dev/null"} {
			got.want(act, "ok")
		}
		got.want("read:/etc/ld.so.cache", "ok", "ENOENT") // as the host has one
		got = insideBare(t, abi, bind(dir, false), acts...)
		if o := got.of("read:" + file); o.Detail != contents {
			t.Error(o)
		}
		got.want("list:"+dir, "ok")
		for _, act := range []string{"openw:" + file, "create:" + dir + "/new", "mkdir:" + dir + "/dir"} {
			got.want(act, "EACCES")
		}
		writable := filepath.Join(t.TempDir(), "w")
		if err := os.Mkdir(writable, 0o777); err != nil {
			t.Fatal(err)
		}
		acts := []string{"create:" + writable + "/new", "mkdir:" + writable + "/dir", "openw:" + writable + "/new", "symlink:x," + writable + "/link", "create:" + filepath.Dir(writable) + "/beside"}
		got = insideBare(t, abi, bind(writable, true), acts...)
		for _, act := range acts[:4] {
			got.want(act, "ok")
		}
		got.want(acts[4], "EACCES")
	})
}

// What Landlock leaves to a file's owner, who the command is. Seen to fail without wallFiles, wallTruncate and
// wallDescriptors.
func TestWithoutNamespacesFilesKeepTheirAttributes(t *testing.T) {
	file, _ := hostSecret(t)
	var acts []string
	for _, act := range []string{"chmod", "fchmod", "chown", "utime", "futime", "setxattr", "fsetxattr", "getxattr", "opentrunc", "opennone", "watch", "flags", "lease", "truncate", "openat2"} {
		acts = append(acts, act+":"+file)
	}
	control := outside(t, acts...)
	for _, act := range acts {
		if strings.HasPrefix(act, "flags:") || strings.Contains(act, "xattr:") {
			control.want(act, "ok", "ENOTTY", "ENOTSUP") // as the file system has them
			continue
		}
		control.want(act, "ok")
	}
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	atEach(t, func(t *testing.T, abi int) {
		before, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		got := insideBare(t, abi, bind(file, false), acts...)
		for _, act := range acts {
			got.want(act, "EPERM", "EACCES", "ENOTTY", "ENOSYS")
		}
		after, err := os.Stat(file)
		if err != nil || after.Mode() != before.Mode() || after.ModTime() != before.ModTime() || after.Size() != before.Size() {
			t.Errorf("%v, before %v: %v", after, before, err)
		}
	})
}

// Seen to fail without wallSignals and Scoped, and without wallProcesses.
func TestWithoutNamespacesNobodyOutsideIsReachedByNumber(t *testing.T) {
	sleeper := exec.Command("sleep", "1000")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sleeper.Process.Kill(); _ = sleeper.Wait() })
	pid := strconv.Itoa(sleeper.Process.Pid)
	signal := strconv.Itoa(int(unix.SIGWINCH)) // which it does not heed
	var acts []string
	for _, act := range []string{"kill:" + pid + "," + signal, "kill:" + pid + ",0", "sigqueue:" + pid + "," + signal + ",1", "pidfdkill:" + pid + "," + signal, "owner:" + pid + "," + signal,
		"seize:" + pid, "prlimit:" + pid, "renice:" + pid, "reniceuser:", "ioprio:" + pid, "affinity:" + pid, "cpuclock:" + pid, "scheduler:" + pid, "read:/proc/" + pid + "/environ", "read:/proc/" + pid + "/stat", "setsid:"} {
		acts = append(acts, act)
		if !strings.HasPrefix(act, "renice") && !strings.HasPrefix(act, "seize") { // which would be everybody; and Yama
			outside(t, act).want(act, "ok")
		}
	}
	atEach(t, func(t *testing.T, abi int) {
		got := insideBare(t, abi, nil, slices.Concat(acts, []string{"setpgid:"})...)
		for _, act := range slices.Concat(acts, []string{"setpgid:"}) {
			got.want(act, "EPERM", "EACCES")
		}
		insideBare(t, abi, nil, "cpuclock:0").want("cpuclock:0", "ok") // its own
		// Its guard and its reaper are somebody outside too.
		out := shellBare(t, abi, `kill -9 $PPID && echo killed; kill -STOP $PPID && echo stopped; echo here`)
		if out != "here\n" {
			t.Errorf("%q", out)
		}
	})
}

func shellBare(t testing.TB, abi int, script string) string {
	t.Helper()
	var out bytes.Buffer
	if r := runBare(t, abi, Spec{Args: []string{"sh", "-c", script}, Stdout: &out}); r.Err() != nil {
		t.Fatalf("%v: %s", r, out.Bytes())
	}
	return out.String()
}

// Seen to fail without wallSockets, and without wallProcesses.
func TestWithoutNamespacesThereIsNoChannel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	dir := filepath.Dir(path)
	var listeners []string
	for _, address := range []string{path, "@" + path} {
		l, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(l) })
		if err := unix.Bind(l, &unix.SockaddrUnix{Name: address}); err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, "datagram:"+address)
	}
	acts := append(listeners, "dial:unixgram,"+path, "socket:1,1,0", "socket:2,1,0", "socket:2,2,0", "socket:16,3,0", "listen:tcp,127.0.0.1:0", "pair:2")
	control := outside(t, acts...)
	for _, act := range acts {
		control.want(act, "ok")
	}
	// Of these there is none yet, and none is made on the host.
	finds := []string{"shmfind:4711", "mqfind:victim-of-nobody"}
	control = outside(t, finds...)
	for _, act := range finds {
		control.want(act, "ENOENT")
	}
	acts = append(acts, finds...)
	atEach(t, func(t *testing.T, abi int) {
		got := insideBare(t, abi, bind(dir, true), slices.Concat(acts, []string{"keyring:", "pair:1", "pair:5"})...)
		for _, act := range slices.Concat(acts, []string{"keyring:"}) {
			got.want(act, "EACCES", "EPERM")
		}
		got.want("pair:1", "ok")
		got.want("pair:5", "ok")
		got = insideBare(t, abi, func(s *Spec) { bind(dir, true)(s); s.Network = HostNetwork{} }, slices.Concat(listeners, []string{"socket:1,1,0", "socket:2,1,0", "socket:2,2,0", "listen:tcp,127.0.0.1:0"})...)
		for _, act := range slices.Concat(listeners, []string{"socket:1,1,0"}) {
			got.want(act, "EACCES")
		}
		for _, act := range []string{"socket:2,1,0", "socket:2,2,0", "listen:tcp,127.0.0.1:0"} {
			got.want(act, "ok")
		}
	})
}
