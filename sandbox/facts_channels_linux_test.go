package sandbox

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Facts about networks and other channels: to the caller, and between sandboxes.

func TestNetworkIsLoopbackAlone(t *testing.T) {
	t.Parallel()
	got := inside(t, nil, "interfaces", "listen:tcp,127.0.0.1:0", "listen:tcp,[::1]:0", "listen:udp,127.0.0.1:0")
	if o := got.of("interfaces"); o.Detail != "lo up|loopback|running" {
		t.Errorf("interfaces %q", o.Detail)
	}
	got.want("listen:tcp,127.0.0.1:0", "ok")
	if o := outside(t, "interfaces").of("interfaces"); !strings.Contains(o.Detail, ";") {
		t.Logf("the control: outside there is only %q", o.Detail)
	}
}

func TestPayloadCannotReachTheCallersListeners(t *testing.T) {
	t.Parallel()
	var acts []string
	for _, listener := range []struct{ network, address string }{
		{"tcp", "127.0.0.1:0"}, {"unix", "@ringfence-test-" + fmt.Sprint(os.Getpid())},
	} {
		l, err := net.Listen(listener.network, listener.address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		acts = append(acts, "dial:"+listener.network+","+l.Addr().String())
	}
	got, control, hole := inside(t, nil, acts...), outside(t, acts...), inside(t, hostNetwork, acts...)
	for _, act := range acts {
		got.want(act, "ECONNREFUSED")
		control.want(act, "ok")
		hole.want(act, "ok")
	}
	out := "dial:tcp,192.0.2.1:80"
	inside(t, nil, out).want(out, "ENETUNREACH")
}

// Two sandboxes and the caller each make a channel; none finds the other's.
func TestSandboxesShareNoChannel(t *testing.T) {
	t.Parallel()
	key := 0x72660000 | os.Getpid()&0xffff
	id, err := unix.SysvShmGet(key, 4096, unix.IPC_CREAT|unix.IPC_EXCL|0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = unix.SysvShmCtl(id, unix.IPC_RMID, nil) }()
	queue := fmt.Sprintf("ringfence-test-%d", os.Getpid())
	abstract := "unix,@ringfence-between-" + fmt.Sprint(os.Getpid())

	first := victimSpec(t, fmt.Sprintf("shmmake:%d", key+1), "mqmake:"+queue, "listen:"+abstract, "create:/dev/shm/x", "create:/tmp/x", "print:ready", "await")
	c := Command(t.Context(), first)
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	told := newLines(stdout)
	for range 6 {
		if o := told.next(t); !o.OK() {
			t.Error(o)
		}
	}
	acts := []string{fmt.Sprintf("shmfind:%d", key), fmt.Sprintf("shmfind:%d", key+1), "mqfind:" + queue, "dial:" + abstract, "stat:/dev/shm/x", "stat:/tmp/x"}
	got := inside(t, nil, acts...)
	for i, want := range []string{"ENOENT", "ENOENT", "ENOENT", "ECONNREFUSED", "ENOENT", "ENOENT"} {
		got.want(acts[i], want)
	}
	outside(t, acts...).want(acts[0], "ok")
	outside(t, acts...).want(acts[1], "ENOENT")
	stdin.Close()
	told.next(t)
	if r, err := c.Wait(); err != nil || r.ExitCode != 0 {
		t.Error(r, err)
	}
}
