// Package sandbox runs commands that are not trusted: unprivileged, in Linux namespaces of their own,
// behind a seccomp filter, with no capabilities, and with limits on what they use.
//
//	result, err := sandbox.Run(ctx, sandbox.Spec{Args: []string{"echo", "hi"}, Stdout: os.Stdout})
//
// The caller needs no privilege, no helper program, no daemon and no hook in its main function. What it
// needs is a kernel, 5.15 or later, that lets it make user namespaces.
//
// # The zero Spec
//
// A Spec with nothing but Args is safe and works: new user, mount, PID, network, IPC, UTS and cgroup
// namespaces; no network but loopback; no capabilities and no way to get any; the filter of
// seccomp.Default; a core file size of 0; and the base system as its root. Whatever the host cannot give is an
// *UnsupportedError, unless Spec.AllowMissing lists it. WithoutUserNamespaces is for hosts that give none.
//
// # The base system
//
// The root is a file system in memory, read-only once it is set up. It holds the host's /usr, read-only,
// with what leads into it (/bin, /lib and their like); an /etc that knows the sandbox's own user and
// host name, and of the host's the loader's configuration, alternatives, certificates, time zone and
// the configuration of Java; a /proc of its own without the entries that tell of the host; a minimal
// /dev; an empty /tmp and an empty home directory. Nothing else of the host is there: no /home, no /root,
// no /run, no /var, no socket.
//
// # How it works
//
// A Spec is validated, resolved against the host and compiled to a Plan: a flat list of system calls with
// prepared arguments and predicted results, which Plan.String prints. An interpreter of some 260 bytes and
// the list become a tiny executable that makes the namespaces, becomes PID 1 in them, sets everything up,
// starts the command as PID 2, and then does nothing but wait and report. No copy of the caller's memory
// ever stands beside the command, and the time of a start does not depend on the caller's size.
//
// New makes a sandbox that lives, in which any number of commands run: PID 1 starts none and keeps it, and
// for each command a second program enters it, starts the command there and waits for it outside. NewPool
// keeps sandboxes ready that have everything but their command.
//
// Read spec.go for what can be asked, result.go for what comes back, compile.go for how a sandbox is
// made, step by step, and living.go and pool.go for those that are there before their commands.
package sandbox
