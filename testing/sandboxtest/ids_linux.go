package sandboxtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"
)

// Account is the name of UID in the pass without privilege, where Main can give it one.
const Account = "sandboxtest"

// What /etc holds for the user in that pass, beside what the host's has: subordinate IDs by name and by
// number, in lines of which two overlap. User and group IDs differ, so that a test sees them mixed up.
const (
	accountLine = Account + ":x:64321:64321::/nonexistent:/usr/sbin/nologin\n"
	subuidLines = Account + ":1000000:200000\n64321:1100000:500000\n64321:3000000:65536\n"
	subgidLines = "64321:5000000:600000\n" + Account + ":7000000:65536\n"
)

// writeAccount writes the files of /etc that giveAccount puts in the place of the host's to dir.
func writeAccount(dir string) error {
	for name, lines := range map[string]string{"passwd": accountLine, "subuid": subuidLines, "subgid": subgidLines} {
		data, err := os.ReadFile(filepath.Join("/etc", name))
		if err != nil {
			continue // there is nothing to mount on either
		}
		if n := len(data); n > 0 && data[n-1] != '\n' {
			data = append(data, '\n')
		}
		if err := os.WriteFile(filepath.Join(dir, name), append(data, lines...), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// giveAccount gives the thread a mount namespace in which the files in dir stand in the place of those in
// /etc. What fails is not told: SubordinateIDs is the requirement of what depends on it.
func giveAccount(dir string) {
	if unix.Unshare(unix.CLONE_NEWNS) != nil || unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") != nil {
		return
	}
	for _, name := range []string{"passwd", "subuid", "subgid"} {
		_ = unix.Mount(filepath.Join(dir, name), filepath.Join("/etc", name), "", unix.MS_BIND, "") // one is no use without the others, and no harm
	}
}

// SubordinateIDs is the requirement, named "subordinate-ids", that newuidmap(1) and newgidmap(1) map
// subordinate IDs of this user.
func SubordinateIDs() Requirement {
	return Requirement{Name: "subordinate-ids", Check: func() error {
		cmd := exec.Command("cat")
		stdin, err := cmd.StdinPipe()
		if err != nil {
			return err
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER}
		if err := cmd.Start(); err != nil {
			return err
		}
		pid := strconv.Itoa(cmd.Process.Pid)
		err = errors.Join(mapFirst("newuidmap", "/etc/subuid", pid), mapFirst("newgidmap", "/etc/subgid", pid))
		stdin.Close()
		return errors.Join(err, cmd.Wait())
	}}
}

// mapFirst has program map the first ID that file sets aside for this user.
func mapFirst(program, file, pid string) error {
	id := strconv.Itoa(os.Getuid())
	account, err := user.CurrentUser()
	if err != nil {
		return fmt.Errorf("user %s has no entry in /etc/passwd: %w", id, err)
	}
	ranges, err := user.ParseSubIDFileFilter(file, func(s user.SubID) bool { return s.Name == id || s.Name == account.Name })
	if err != nil {
		return err
	}
	if len(ranges) == 0 {
		return fmt.Errorf("%s has nothing for %s", file, account.Name)
	}
	out, err := exec.Command(program, pid, "0", strconv.FormatInt(ranges[0].SubID, 10), "1").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, strings.TrimSpace(string(out)))
	}
	return nil
}
