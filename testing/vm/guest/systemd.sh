#!/bin/sh
# What vm.service runs in the machine with systemd, as root: each test binary in a service of the user's
# manager that has its cgroup to itself, as README.md tells users to do.
export PATH=/usr/bin:/usr/sbin

as_user() {
	setpriv --reuid 1000 --regid 1000 --clear-groups env -i PATH="$PATH" HOME=/home/user USER=user \
		XDG_RUNTIME_DIR=/run/user/1000 DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus "$@"
}

# in_session runs a command as the user of the tests and returns its exit code.
in_session() {
	case $USER_ID,$VM_CGROUP in
	0,*) systemd-run --quiet --pipe --wait --collect -p Delegate=yes "$@" ;;
	*,delegated) as_user systemd-run --user --quiet --pipe --wait --collect -p Delegate=yes "$@" ;;
	# A process of the user's in a cgroup of root's, as after a login: the manager has to be asked.
	*) as_user "$@" ;;
	esac
}

. /run/vm/tests.sh
systemctl poweroff -ff >/dev/null 2>&1
