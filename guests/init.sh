#!/bin/busybox sh
# The guest's first process: mounts what programs need, runs what the kernel's command line asks for, and ends the machine.
#
#   congruent.run=name,name:argument:argument,…
#   congruent.run=every
#   congruent.rows=…            the same, and each is started under a name that begins with its number in the list: 0.name, 1.name, …
#
# Every program prints one or more lines PASS or FAIL. The machine is ended by a restart, which QEMU's -no-reboot turns into its end:
# not every board can switch itself off.
/bin/busybox mkdir -p /proc /sys /tmp /ram
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t tmpfs tmpfs /tmp
/bin/busybox mount -t ramfs ramfs /ram
/bin/busybox --install -s /bin
export PATH=/bin
# Kernel messages would cut lines of programs in two; what is critical still shows.
dmesg -n 3
echo CONGRUENT-BOOT-OK
run= number=
for word in $(cat /proc/cmdline); do
	case $word in
	congruent.run=*) run=${word#congruent.run=} ;;
	congruent.rows=*) run=${word#congruent.rows=} number=0 ;;
	esac
done
[ "$run" = every ] && run=$(cat /programs/every)
for item in $(echo "$run" | tr , ' '); do
	set -- $(echo "$item" | tr : ' ')
	program=$1
	shift
	if [ -n "$number" ]; then
		ln -s "$program" "/programs/$number.$program"
		program=$number.$program
		number=$((number + 1))
	fi
	"/programs/$program" "$@" || echo "FAIL $program ended with status $?"
done
echo CONGRUENT-DONE
reboot -f
