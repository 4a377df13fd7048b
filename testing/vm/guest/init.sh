#!/bin/busybox sh
# PID 1 in the initrd. It loads modules, makes the root file system and unpacks the payload into its
# /run/vm. A disk called "root" has systemd on it; without one the root is a tmpfs with busybox.
/bin/busybox --install -s /bin
export PATH=/bin
mkdir -p /proc /sys /dev /new
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in /modules/*.ko; do
	insmod "$module" || echo "vm: cannot load $module"
done

# disk prints the device that QEMU gave this serial number.
disk() {
	for dir in /sys/block/*; do
		[ "$(cat "$dir/serial" 2>/dev/null)" = "$1" ] && echo "/dev/${dir##*/}"
	done
}

# Disks are found a moment after their driver is there. There is no udev that would tell.
tries=0
while [ -z "$(disk payload)" ] && [ $tries -lt 500 ]; do
	usleep 20000
	tries=$((tries + 1))
done

root=$(disk root)
if [ -n "$root" ]; then
	mount -t ext4 -o noatime "$root" /new
	init=/lib/systemd/systemd
	set -- --unit=vm.target
else
	# switch_root is not only tidy: pivot_root(2) and user namespaces refuse to work on the initrd.
	mount -t tmpfs -o mode=755 root /new
	mkdir -p /new/usr/bin /new/etc /new/proc /new/sys /new/dev /new/run /new/tmp /new/var/tmp /new/data
	ln -s usr/bin /new/bin
	ln -s usr/bin /new/sbin
	ln -s bin /new/usr/sbin
	cp /bin/busybox /new/usr/bin/busybox
	chroot /new /usr/bin/busybox --install -s /usr/bin
	chmod 1777 /new/tmp /new/var/tmp
	init=/run/vm/minimal.sh
	set --
fi
mount -t tmpfs -o mode=755,size=90% run /new/run
mkdir /new/run/vm
tar -x -f "$(disk payload)" -C /new/run/vm
data=$(disk data)
[ -z "$data" ] || mount -t ext4 "$data" /new/data
mount -o move /dev /new/dev
umount /sys
umount /proc
exec switch_root /new "$init" "$@"
