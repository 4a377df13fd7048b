# Read by the scripts that make a machine ready. It runs every test binary by their function in_session
# and prints how that went to the second serial port, which the driver listens to. Kernel messages have
# the first one.
exec >/dev/ttyS1 2>&1 </dev/null
stty raw </dev/ttyS1 # or a return is added to each line
. /run/vm/env
echo "vm-up $(uname -r) $(cut -d' ' -f1 /proc/uptime)"
code=0
while read -r name binary dir; do
	[ "$VM_TESTS" = 1 ] || echo "== $name"
	began=$(cut -d. -f1 /proc/uptime)
	in_session /run/vm/one.sh "/run/vm/$dir" "/run/vm/$binary" </dev/null
	result=$?
	[ "$VM_TESTS" = 1 ] || echo "== $name: exit code $result after $(($(cut -d. -f1 /proc/uptime) - began)) s"
	# The first code that is not 0 is that of the whole.
	[ $code -ne 0 ] || code=$result
done </run/vm/list
echo "vm-exit $code"
# The port must be empty before the power goes. tcdrain(3) by way of stty.
stty raw </dev/ttyS1
