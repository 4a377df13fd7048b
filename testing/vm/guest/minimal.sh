#!/bin/sh
# PID 1 of the machine without systemd: one cgroup v2 tree with every controller, and in it a subtree
# for each test binary.
export PATH=/usr/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t securityfs security /sys/kernel/security 2>/dev/null
# As systemd mounts it: nsdelegate makes the border of a delegated subtree one that its owner cannot cross.
mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 /sys/fs/cgroup
ip link set lo up
hostname vm
printf 'root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n' >/etc/passwd
printf 'root:x:0:\nuser:x:1000:\n' >/etc/group
printf '127.0.0.1 localhost\n' >/etc/hosts
mkdir -p /home/user /root
chown 1000:1000 /home/user

echo 8 >/proc/sys/vm/nr_hugepages # 2 MiB each

controllers=$(sed 's/[^ ][^ ]*/+&/g' /sys/fs/cgroup/cgroup.controllers)
echo "$controllers" >/sys/fs/cgroup/cgroup.subtree_control
mkdir /sys/fs/cgroup/vm
echo "$controllers" >/sys/fs/cgroup/vm/cgroup.subtree_control

# delegate gives a cgroup to the user: the directory, and the files that the kernel says are to go with
# it (Documentation/admin-guide/cgroup-v2.rst, "Delegation").
delegate() {
	chown "$USER_ID:$USER_ID" "$1"
	for file in $(cat /sys/kernel/cgroup/delegate); do
		[ ! -e "$1/$file" ] || chown "$USER_ID:$USER_ID" "$1/$file"
	done
}

# in_session runs a command as the user of the tests and returns its exit code.
in_session() {
	group=/sys/fs/cgroup/vm/$((count += 1))
	mkdir "$group"
	[ "$VM_CGROUP" != delegated ] || delegate "$group"
	# No process is left between: the test binary is alone in its cgroup, as in a service of systemd.
	user=user
	[ "$USER_ID" != 0 ] || user=root
	sh -c 'echo $$ >"$0/cgroup.procs"; exec su -s /bin/sh "$@"' "$group" "$user" -c 'exec "$0" "$@"' "$@"
	result=$?
	if grep -q 'populated 1' "$group/cgroup.events"; then
		echo "vm: the tests left processes in their cgroup:"
		find "$group" -name cgroup.procs -exec cat {} + | xargs -n 1 sh -c 'echo "$0 $(tr "\0" " " <"/proc/$0/cmdline")"'
		[ $result -ne 0 ] || result=1
	fi
	# Empty ones may stay: a process cannot remove the cgroup that it is in.
	find "$group" -depth -type d -exec rmdir {} + 2>/dev/null
	return $result
}

count=0
. /run/vm/tests.sh
poweroff -f
