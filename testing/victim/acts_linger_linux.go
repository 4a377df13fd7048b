package victim

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Processes that try to stay when everything ends. The last part of their arguments is a marker, by which the
// test knows them.

func init() {
	register(map[string]act{
		"linger":      linger,
		"stay":        stay,
		"relay":       relay,
		"descriptors": descriptorTypes,
	})
}

// linger starts processes that nothing of the command's own would end: "marker". They have other sessions and
// process groups, no descriptor of the command's, no parent but PID 1; they ignore signals, are stopped, or are
// another process at every moment.
func linger(marker string) (string, error) {
	started := 0
	for _, attr := range []*syscall.SysProcAttr{{}, {Setsid: true}, {Setpgid: true}} {
		for _, act := range []string{"stay:ignore,", "stay:stop,", "stay:reap,", "stay:orphan,", "relay:"} {
			cmd := exec.Command(Path)
			cmd.Args = []string{Path, act + marker}
			cmd.SysProcAttr = attr
			if err := cmd.Start(); err != nil {
				return "", err
			}
			started++
		}
	}
	return fmt.Sprint(started), nil
}

// stay stays: "how,marker".
func stay(arg string) (string, error) {
	how, marker, _ := strings.Cut(arg, ",")
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0); err != nil {
		return "", err
	}
	switch how {
	case "ignore":
		for sig := syscall.Signal(1); sig < 65; sig++ {
			signal.Ignore(sig)
		}
	case "stop":
		return "", unix.Kill(os.Getpid(), unix.SIGSTOP)
	case "reap":
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return "", err
		}
		return relay(marker)
	case "orphan":
		cmd := exec.Command(Path)
		cmd.Args = []string{Path, "stay:ignore," + marker}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		return "", cmd.Start()
	}
	time.Sleep(time.Hour)
	return "", nil
}

// relay starts another process like itself and ends: "marker".
func relay(marker string) (string, error) {
	cmd := exec.Command(Path)
	cmd.Args = []string{Path, "relay:" + marker}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	unix.Exit(0)
	return "", nil
}

// descriptorTypes returns what the open descriptors are: "0=chr 1=fifo".
func descriptorTypes(string) (string, error) {
	fds, err := openDescriptors()
	if err != nil {
		return "", err
	}
	names := map[uint32]string{unix.S_IFREG: "reg", unix.S_IFDIR: "dir", unix.S_IFCHR: "chr", unix.S_IFBLK: "blk", unix.S_IFIFO: "fifo", unix.S_IFSOCK: "sock", unix.S_IFLNK: "lnk"}
	var all []string
	for _, fd := range fds {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return "", err
		}
		all = append(all, fmt.Sprintf("%d=%s", fd, names[st.Mode&unix.S_IFMT]))
	}
	return strings.Join(all, " "), nil
}
