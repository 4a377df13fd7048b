#!/bin/sh
# Runs on the host, on the root file system below $1: what makes it the machine with systemd. Nothing here
# needs the host's own accounts.
set -e
cd "$1"
echo vm >etc/hostname
echo '127.0.0.1 localhost vm' >etc/hosts
: >etc/fstab
echo 'user:x:1000:1000::/home/user:/bin/bash' >>etc/passwd
echo 'user:x:1000:' >>etc/group
echo 'user:*:19000:0:99999:7:::' >>etc/shadow
echo 'user:100000:65536' >etc/subuid
echo 'user:100000:65536' >etc/subgid
mkdir -p home/user data var/lib/systemd/linger etc/systemd/system/user@.service.d
chown 1000:1000 home/user
# The user's manager starts without a login.
: >var/lib/systemd/linger/user
# Users get memory, pids and, of late, cpu unless the administrator says otherwise.
cat >etc/systemd/system/user@.service.d/delegate.conf <<END
[Service]
Delegate=cpu cpuset io memory pids
END
cat >etc/systemd/system/vm.service <<END
[Unit]
After=user@1000.service dbus.service
Wants=user@1000.service dbus.service
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=/run/vm/systemd.sh
END
cat >etc/systemd/system/vm.target <<END
[Unit]
Requires=basic.target
Wants=systemd-logind.service vm.service
After=basic.target
AllowIsolate=yes
END
# What a machine that lives for a minute can do without; udev alone takes seconds in emulation.
for unit in systemd-udevd.service systemd-udev-trigger.service systemd-udevd-kernel.socket \
	systemd-udevd-control.socket systemd-journal-flush.service systemd-update-utmp.service \
	systemd-random-seed.service systemd-timesyncd.service systemd-hwdb-update.service \
	systemd-binfmt.service getty@.service serial-getty@.service apt-daily.timer apt-daily-upgrade.timer; do
	ln -sf /dev/null "etc/systemd/system/$unit"
done
rm -rf var/cache/apt var/lib/apt/lists usr/lib/udev/hwdb.d usr/lib/udev/hwdb.bin
