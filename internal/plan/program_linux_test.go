package plan

import (
	"fmt"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringfence-go/ringfence/internal/kernel"
)

// The descriptors of sample.
const (
	sampleReport   = 3
	sampleLifeline = 4

	usrFD     = 5
	contextFD = 7 // of each file system in the making
	procFD    = 8
	rootFD    = 9
)

const ownDir = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC

// sample is a small program with everything that a sandbox has: a tree of the host, file systems of its
// own, a file, a mask, a mount of the Spec, a working directory, two places to look for the command.
// Labels are unique, so that tests can name an op.
func sample() *Program { return sampleOf(true, false) }

// sampleDeaf is sample on a host where no listener can be had.
func sampleDeaf() *Program { return sampleOf(false, false) }

// sampleTerminal is sample with a terminal.
func sampleTerminal() *Program { return sampleOf(true, true) }

func sampleOf(listens, terminal bool) *Program {
	cloned, started, ended := NewRecord(Cloned, 0), NewRecord(Started, 2), NewRecord(Ended, 0)
	b := NewBuilder(5)
	b.CloseFrom("close strangers", 5)
	b.Call("reset signals", kernel.SetSignalMask())
	for sig := unix.Signal(1); sig <= kernel.LastSignal; sig++ {
		if sig != unix.SIGKILL && sig != unix.SIGSTOP {
			b.Call("default "+strconv.Itoa(int(sig)), kernel.ResetSignal(sig, kernel.Zeroed(kernel.SizeofSigaction)))
		}
	}
	b.Call("umask", kernel.Umask(0)).ReturnsAny()
	flags := kernel.CloneFlags(unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWNET | unix.CLONE_PARENT | unix.CLONE_CLEAR_SIGHAND)
	b.Fork("fork init", flags, cloned, Init, func(b *Builder) { sampleInit(b, started, ended, listens, terminal) })
	b.Call("tell init", kernel.Write(sampleReport, cloned, "cloned")).Returns(int64(len(cloned.Bytes)))
	b.Call("end stub", kernel.Exit(0))
	return &Program{Arch: kernel.AMD64, Ops: b.Program(), Inherited: 5, Payload: []int{0, 1, 2}, Terminal: terminal, Report: sampleReport, Lifeline: sampleLifeline}
}

func sampleInit(b *Builder, started, ended *kernel.Memory, listens, terminal bool) {
	for _, m := range [...][2]string{{"setgroups", "deny"}, {"uid_map", "1 1 1"}, {"gid_map", "1 1 1"}} {
		fd := b.Open("open "+m[0], kernel.Openat(unix.AT_FDCWD, "/proc/self/"+m[0], unix.O_WRONLY|unix.O_CLOEXEC, 0))
		b.WriteString("write "+m[0], fd, m[1])
		b.Close(fd)
	}
	sampleMounts(b)
	master := 5
	if terminal {
		sampleOpenTerminal(b, master)
	} else {
		master--
	}
	for i := range unix.CAP_LAST_CAP + 1 {
		b.Call(fmt.Sprintf("drop %d", i), kernel.Prctl(unix.PR_CAPBSET_DROP, i))
	}
	b.Call("init no_new_privs", kernel.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1))
	b.Call("init not dumpable", kernel.Prctl(unix.PR_SET_DUMPABLE, 0))
	b.CloseFrom("close set-up", master+1)
	watch := b.Open("open proc to watch", kernel.Openat2(unix.AT_FDCWD, "proc", unix.O_DIRECTORY|unix.O_CLOEXEC, unix.RESOLVE_NO_SYMLINKS))
	shared := kernel.CloneFlags(0)
	if listens {
		shared = unix.CLONE_FILES
	}
	var ready, going int
	if listens {
		ready = b.Open("open ready", kernel.Eventfd())
		going = b.Open("open going", kernel.Eventfd())
		b.Call("block the signal", kernel.BlockSignal(unix.SIGIO))
		listener := b.Next()
		b.Thread("fork witness", 3, Witness, func(b *Builder) { sampleWitness(b, ended, ready, going, listener) })
		b.Call("unblock the signal", kernel.SetSignalMask())
	}
	b.Fork("fork command", unix.CLONE_VM|unix.CLONE_VFORK|unix.CLONE_CLEAR_SIGHAND|shared, started, Command, func(b *Builder) { sampleCommand(b, started, listens, terminal) })
	b.Call("init capset", kernel.Capset())
	if listens {
		b.Call("meet witness", kernel.Read(ready, kernel.Zeroed(8))).Returns(8)
	}
	b.CloseBelow("leave streams", sampleReport)
	if listens {
		b.Call("init seccomp", kernel.SeccompAll(make([]byte, 8)))
		b.Call("let witness go", kernel.Post(going)).Returns(8)
	} else {
		b.Call("init seccomp", kernel.Seccomp(make([]byte, 8)))
	}
	sent := []int{watch}
	if terminal {
		sent = append(sent, master)
	}
	b.Call("tell start", kernel.SendFDs(sampleReport, started, "started", sent...)).Returns(int64(len(started.Bytes)))
	if terminal {
		b.Call("leave master", kernel.Close(master))
	}
	b.Until("wait", kernel.Wait4(ended, RecordStatus, RecordUsage), 2)
	b.Call("kill", kernel.KillAll()).Tolerates("PID 2 may be the last", unix.ESRCH)
	b.Until("empty", kernel.Wait4(NewRecord(Ended, 0), RecordStatus, RecordUsage), -int64(unix.ECHILD))
	b.Call("tell end", kernel.Write(sampleReport, ended, "ended")).Returns(int64(len(ended.Bytes)))
	b.Call("end init", kernel.Exit(0))
}

func sampleOpenTerminal(b *Builder, aside int) {
	pts := sampleFS(b, "devpts", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC)
	b.Call("attach pts", kernel.MoveMountAt(pts, rootFD, "pts"))
	master := b.Open("open master", kernel.Openat2(pts, "ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_XDEV))
	b.Call("unlock", kernel.UnlockTerminal(master))
	b.Call("set size", kernel.SetTerminalSize(master, 24, 80))
	peer := b.Open("open peer", kernel.TerminalPeer(master))
	b.Call("own peer", kernel.Fchown(peer, 1, 2))
	for fd := range 3 {
		b.Dup(fmt.Sprintf("stream %d", fd), peer, fd)
	}
	b.DupCloseOnExec("set master aside", master, aside)
}

func sampleWitness(b *Builder, ended *kernel.Memory, ready, going, listener int) {
	b.Call("witness capset", kernel.Capset())
	b.Call("witness ready", kernel.Post(ready)).Returns(8)
	b.Call("witness waits", kernel.Read(going, kernel.Zeroed(8))).Returns(8)
	b.Call("receive", kernel.ReceiveNotification(listener, ended, RecordCall)).Tolerates("it was given up", unix.ENOENT).Again()
	b.Call("look for hang-up", kernel.LookForHangUp(listener)).Keeps(ended, RecordSeen)
	b.Call("kill everything", kernel.KillAll()).Tolerates("nobody may be left", unix.ESRCH)
	b.Call("end witness", kernel.ExitThread())
}

func sampleMounts(b *Builder) {
	const nosuid = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV
	b.Call("private", kernel.MakePrivate())
	usr := b.Open("open usr", kernel.OpenTree(unix.AT_FDCWD, "/usr"))
	b.Call("restrict usr", kernel.MountSetattr(usr, nosuid|unix.MOUNT_ATTR_RDONLY, true))
	null := b.Open("open null", kernel.OpenTree(unix.AT_FDCWD, "/dev/null"))
	b.Call("restrict null", kernel.MountSetattr(null, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC, false))
	b.Call("handler", kernel.HandleSignal(unix.SIGIO, kernel.AMD64))
	b.Call("owner", kernel.SetOwner(sampleLifeline, 1))
	b.Call("async", kernel.SetAsync(sampleLifeline))
	b.Call("look", kernel.Read(sampleLifeline, kernel.Zeroed(1))).Fails(unix.EAGAIN)
	proc := sampleFS(b, "proc", nosuid)
	root := sampleFS(b, "tmpfs", nosuid)
	b.Call("root on top", kernel.MoveMountOnRoot(root))
	b.Call("go to root", kernel.Fchdir(root))
	b.Call("pivot", kernel.PivotRoot())
	b.Call("detach", kernel.UmountDetach("."))
	b.Call("go home", kernel.Chdir("/"))
	b.Close(b.Open("look above", kernel.Openat2(unix.AT_FDCWD, "..", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, unix.RESOLVE_NO_XDEV)))
	b.Call("make usr", kernel.Mkdirat(root, "usr", 0o755))
	b.Call("attach usr", kernel.MoveMountAt(usr, root, "usr"))
	dev := sampleFS(b, "tmpfs", nosuid)
	b.Call("make dev", kernel.Mkdirat(root, "dev", 0o755))
	b.Call("attach dev", kernel.MoveMountAt(dev, root, "dev"))
	b.Call("make null", kernel.Mknodat(dev, "null", 0o644))
	b.Call("attach null", kernel.MoveMountAt(null, dev, "null"))
	b.Call("link", kernel.Symlinkat("/usr/bin", root, "bin"))
	b.Call("make proc", kernel.Mkdirat(root, "proc", 0o755))
	b.Call("attach proc", kernel.MoveMountAt(proc, root, "proc"))
	limit := b.Open("open share", kernel.Openat2(proc, "sys/user/max_inotify_watches", unix.O_WRONLY|unix.O_CLOEXEC, unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_XDEV))
	b.WriteString("set share", limit, "2048")
	b.Close(limit)
	mask := b.Open("open mask", kernel.OpenTree(dev, "null"))
	b.Call("attach mask", kernel.MoveMountAt(mask, proc, "kcore"))
	sys := b.Open("open sys", kernel.OpenTree(proc, "sys"))
	b.Call("restrict sys", kernel.MountSetattr(sys, unix.MOUNT_ATTR_RDONLY, true))
	b.Call("attach sys", kernel.MoveMountAt(sys, proc, "sys"))
	file := b.Open("create file", kernel.Openat(root, "file", unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644))
	b.WriteString("write file", file, "hello")
	b.Close(file)
	tmp := sampleFS(b, "mqueue", nosuid)
	b.Call("make target", kernel.Mkdirat(root, "mq", 0o755)).Tolerates("it may exist", unix.EEXIST)
	target := b.Open("open target", kernel.Openat2(root, "mq", ownDir, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS))
	b.Call("attach target", kernel.MoveMount(tmp, target))
	b.Close(target, tmp)
	b.Call("seal", kernel.MountSetattr(root, unix.MOUNT_ATTR_RDONLY, false))
	b.Call("seal dev", kernel.MountSetattr(dev, unix.MOUNT_ATTR_RDONLY, false))
	b.Call("hostname", kernel.Sethostname("sandbox"))
	net := b.Open("socket", kernel.Socket())
	b.Call("lo up", kernel.SetInterfaceUp(net, "lo"))
	b.Close(net)
}

func sampleFS(b *Builder, fstype string, attrs uint64) int {
	fs := b.Open("fsopen "+fstype, kernel.Fsopen(fstype))
	if fstype == "tmpfs" {
		b.Call("size", kernel.FsconfigString(fs, "size", "65536"))
		b.Call("inodes", kernel.FsconfigString(fs, "nr_inodes", "64"))
	}
	b.Call("create "+fstype, kernel.FsconfigCreate(fs))
	fd := b.Open("fsmount "+fstype, kernel.Fsmount(fs, attrs))
	b.Close(fs)
	return fd
}

func sampleCommand(b *Builder, started *kernel.Memory, listens, terminal bool) {
	b.Call("setsid", kernel.Setsid()).Returns(2)
	if terminal {
		b.Call("control", kernel.ControlTerminal(0))
	}
	b.Call("command umask", kernel.Umask(0o022))
	b.Call("core", kernel.Prlimit(unix.RLIMIT_CORE, "RLIMIT_CORE", 0, 0))
	dir := b.Open("open dir", kernel.Openat2(unix.AT_FDCWD, "/usr", ownDir, unix.RESOLVE_NO_MAGICLINKS))
	b.Call("go to dir", kernel.Fchdir(dir))
	b.Close(dir)
	b.Call("look 1", kernel.Faccessat2("/bin/x")).Keeps(started, RecordNotes)
	b.Call("look 2", kernel.Faccessat2("/usr/bin/x")).Keeps(started, RecordNotes+8)
	b.OnExec("close rest on exec", sampleReport)
	b.Call("command capset", kernel.Capset())
	if listens {
		b.Listen("command seccomp", make([]byte, 16), false)
	} else {
		b.Call("command seccomp", kernel.Seccomp(make([]byte, 16)))
	}
	argv, env := kernel.Strings([]string{"x"}), kernel.Strings([]string{"A=B"})
	b.Call("exec 1", kernel.Execve("/bin/x", argv, env)).Tolerates("execvp(3) goes on", unix.ENOENT, unix.ENOTDIR, unix.EACCES)
	b.Call("exec 2", kernel.Execve("/usr/bin/x", argv, env))
}

// sampleByCaller is sample for a caller that writes the ID maps: init waits for it.
func sampleByCaller() *Program {
	p := sample()
	const maps = 5
	p.Inherited++
	first := find(p, "open setgroups")
	b := &Builder{process: Init, fds: descriptors{}}
	b.Call("wait for maps", kernel.Read(maps, kernel.Zeroed(1))).Returns(1)
	b.Call("init setgroups", kernel.Setgroups(nil))
	b.Call("init setresgid", kernel.Setresgid(1))
	b.Call("init setresuid", kernel.Setresuid(1))
	replace(p, first, 9, b.ops...)
	// The rest has descriptors one higher.
	for _, op := range p.Ops {
		shift(op, maps)
	}
	return p
}

// sampleOtherUser is sampleByCaller with a command that runs as another user than PID 1 was.
func sampleOtherUser() *Program {
	p := sampleByCaller()
	insert := func(behind string, process Process, ops func(b *Builder)) {
		b := &Builder{process: process, fds: descriptors{}}
		ops(b)
		replace(p, find(p, behind)+1, 0, b.ops...)
	}
	insert("go to dir", Command, func(b *Builder) {
		b.Call("command setgroups", kernel.Setgroups([]int{3, 4}))
		b.Call("command setresgid", kernel.Setresgid(2))
		b.Call("command setresuid", kernel.Setresuid(2))
		b.Call("command not dumpable", kernel.Prctl(unix.PR_SET_DUMPABLE, 0))
	})
	replace(p, find(p, "witness capset"), 0, &Op{Process: Witness, Label: "witness setresuid", Call: kernel.Setresuid(2)})
	insert("fork command", Init, func(b *Builder) {
		b.Call("late setresuid", kernel.Setresuid(2))
		b.Call("late owner", kernel.SetOwner(sampleLifeline, 1))
		b.Call("late look", kernel.Read(sampleLifeline, kernel.Zeroed(1))).Fails(unix.EAGAIN)
	})
	insert("meet witness", Init, func(b *Builder) {
		b.Call("late not dumpable", kernel.Prctl(unix.PR_SET_DUMPABLE, 0))
	})
	return p
}

// shift moves the descriptors of an op up, from first on.
func shift(op *Op, first int64) {
	call, ok := callOf(op.Call.Name)
	if !ok || op.Label == "wait for maps" {
		return
	}
	for i := range op.Call.Args {
		if l := call.args[i]; (l == 'f' || l == 'b') && op.Call.Args[i].Value >= first {
			op.Call.Args[i].Value++
		}
	}
	switch op.Call.Name {
	case "close_range":
		if op.Call.Args[0].Value >= first {
			op.Call.Args[0].Value++
		}
	case "read", "write":
	case "seccomp":
		if op.Want >= first {
			op.Want++
		}
	case "ppoll":
		op.Call.Args[0].Mem.Bytes[op.Call.Args[0].Offset]++
	case "sendmsg":
		control := op.Call.Args[1].Mem.Refs[1].To.Bytes
		for at := 16; at < len(control); at += 4 {
			if int64(control[at]) >= first {
				control[at]++
			}
		}
	}
	if call.returns == opens {
		op.Want++
	}
}

// replace puts ops in the place of n others.
func replace(p *Program, at, n int, ops ...*Op) {
	rest := append(append([]*Op{}, ops...), p.Ops[at+n:]...)
	p.Ops = append(p.Ops[:at:at], rest...)
	for _, op := range p.Ops {
		if op != nil && op.Kind == Fork && op.Child > at {
			op.Child += len(ops) - n
		}
	}
}

// find returns the index of the op with a label.
func find(p *Program, label string) int {
	for i, op := range p.Ops {
		if op.Label == label {
			return i
		}
	}
	panic("there is no op " + label)
}

func TestSamplesAreValid(t *testing.T) {
	for name, p := range map[string]*Program{"by init": sample(), "deaf": sampleDeaf(), "by the caller": sampleByCaller(), "of another user": sampleOtherUser()} {
		if err := Check(p); err != nil {
			t.Errorf("%s: %v\n%s", name, err, p)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	p := sample()
	b.ReportAllocs()
	for b.Loop() {
		if err := Check(p); err != nil {
			b.Fatal(err)
		}
	}
}
