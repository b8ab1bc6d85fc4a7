#!/bin/busybox sh
# A network card at work: pages that the host serves (10.0.2.100), and bytes that it sends back as they came (10.0.2.101), again and again.
# The bytes must arrive as they are.
set -e
for module in mii pcnet32; do
	[ ! -e "/modules/$module.ko" ] || grep -q "^$module " /proc/modules || insmod "/modules/$module.ko"
done
ifconfig lo 127.0.0.1 up
ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up
mkdir -p /tmp/t
cd /tmp/t
seq 1 40000 > sent
for round in 1 2 3; do
	wget -q -O page http://10.0.2.100/
	[ "$(md5sum < page)" = "$(seq 100000 140000 | md5sum)" ]
	nc -w 20 10.0.2.101 7 < sent > "back$round"
	cmp sent "back$round"
done
cd /
rm -r /tmp/t
echo "PASS traffic"
