package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// DeviceOf returns the disk that holds a file or directory; of a block device, the device itself. Limits
// are on whole disks (blkg_conf_open_bdev in block/blk-cgroup.c refuses partitions with ENODEV).
func DeviceOf(path string) (Device, error) {
	fault := func(err error) (Device, error) {
		return Device{}, &Error{Op: "find the disk of " + path, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return fault(err)
	}
	dev := uint64(st.Dev) //nolint:unconvert // narrower on some architectures
	if st.Mode&unix.S_IFMT == unix.S_IFBLK {
		dev = uint64(st.Rdev) //nolint:unconvert // the same
	}
	d := Device{unix.Major(dev), unix.Minor(dev)}
	if d.Major == 0 {
		// No disk but a number of the kernel's own, as of Btrfs, overlays and tmpfs.
		source, err := mountSource(path)
		if err != nil {
			return fault(err)
		}
		if err := unix.Stat(source, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK {
			return fault(fmt.Errorf("its file system is on %q, which is no block device", source))
		}
		d = Device{unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev))} //nolint:unconvert // the same
	}
	disk, err := wholeDisk(d)
	if err != nil {
		return fault(err)
	}
	return disk, nil
}

// mountSource returns what the file system that holds path is mounted from.
func mountSource(path string) (string, error) {
	var stx unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_MNT_ID, &stx); err != nil {
		return "", err
	}
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	id := strconv.FormatUint(stx.Mnt_id, 10)
	for line := range strings.Lines(string(data)) {
		before, after, _ := strings.Cut(line, " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if len(f) > 0 && f[0] == id && len(g) > 1 {
			return unescape(g[1]), nil
		}
	}
	return "", errors.New("its mount is not listed")
}

// wholeDisk returns the disk of a partition, and any other device as it is.
func wholeDisk(d Device) (Device, error) {
	link := "/sys/dev/block/" + d.String()
	if _, err := os.Stat(link + "/partition"); errors.Is(err, os.ErrNotExist) {
		return d, nil
	}
	target, err := filepath.EvalSymlinks(link)
	if err != nil {
		return d, err
	}
	data, err := os.ReadFile(filepath.Join(filepath.Dir(target), "dev"))
	if err != nil {
		return d, err
	}
	disk, ok := parseDevice(string(bytes.TrimSpace(data)))
	if !ok {
		return d, fmt.Errorf("%q is not a device number", data)
	}
	return disk, nil
}
